"""RunInstances whose answer is lost, and a box that EC2 does not know yet: what AWS says next is not to be believed."""

from decimal import Decimal
from typing import Any

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import World, ec2_world, git_checkout, s3_bucket  # noqa: F401
from test_ec2_again import NOBODY
from yocobench import reap
from yocobench.aws import boxes, ending
from yocobench.aws.ledger import Entry, Ledger


@pytest.fixture(autouse=True)
def _retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon; and a box that EC2 does not list yet is waited for, as in earnest."""
    monkeypatch.setattr(boxes, "RETRIES_S", (0.01, 0.01, 0.01))


@pytest.fixture
def lost(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """AWS starts a box, the answer is cut, and EC2 does not list the box at the first look."""
    monkeypatch.setattr(ending, "SETTLE_S", 60.0)
    world.boxes.hold.clear()
    world.aws.cut_launches = 1
    world.aws.answer("ec2:DescribeInstances", NOBODY, times=1)
    return world


@pytest.mark.parametrize(
    ("code", "status", "asked"),
    [
        ("RequestLimitExceeded", 503, 4),
        ("InternalError", 500, 4),
        ("VcpuLimitExceeded", 400, 2),
        ("InsufficientInstanceCapacity", 500, 2),  # in no other zone: a second box
    ],
)
def test_the_box_of_a_lost_answer_is_ended_and_paid_for_whatever_aws_says_next(
    lost: World, code: str, status: int, asked: int
):
    """(0.086 + 0.08 x 100 / 730 + 0.005) USD/h for the minute that is billed at least: 0.001699 USD."""
    lost.aws.fail("ec2:RunInstances", code, status=status, after=1)
    measurement = lost.run("m5a.large")
    assert (measurement.outcome, measurement.extra["cost_usd"]) == ("unavailable", 0.001699)
    assert code in measurement.reason
    (tried,) = measurement.extra["tried"]
    assert tried.startswith("us-east-1a at ")
    assert tried.endswith(f"Z: {code}")
    assert lost.aws.actions()["ec2:RunInstances"] == asked
    assert lost.launches() == 1
    assert lost.boxes.alive() == []
    (entry,) = lost.ledger.entries()
    assert (entry.state, entry.billed_s) == ("closed", 60)


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "ExpiredToken"])
def test_the_box_of_a_lost_answer_is_ended_though_the_credentials_end_before_the_next(lost: World, code: str):
    lost.aws.fail("ec2:RunInstances", code, status=403, after=1)
    with pytest.raises(OSError, match=r"could not start m5a.large"):
        lost.run("m5a.large")
    assert lost.launches() == 1
    assert lost.boxes.alive() == []
    assert lost.ledger.entries()[0].billed_s == 60


def test_a_lost_answer_that_comes_when_asked_again_is_the_box_that_was_started(world: World):
    world.aws.cut_launches = 1
    assert world.run("m5a.large").outcome == "ok"
    assert world.aws.actions()["ec2:RunInstances"] == 2
    assert world.launches() == 1


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("<RunInstancesResponse><inst", 200),
        ("<html><body>Sign in</body></html>", 200),
        ("<html><body>Go away<br></body></html>", 403),
    ],
)
def test_a_page_that_is_not_aws_is_said_in_one_line(world: World, page: str, status: int):
    world.aws.answer("ec2:RunInstances", page, status)
    with pytest.raises(OSError, match=r"^could not start m5a.large: it is not AWS that answered"):
        world.run("m5a.large")
    assert world.aws.actions()["ec2:RunInstances"] == 4
    assert world.ledger.entries()[0].tried == ()


@pytest.mark.parametrize(("page", "status"), [("<html><body>No</body></html>", 403), ("", 502)])
def test_a_page_that_botocore_takes_for_an_error_is_asked_again_and_then_an_outcome(
    world: World, page: str, status: int
):
    world.aws.answer("ec2:RunInstances", page, status)
    assert world.run("m5a.large").outcome == "unavailable"
    assert world.aws.actions()["ec2:RunInstances"] == 4


@pytest.mark.parametrize(
    ("code", "status", "walk"),
    [
        ("InsufficientInstanceCapacity", 500, ["asked", "intended"] * 5),  # five zones
        ("VcpuLimitExceeded", 400, ["asked", "intended"]),
        ("RequestLimitExceeded", 503, ["asked", "asked", "asked", "asked", "intended"]),
        ("InternalError", 500, ["asked", "asked", "asked", "asked", "asked"]),  # the last with what was tried
    ],
)
def test_the_ledger_says_at_each_moment_of_the_walk_whether_a_box_may_exist(
    world: World, monkeypatch: pytest.MonkeyPatch, code: str, status: int, walk: list[str]
):
    states: list[Any] = []
    put = Ledger.put

    def note(ledger: Ledger, entry: Entry) -> Entry:
        states.append(entry.state)
        return put(ledger, entry)

    monkeypatch.setattr(Ledger, "put", note)
    world.aws.fail("ec2:RunInstances", code, status=status)
    assert world.run("m5a.large").outcome == "unavailable"
    assert states[states.index("asked") :][: len(walk)] == walk
    (entry,) = world.ledger.entries()
    assert (entry.state, entry.cost_usd) == ("closed", Decimal(0))


@pytest.mark.parametrize("times", [1, 4])
def test_a_box_that_ec2_lists_and_does_not_know_yet_is_not_taken_to_have_ended(
    world: World, capsys: pytest.CaptureFixture[str], times: int
):
    world.aws.fail("ec2:TerminateInstances", "InvalidInstanceID.NotFound", times=times)
    world.boxes.hold.clear()
    world.run("m5a.large", boot_s=0.1)
    is_left = times == 4  # it was asked as often
    assert ("MAY STILL RUN" in capsys.readouterr().err) is is_left
    assert [entry.state for entry in world.ledger.entries()] == ["running" if is_left else "closed"]
    assert len(world.boxes.alive()) == is_left
    assert reap.main(["--all"]) == 0
