"""What can go wrong with a box, and with the client that started it. The table of docs/reliability.md comes from here.

Boxes really run the user-data, clients really die of SIGKILL; AWS is a stand-in over HTTP. After every case: no box
left, no measured number lost, nothing started over the cap.
"""

import os
import signal
from collections.abc import Iterable
from datetime import timedelta

import pytest

from aws_stand_in import aws_account  # noqa: F401
from conftest import REPOSITORY
from ec2_world import STAGES, World, ec2_world, git_checkout, plainly, s3_bucket, until, wait_for  # noqa: F401
from yocobench import reap
from yocobench.aws import boxes, ending, watch
from yocobench.bench.measurement import Measurement

TABLE = REPOSITORY / "docs/reliability.md"
HAPPENED: dict[str, tuple[str, str]] = {}
"""Fault: (what the receipt says, what is left)."""
STUB_LOSSES = (3.0, 2.0, 1.0)


def note(fault: str, world: World, measurement: Measurement, more: str = "") -> None:
    """A row of the table, after the checks that hold in every case."""
    assert world.boxes.alive() == []
    assert all(entry.state == "closed" for entry in world.ledger.entries())
    assert all(entry.reserved_usd <= entry.worst_usd for entry in world.ledger.entries())
    said = measurement.outcome + (f": {plainly(measurement.reason)}" if measurement.reason else "")
    HAPPENED[fault] = (said, more or "no box, no reservation")


def together(
    world: World, instances: Iterable[str], patience_s: dict[str, float] | None = None
) -> dict[str, Measurement]:
    """One client process for each, at the same time. `patience_s`: by instance type, with a box that never spoke."""
    names = list(instances)
    own = {name: {"boot_s": seconds} for name, seconds in (patience_s or {}).items()}
    clients = [world.client(name, launch_parallelism=len(names), poll_s=0.5, **own.get(name, {})) for name in names]
    assert [wait_for(client) for client in clients] == [0] * len(names)
    return {name: world.receipt(name) for name in names}


@pytest.mark.slow
def test_five_types_at_once_each_end_as_what_happened_to_them(world: World):
    world.aws.fail("ec2:RunInstances", "InsufficientInstanceCapacity", status=500,
                   when={"InstanceType": "c6i.8xlarge"}, zones=["us-east-1a", "us-east-1b"])  # fmt: skip
    world.aws.fail("ec2:RunInstances", "VcpuLimitExceeded", "You have requested more vCPU capacity than your limit",
                   when={"InstanceType": "c7i.8xlarge"})  # fmt: skip
    world.boxes.faults = {"c8i.8xlarge": "die", "m7i.8xlarge": "corrupt"}
    found = together(world, ["m5a.large", "c6i.8xlarge", "c7i.8xlarge", "c8i.8xlarge", "m7i.8xlarge"])
    outcomes = {name: measurement.outcome for name, measurement in found.items()}
    assert outcomes == {
        "m5a.large": "ok",
        "c6i.8xlarge": "ok",
        "c7i.8xlarge": "unavailable",
        "c8i.8xlarge": "killed",
        "m7i.8xlarge": "killed",
    }
    zones = found["c6i.8xlarge"].extra["tried"]
    assert [plainly(line) for line in zones] == [
        "us-east-1a at hh:mm:ssZ: InsufficientInstanceCapacity",
        "us-east-1b at hh:mm:ssZ: InsufficientInstanceCapacity",
        "us-east-1c at hh:mm:ssZ: started",
    ]
    assert found["c6i.8xlarge"].repeats[0].losses == STUB_LOSSES
    assert world.launches() == 4
    note("nothing (five types at once)", world, found["m5a.large"])
    note("no capacity in two zones", world, found["c6i.8xlarge"], "measured in the third zone")
    note("over quota", world, found["c7i.8xlarge"])
    note("the box dies while it trains", world, found["c8i.8xlarge"])
    note("the receipt is cut on its way up", world, found["m7i.8xlarge"])


@pytest.mark.slow
def test_a_box_that_cannot_do_its_work_says_so_or_is_given_up(world: World):
    faults = {
        "m5a.large": ("pip", "pip fails on the box"),
        "c6i.8xlarge": ("damaged", "a download of the box is damaged"),
        "c7i.8xlarge": ("lost", "the receipt never arrives"),
        "c8i.8xlarge": ("spot", "AWS takes the spot instance back"),
        "m7i.8xlarge": ("mute", "no sign of life"),
    }
    world.boxes.faults = {name: fault for name, (fault, _) in faults.items()}
    found = together(world, faults, {"m7i.8xlarge": 6})  # the one that is mute: a busy machine's others speak late
    assert {measurement.outcome for measurement in found.values()} == {"killed"}
    assert "ERROR: no such wheel" in found["m5a.large"].reason
    for name, (_, words) in faults.items():
        note(words, world, found[name])


def test_capacity_that_is_nowhere_is_an_outcome_with_every_zone_and_time(world: World):
    world.aws.fail("ec2:RunInstances", "InsufficientInstanceCapacity", status=500)
    measurement = world.run("m5a.large")
    assert measurement.outcome == "unavailable"
    assert measurement.reason.count("InsufficientInstanceCapacity") == 5
    assert world.aws.actions()["ec2:RunInstances"] == 5
    assert world.spent_usd() == 0
    note("no capacity in any zone", world, measurement)


@pytest.mark.parametrize(
    ("code", "outcome", "fault"),
    [
        ("InvalidInstanceType", "excluded", "the type is retired"),
        ("InvalidAMIID.NotFound", "unavailable", "the image is gone between plan and launch"),
        ("Unsupported", "excluded", "no zone knows the type"),
    ],
)
def test_a_refusal_is_an_outcome_with_its_reason(world: World, code: str, outcome: str, fault: str):
    world.aws.fail("ec2:RunInstances", code)
    measurement = world.run("m5a.large")
    assert measurement.outcome == outcome
    assert world.launches() == 0
    note(fault, world, measurement)


def test_an_image_parameter_that_was_renamed_is_an_outcome_that_lists_its_siblings(world: World):
    path = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
    del world.aws.parameters[path]
    measurement = world.run("m5a.large")
    assert measurement.outcome == "unavailable"
    assert path.replace("amd64", "arm64") in measurement.reason
    assert world.ledger.entries() == []


@pytest.mark.slow
def test_throttling_and_faults_of_aws_are_waited_out(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(boxes, "RETRIES_S", (0.01, 0.01))
    world.aws.fail("ec2:RunInstances", "RequestLimitExceeded", status=503, times=1)
    world.aws.fail("ec2:RunInstances", "InternalError", status=500, times=1)
    measurement = world.run("m5a.large")
    assert measurement.outcome == "ok"
    assert world.launches() == 1
    note("AWS throttles, then fails, the launch", world, measurement, "the same request, sent three times, one box")


@pytest.mark.slow
def test_a_run_past_its_wall_clock_is_ended(world: World, monkeypatch: pytest.MonkeyPatch):
    world.boxes.faults = {"m5a.large": "hang"}
    now = watch.now
    trains = lambda: any("measure" in progress.phase for progress in world.reports)  # noqa: E731
    monkeypatch.setattr(watch, "now", lambda: now() + timedelta(hours=trains() and 1))
    measurement = world.run("m5a.large")
    assert measurement.outcome == "timeout"
    note("the run hangs", world, measurement)


@pytest.mark.slow
def test_a_receipt_that_comes_after_the_box_was_given_up_is_not_thrown_away(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    terminate = boxes.terminate

    def late(region: str, instance_ids: list[str]) -> None:
        (world.boxes.folder / "slow").unlink()
        until(lambda: watch.read_marker(world.ledger.entries()[0]))
        terminate(region, instance_ids)

    (world.boxes.folder / "slow").touch()
    monkeypatch.setattr(boxes, "terminate", late)
    now = watch.now
    trains = lambda: any("measure" in progress.phase for progress in world.reports)  # noqa: E731
    monkeypatch.setattr(watch, "now", lambda: now() + timedelta(hours=trains() and 1))
    measurement = world.run("m5a.large")
    assert measurement.repeats[0].losses == STUB_LOSSES
    note("the box is given up while it uploads", world, measurement, "collected all the same")


@pytest.mark.slow
def test_ctrl_c_ends_the_box(world: World):
    (world.boxes.folder / "slow").touch()
    child = world.client("m5a.large")
    until(world.boxes.alive)
    os.kill(child, signal.SIGINT)
    os.kill(child, signal.SIGTERM)  # a second signal does not stop the clean-up
    assert wait_for(child) == 0
    measurement = world.receipt("m5a.large")
    assert measurement.outcome == "interrupted"
    note("Ctrl-C", world, measurement)


@pytest.mark.slow
def test_a_box_that_cannot_be_terminated_is_shouted_about_and_reaped(world: World, capsys: pytest.CaptureFixture[str]):
    world.aws.fail("ec2:TerminateInstances", "UnauthorizedOperation", status=403)
    world.boxes.keep_off = True
    measurement = world.run("m5a.large")
    assert measurement.outcome == "ok"
    assert "MAY STILL RUN" in capsys.readouterr().err
    assert len(world.boxes.alive()) == 1
    world.aws.heal()
    assert reap.main(["--all"]) == 0
    assert "reaped on request" in capsys.readouterr().out
    assert world.boxes.alive() == []
    assert world.run("m5a.large").outcome == "ok"
    assert world.launches() == 1
    note("AWS does not let us terminate", world, measurement, "shouted about; `reap` ends it")


def test_nothing_starts_without_confirmation_or_over_the_cap(world: World, capsys: pytest.CaptureFixture[str]):
    asked = world.run("m5a.large", confirm=False)
    assert (asked.outcome, asked.reason) == (
        "unmeasured",
        "planned only, worst case 0.06 USD: launcher.confirm=true starts it",
    )
    assert "at most 22 min and then off: worst case 0.06 USD" in capsys.readouterr().err
    over = world.run("m5a.large", max_usd="0.05")
    assert over.outcome == "unmeasured"
    assert "worst case 0.06 USD, and 0.00 USD are spent or reserved" in over.reason
    assert world.aws.actions()["ec2:RunInstances"] == 0
    assert world.ledger.entries() == []
    note("not confirmed", world, asked)
    note("over the cap", world, over)


@pytest.mark.slow
def test_of_two_clients_at_once_only_one_fits_under_the_cap(world: World):
    (world.boxes.folder / "slow").touch()
    first = world.client("m5a.large", max_usd="0.1")
    until(world.ledger.entries)
    late = world.run("t3a.large", max_usd="0.1")
    (world.boxes.folder / "slow").unlink()
    assert wait_for(first) == 0
    assert world.receipt("m5a.large").outcome == "ok"
    assert late.outcome == "unmeasured"
    note("two clients, cap for one", world, late)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_killed_at_any_stage_is_followed_by_one_that_brings_the_number_home(world: World, stage: str):
    slow = world.boxes.folder / "slow"
    if list(STAGES).index(stage) <= list(STAGES).index("while the box trains"):
        slow.touch()
    assert wait_for(world.client("m5a.large", stage, max_usd="0.1")) == -signal.SIGKILL
    slow.unlink(missing_ok=True)
    measurement = world.run("m5a.large", max_usd="0.1")
    assert measurement.outcome == "ok"
    assert measurement.repeats[0].losses == STUB_LOSSES
    assert world.launches() == 1
    started = stage in list(STAGES)[list(STAGES).index("before asking for the box") + 1 :]
    note(f"client killed {stage}", world, measurement, f"the next one {'collects' if started else 'starts'} the box")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["after AWS said yes, before the ledger knows", "while the box trains"])
def test_a_client_that_nobody_restarts_is_reaped_when_its_time_is_up(
    world: World, stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (world.boxes.folder / "slow").touch()
    assert wait_for(world.client("m5a.large", stage, max_usd="0.1")) == -signal.SIGKILL
    assert reap.main(["--list"]) == 0
    assert "toy-smoke-m5a.large: us-east-1" in capsys.readouterr().out
    assert reap.main([]) == 0
    assert "1 box(es) of the project left" in capsys.readouterr().out  # not yet
    now = ending.now
    monkeypatch.setattr(ending, "now", lambda: now() + timedelta(hours=2))
    assert reap.main([]) == 0
    assert "0 box(es) of the project left" in capsys.readouterr().out
    monkeypatch.undo()
    assert world.boxes.alive() == []
    assert [entry.state for entry in world.ledger.entries()] == ["closed"]


def test_the_table_in_the_documentation_is_what_happened():
    """Last in this file: rewrites docs/reliability.md when a full run says something else than it."""
    every = [f"client killed {stage}" for stage in STAGES] + ["over quota", "Ctrl-C", "no sign of life", "over the cap"]
    if not set(every) <= set(HAPPENED):
        pytest.skip("only a full run of this file knows the whole table")
    head = TABLE.read_text().partition("\n| fault |")[0] if TABLE.exists() else ""
    rows = [f"| {fault} | {said.replace('|', '/')} | {left} |" for fault, (said, left) in HAPPENED.items()]
    text = "\n".join(
        [head.rstrip("\n"), "", "| fault | what the receipt says | what is left |", "|---|---|---|", *rows]
    )
    if not TABLE.exists() or TABLE.read_text() != text + "\n":
        TABLE.write_text(text + "\n")
        pytest.fail("docs/reliability.md said something else; it is rewritten: read it and commit it")
