"""The ledger's sums and locks, the bill, and what a box's signs are taken to mean."""

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path

import pytest

from aws_stand_in import Aws, aws_account  # noqa: F401
from yocobench import reap
from yocobench.aws import boxes, ending, watch
from yocobench.aws.launch_plan import bill, wall_clock_s, worst_case_usd
from yocobench.aws.ledger import Entry, Ledger, OverCap, now
from yocobench.schema import Protocol


def entry(run_id: str, worst_usd: str = "0.40", **changes: object) -> Entry:
    values = {
        "run_id": run_id,
        "cell_key": "0123456789abcdef",
        "label": "toy-smoke-m5a.large",
        "instance_type": "m5a.large",
        "region": "us-east-1",
        "bucket": "a-bucket",
        "created_at": now(),
        "expires_at": now() + dt.timedelta(hours=1),
        "usd_per_hour": "0.36",
        "worst_usd": worst_usd,
    }
    return Entry.model_validate({**values, **changes})


def reserve(ledger: Ledger, new: Entry, max_usd: str = "1", most_boxes: int = 9) -> bool:
    return ledger.reserve(new, Decimal(max_usd), window_h=24, most_boxes=most_boxes)


def test_reservations_add_up_until_the_cap(tmp_path: Path):
    ledger = Ledger(tmp_path)
    assert reserve(ledger, entry("a"))
    assert reserve(ledger, entry("b"))
    with pytest.raises(OverCap, match=r"worst case 0.40 USD, and 0.80 USD are spent or reserved in the last 24 h"):
        reserve(ledger, entry("c"))
    assert [known.run_id for known in ledger.entries()] == ["a", "b"]


def test_a_box_that_is_done_counts_at_its_cost_and_yesterdays_does_not_count(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.put(entry("a", state="closed", cost_usd="0.05"))
    long_ago = now() - dt.timedelta(hours=25)
    ledger.put(entry("b", state="closed", cost_usd="0.30", created_at=long_ago))
    ledger.put(entry("c", state="running", created_at=long_ago))  # still burning: counts, whenever it began
    assert ledger.taken_usd(24) == Decimal("0.45")


def test_of_many_processes_at_once_only_as_many_reserve_as_fit(tmp_path: Path):
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            try:
                reserve(Ledger(tmp_path), entry(f"p{number}", "0.30"))
            except OverCap:
                os._exit(7)
            os._exit(0)
        children.append(child)
    results = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert results == [0, 0, 0, 7, 7, 7, 7, 7]  # 3 x 0.30 fit under 1
    assert Ledger(tmp_path).taken_usd(24) == Decimal("0.90")


def test_more_boxes_than_allowed_at_once_wait(tmp_path: Path):
    ledger = Ledger(tmp_path)
    assert reserve(ledger, entry("a"), most_boxes=1)
    assert not reserve(ledger, entry("b"), most_boxes=1)
    ledger.put(entry("a", state="ended", cost_usd="0.01"))
    assert reserve(ledger, entry("b"), most_boxes=1)


def test_a_cell_is_one_process_at_a_time(tmp_path: Path):
    ledger = Ledger(tmp_path)
    with ledger.cell("abc"):
        assert ledger.held("abc")
        with (
            pytest.raises(ValueError, match="being measured by another process"),
            Ledger(tmp_path).cell("abc", timeout_s=0),
        ):
            pass
    assert not ledger.held("abc")


def test_a_damaged_entry_is_named_and_may_stand_for_a_box(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.put(entry("a"))
    (ledger.folder / "b.json").write_text('{"run_id": "b"')
    with pytest.raises(ValueError, match=r"b.json: not a ledger entry.*yocobench.reap --all"):
        ledger.entries()


def test_the_bill_is_by_the_second_with_a_minute_at_least():
    assert bill(Decimal("3.6"), 100) == (100, Decimal("0.1"))
    assert bill(Decimal("3.6"), 1) == (60, Decimal("0.06"))


def test_the_worst_case_is_the_whole_wall_clock_and_the_power_off_rounded_up():
    protocol = Protocol(
        repeats=3,
        warmup_steps=1,
        min_steps=3,
        max_steps=3,
        max_measure_s=1,
        target_relative_half_width=0.1,
        timeout_s=900,
        seed=0,
    )
    limit_s = wall_clock_s(protocol, setup_allowance_s=1190)
    assert limit_s == 3900  # 1190 + 3 x 900 s, to the next minute
    assert worst_case_usd(Decimal("0.526"), limit_s) == Decimal("0.66")  # 0.526 x 4500 / 3600 = 0.6575


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("Server.SpotInstanceTermination", "AWS took the spot instance back"),
        ("Client.InstanceInitiatedShutdown", "the box shut itself down"),
        ("Client.UserInitiatedShutdown", "somebody terminated the box"),
        ("Server.InternalError", "the box is gone (Server.InternalError)"),
    ],
)
def test_why_a_box_is_gone(code: str, words: str):
    assert boxes.death({"StateReason": {"Code": code}}) == words


def test_a_box_that_ec2_has_forgotten_is_gone_without_a_reason():
    assert boxes.death(None) == "the box is gone (EC2 does not say why)"


def test_the_end_of_a_box_is_when_ec2_says_it_was():
    said = {"StateTransitionReason": "User initiated (2026-11-23 12:34:56 GMT)"}
    assert boxes.ended_at(said) == dt.datetime(2026, 11, 23, 12, 34, 56, tzinfo=dt.UTC)


def test_a_heartbeat_becomes_progress():
    line = "toy: repeat 2 of 3, measure, 1,234 images/s, 12 s left in this repeat at most"
    shown = watch.progress(f"1795441996\ntrain\n{line}\n".encode(), 3)
    assert (shown.phase, shown.repeat, shown.repeats) == ("measure on the box", 1, 3)
    assert shown.samples_per_second == 1234
    early = watch.progress(b"1795441996\ndownload code.tar\n== x\n", 3)
    assert early.phase == "download code.tar on the box"
    assert watch.progress(b"", 3).phase == "boot on the box"


def test_a_network_that_is_away_for_a_while_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch):
    answers = iter([watch.session.Unreachable("gone"), watch.session.AwsError("500", "InternalError"), None])

    def look(_entry: Entry) -> watch.Verdict | None:
        answer = next(answers, watch.Verdict(None, "killed", "seen"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(watch, "_look", look)
    monkeypatch.setattr(watch.mailbox, "read", lambda *_: b"1\ntrain\n\n")
    found = watch.watch(entry("a"), watch.Patience(0.0, 5, 5), 1, lambda _: None)
    assert found.reason == "seen"


def test_reap_leaves_strangers_alone_and_ends_ours_without_a_ledger(
    aws: Aws, project: Path, capsys: pytest.CaptureFixture[str]
):
    ec2 = aws.admin("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    past = "2026-01-01T00:00:00+00:00"
    rows = [("yocobench", past), ("another", past), ("yocobench", "2999-01-01T00:00:00+00:00"), ("yocobench", "soon")]
    made = []
    for project_name, expires_at in rows:
        tags = [{"Key": "project", "Value": project_name}, {"Key": "expires-at", "Value": expires_at}]
        started = ec2.run_instances(
            ImageId=image, InstanceType="m5a.large", MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )  # fmt: skip
        made.append(started["Instances"][0]["InstanceId"])

    def alive() -> list[str]:
        groups = ec2.describe_instances()["Reservations"]
        found = [box for group in groups for box in group["Instances"]]
        return [box["InstanceId"] for box in found if box["State"]["Name"] == "running"]

    assert reap.main([]) == 0
    assert set(alive()) == set(made[1:])  # expired, stranger's, not yet, unreadable but young
    assert "expired at 2026-01-01 00:00Z" in capsys.readouterr().out
    assert reap.main(["--all"]) == 0
    assert alive() == [made[1]]


def test_reap_says_why_it_could_not_look(aws: Aws, project: Path, capsys: pytest.CaptureFixture[str]):
    aws.fail("ec2:DescribeInstances", "UnauthorizedOperation", status=403)
    assert reap.main([]) == 2
    assert "could not list the boxes in us-east-1: not allowed" in capsys.readouterr().err


def test_reap_frees_what_a_dead_client_had_reserved(
    aws: Aws, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    aws.admin("s3").create_bucket(Bucket="a-bucket")
    ledger = Ledger(project)
    ledger.put(entry("a", expires_at=now() - dt.timedelta(minutes=1)))
    monkeypatch.setattr(ending, "SETTLE_S", 0.0)
    assert reap.main([]) == 0
    assert "no box, entry closed" in capsys.readouterr().out
    assert ledger.taken_usd(24) == 0


@pytest.mark.parametrize("closed_meanwhile", [True, False])
def test_a_sweep_leaves_what_its_client_closed_while_ec2_was_asked(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_meanwhile: bool
):
    aws.admin("s3").create_bucket(Bucket="a-bucket")
    ledger = Ledger(tmp_path)
    ledger.put(entry("a", state="running"))
    ask = boxes.find

    def ask_slowly(*args, **kwargs):
        if closed_meanwhile:
            ledger.put(entry("a", state="closed", cost_usd="0.05"))
        return ask(*args, **kwargs)

    monkeypatch.setattr(boxes, "find", ask_slowly)
    lines = ending.sweep(ledger, "us-east-1")
    assert [known.state for known in ledger.entries()] == ["closed"]
    assert lines == ([] if closed_meanwhile else ["a (toy-smoke-m5a.large): no box, entry closed"])
