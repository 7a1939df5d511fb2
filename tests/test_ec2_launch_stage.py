"""The launch stage: boxes side by side, whose receipts the train stages then collect."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

import commands
from aws_stand_in import aws_account  # noqa: F401
from ec2_world import HURRY, PROTOCOL, World, ec2_world, git_checkout, s3_bucket, until  # noqa: F401
from selection_cases import candidate
from yocobench import config, estimates, gathering, launch, receipt, worth
from yocobench.bench.measurement import Measurement, RepeatResult
from yocobench.candidates import terms
from yocobench.plan import PlannedCell
from yocobench.receipt import Provenance, Receipt

WANTED = ("c6i.8xlarge", "c7i.8xlarge", "c8i.8xlarge")


def study(world: World, *instances: str) -> None:
    """The toy on these, in a hurry."""
    path = world.root / "params.yaml"
    params = yaml.safe_load(path.read_text()) | {"workloads": ["toy"], "instances": list(instances)}
    for word in PROTOCOL:
        key, _, value = word.partition("=")
        params["protocol"][key] = int(value)
    path.write_text(yaml.safe_dump(params))


def run(*overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yocobench.launch", *overrides]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def stage(world: World, *overrides: str) -> subprocess.CompletedProcess[str]:
    study(world, "local", "m5a.large", "c6i.8xlarge", "p3.2xlarge")
    return run(*overrides)


@pytest.mark.slow
def test_boxes_run_side_by_side_and_train_collects_without_a_second_launch(world: World):
    for name in ("m5a.large", "c6i.8xlarge"):
        world.cell(name)
    args = {**HURRY, "allow_dirty": True, "poll_s": 0.5}
    done = stage(world, "launcher=ec2", "force=true", *(f"launcher.{key}={str(v).lower()}" for key, v in args.items()))
    assert done.returncode == 0, done.stderr
    assert "2 cell(s) to measure" in done.stdout  # not this machine, not the retired type
    assert (world.root / launch.LAUNCHED).read_text() == "ec2\n"
    assert world.launches() == 2
    found: Measurement = world.run("m5a.large", allow_dirty=True)
    assert found.outcome == "ok"
    assert world.run("c6i.8xlarge", allow_dirty=True).outcome == "ok"
    assert world.launches() == 2


@pytest.mark.slow
def test_a_launcher_of_this_machine_has_nothing_to_start(world: World):
    done = stage(world, "launcher=local")
    assert done.returncode == 0, done.stderr
    assert "no boxes to run side by side" in done.stdout
    assert (world.root / launch.LAUNCHED).read_text() == "local\n"
    assert world.launches() == 0


@pytest.mark.slow
def test_a_box_that_cannot_win_any_more_is_ended_and_not_started_again(world: World, monkeypatch: pytest.MonkeyPatch):
    """80 samples/s on c6i at 1.36 USD/h beat at most 60 on c7i at 1.428, of which nothing was known but an estimate."""
    study(world, *WANTED)
    words = ["launcher=ec2", "launcher.allow_dirty=true", *(f"launcher.{k}={str(v).lower()}" for k, v in HURRY.items())]
    with initialize_config_dir(version_base=None, config_dir=str(world.root / "conf")):
        cfg = config.load(compose("config", overrides=["workload=toy", "launcher.launch_parallelism=2", *words]))
    toy = {"workload": "toy", "source": "estimated", "spread": 1.5}
    known = [
        candidate("c6i.8xlarge", 70, "1.36", **toy),
        candidate("c7i.8xlarge", 40, "1.428", **toy),
        candidate("c8i.8xlarge", 30, "1.49936", **toy),
    ]
    monkeypatch.setattr(estimates, "calibration", lambda _root: None)
    found = gathering.Gathered(terms(cfg, config.workload("toy")), known, {}, [])
    monkeypatch.setattr(gathering, "gather", lambda *_: [found])
    world.boxes.faults = {"c7i.8xlarge": "hang"}
    slow = world.boxes.folder / "slow"
    slow.touch()
    threading.Thread(target=lambda: (until(lambda: len(world.boxes.alive()) == 2), slow.unlink())).start()
    cells = {name: PlannedCell(spec=world.cell(name)[0], exclusion=None) for name in WANTED}
    assert launch._side_by_side(list(cells.values()), cfg, world.root, 2) is False
    assert world.boxes.alive() == []
    assert world.launches() == 2  # c8i waited for a place, and lost its chance meanwhile
    ended = {entry.instance_type: entry for entry in world.ledger.entries()}
    assert ended["c7i.8xlarge"].state == "closed"
    assert ended["c7i.8xlarge"].note.startswith("cannot win by all that is known: takes ")
    assert ended["c7i.8xlarge"].cost_usd > 0
    later = worth.decisions(cfg, world.root)  # what the train stages ask
    assert {name: bool(worth.why_not(cell, cfg, later)) for name, cell in cells.items()} == {
        "c6i.8xlarge": False,
        "c7i.8xlarge": True,
        "c8i.8xlarge": True,
    }
    assert world.run("c6i.8xlarge", allow_dirty=True).outcome == "ok"  # collected
    assert world.launches() == 2


@pytest.mark.slow
def test_a_cell_without_a_number_is_taken_up_again_and_one_with_a_number_is_not(world: World):
    study(world, "m5a.large")
    spec, _ = world.cell("m5a.large")
    path = launch.path_of(spec, world.root)
    begun = RepeatResult(repeat=0, outcome="killed", started_at="2026-11-23T12:00:00+00:00")
    for outcome, repeats, is_recorded in (
        ("unmeasured", (), False),
        ("unavailable", (), False),  # capacity and quota pass
        ("killed", (), False),  # so do a reclaimed spot box and a failed download
        ("killed", (begun,), True),
        ("out_of_memory", (), True),
        ("timeout", (), True),
    ):
        given = Measurement(outcome=outcome, reason="because", source="measured", detected=None, repeats=repeats)
        who = Provenance(git_commit=None, git_dirty=None, launcher="ec2", sweep=None)
        record = Receipt(cell_key=spec.key, spec=spec, provenance=who, measurement=given, recorded_at="2026")
        receipt.write(record, path)
        assert launch.recorded(spec, "ec2", world.root) is is_recorded
        done = commands.run("launch", "launcher=ec2")  # asks before each, so it starts nothing here
        assert done.returncode == 0, done.stderr
        assert path.exists() is is_recorded  # DVC takes up a cell whose receipt is gone
    assert world.launches() == 0
