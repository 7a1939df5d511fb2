"""`reap`, the last resort: whatever stands in the way of one box, entry or region, the others end all the same."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from aws_stand_in import Aws, aws_account  # noqa: F401
from test_ec2_ledger import entry
from yocobench import reap
from yocobench.aws import ending
from yocobench.aws.ledger import Ledger, now

PAST = "2026-01-01T00:00:00+00:00"


def start(aws: Aws, run_id: str, region: str = "us-east-1", expires_at: str = PAST) -> str:
    """A box with our tags, as nobody's client left it."""
    ec2 = aws.admin("ec2", region)
    tags = {"project": "yocobench", "run-id": run_id, "expires-at": expires_at}
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]
    made = ec2.run_instances(
        ImageId=_image(aws), InstanceType="m5a.large", MinCount=1, MaxCount=1, TagSpecifications=tagged
    )
    return made["Instances"][0]["InstanceId"]


_images: list[str] = []


def _image(aws: Aws) -> str:
    """Any image of moto's, which has the same everywhere; listing them takes it two seconds."""
    if not _images:
        _images.append(aws.admin("ec2").describe_images()["Images"][0]["ImageId"])
    return _images[0]


def alive(aws: Aws, region: str = "us-east-1") -> list[str]:
    groups = aws.admin("ec2", region).describe_instances()["Reservations"]
    found = [box for group in groups for box in group["Instances"]]
    return [box["InstanceId"] for box in found if box["State"]["Name"] == "running"]


@pytest.fixture
def ledger(aws: Aws, project: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Of a project, whose bucket is there."""
    monkeypatch.setattr(ending, "SETTLE_S", 0.0)
    aws.admin("s3").create_bucket(Bucket="a-bucket")
    return Ledger(project)


def damage(ledger: Ledger, name: str, content: bytes) -> None:
    ledger.folder.mkdir(parents=True, exist_ok=True)
    (ledger.folder / name).write_bytes(content)


@pytest.mark.parametrize("content", [b'{"run_id": "b"', b"", b"\xff\xfe"])
def test_an_entry_that_cannot_be_read_keeps_reap_from_nothing_and_still_stands_for_money(
    aws: Aws, ledger: Ledger, capsys: pytest.CaptureFixture[str], content: bytes
):
    ledger.put(entry("a"))
    damage(ledger, "b.json", content)
    start(aws, "b", expires_at="2999-01-01T00:00:00+00:00")
    assert reap.main(["--list"]) == 2
    told = capsys.readouterr()
    assert told.out == (
        "toy-smoke-m5a.large: us-east-1, reserved (no client: the cell's next run collects it)\n"
        "1 box(es), dollars unknown\n"
    )
    assert told.err.startswith("error: mlruns/ledger/b.json: not a ledger entry")
    assert reap.main([]) == 2
    assert "a (toy-smoke-m5a.large): no box, entry closed" in capsys.readouterr().out
    assert len(alive(aws)) == 1  # not due
    assert reap.main(["--all"]) == 2
    told = capsys.readouterr()
    assert "reaped on request\nus-east-1: 0 box(es) of the project left" in told.out
    assert told.err.count("mlruns/ledger/b.json: not a ledger entry") == 1
    assert alive(aws) == []
    with pytest.raises(ValueError, match=r"b.json: not a ledger entry"):
        ledger.taken_usd(24)
    with pytest.raises(ValueError, match=r"b.json: not a ledger entry"):
        ledger.reserve(entry("c"), Decimal(99), window_h=24, most_boxes=9)
    (ledger.folder / "b.json").unlink()
    assert reap.main(["--all"]) == 0


def test_of_one_region_only_its_boxes_are_listed(ledger: Ledger, capsys: pytest.CaptureFixture[str]):
    ledger.put(entry("a"))
    ledger.put(entry("b", region="us-west-2"))
    assert reap.main(["--list", "--region", "us-west-2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "toy-smoke-m5a.large: us-west-2, reserved (no client: the cell's next run collects it)",
        "1 box(es), 0.80 USD spent or reserved in the last 24 h",  # in all regions: so is the cap
    ]


def test_every_box_that_is_due_is_asked_to_end_before_one_is_waited_for_or_settled(
    aws: Aws, ledger: Ledger, capsys: pytest.CaptureFixture[str]
):
    """The bucket of both is gone: neither can be settled, and both end."""
    names = {run_id: start(aws, run_id) for run_id in ("a", "b")}
    for run_id, name in names.items():
        ledger.put(entry(run_id, state="running", instance_id=name, bucket="gone"))
    assert reap.main([]) == 2
    assert alive(aws) == []
    assert [call.action for call in aws.calls][:3] == [
        "ec2:DescribeInstances",
        "ec2:TerminateInstances",
        "ec2:TerminateInstances",
    ]
    told = capsys.readouterr()
    assert "us-east-1: 0 box(es) of the project left" in told.out
    for name in names.values():
        assert (
            f"error: {name} m5a.large (no name): could not read marker.json from the bucket: NoSuchBucket" in told.err
        )
    assert [known.state for known in ledger.entries()] == ["ended", "ended"]
    assert all(known.cost_usd is not None for known in ledger.entries())  # it frees what they had reserved


def test_a_box_that_aws_does_not_let_us_end_keeps_no_other_one_alive(
    aws: Aws, ledger: Ledger, capsys: pytest.CaptureFixture[str]
):
    protected, other = start(aws, "a"), start(aws, "b")
    ledger.put(entry("a", state="running", instance_id=protected))
    ledger.put(entry("c", expires_at=now() - dt.timedelta(minutes=1)))  # reserved by a client that died
    aws.fail("ec2:TerminateInstances", "OperationNotPermitted", when={"InstanceId.1": protected})
    assert reap.main([]) == 2
    assert alive(aws) == [protected]
    told = capsys.readouterr()
    assert f"{other} m5a.large (no name): reaped: expired at 2026-01-01 00:00Z\n" in told.out
    assert "c (toy-smoke-m5a.large): no box, entry closed\n" in told.out
    assert "us-east-1: 1 box(es) of the project left\n" in told.out
    assert told.err == (
        f"error: {protected} m5a.large (no name): could not terminate {protected}: OperationNotPermitted: injected\n"
    )
    assert ledger.entries()[0].state == "running"  # what still runs is still reserved
    aws.heal()
    assert reap.main([]) == 0
    assert alive(aws) == []


def test_a_region_that_cannot_be_listed_keeps_no_other_one_from_being_swept(
    aws: Aws, ledger: Ledger, capsys: pytest.CaptureFixture[str]
):
    ledger.put(entry("a", state="running", region="us-west-2", instance_id=start(aws, "a", "us-west-2")))
    aws.fail("ec2:DescribeInstances", "UnauthorizedOperation", status=403, times=1)  # the study's, us-east-1, is first
    assert reap.main([]) == 2
    assert alive(aws, "us-west-2") == []
    told = capsys.readouterr()
    assert "us-west-2: 0 box(es) of the project left" in told.out
    assert "error: could not list the boxes in us-east-1: not allowed" in told.err


def test_a_study_that_cannot_be_read_keeps_reap_from_no_box_that_the_ledger_knows(
    aws: Aws, ledger: Ledger, project: Path, capsys: pytest.CaptureFixture[str]
):
    ledger.put(entry("a", state="running", instance_id=start(aws, "a")))
    (project / "params.yaml").write_text("region: [")
    assert reap.main([]) == 2
    assert alive(aws) == []
    assert "the study's region is not swept: name it with --region" in capsys.readouterr().err


def test_a_sweep_before_a_launch_stops_the_launch_when_an_overdue_box_could_not_be_ended(aws: Aws, ledger: Ledger):
    kept, other = start(aws, "a"), start(aws, "b")
    aws.fail("ec2:TerminateInstances", "OperationNotPermitted", when={"InstanceId.1": kept})
    with pytest.raises(ending.Unfinished, match=f"could not terminate {kept}") as stopped:
        ending.sweep(ledger, "us-east-1")
    assert stopped.value.done == [f"{other} m5a.large (no name): reaped: expired at 2026-01-01 00:00Z"]
    assert alive(aws) == [kept]
