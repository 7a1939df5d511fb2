"""The EC2 launcher against a stand-in of AWS over HTTP, with boxes that really run the user-data it wrote."""

import io
import signal
import sys
from decimal import Decimal

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import World, ec2_world, git_checkout, s3_bucket  # noqa: F401
from test_ec2_ledger import entry
from yocobench.aws import ending, session
from yocobench.aws.ledger import Ledger
from yocobench.launchers import ec2
from yocobench.telling import Progress


class Closed(io.StringIO):
    """Standard error whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Display(list[Progress]):
    """A terminal that fails at that phase, or at every one."""

    def __init__(self, failure: BaseException, phase: str = "") -> None:
        super().__init__()
        self.failure, self.phase = failure, phase

    def append(self, progress: Progress) -> None:
        super().append(progress)
        if self.phase in progress.phase:
            raise self.failure


def test_a_cell_is_measured_on_a_box_and_the_box_is_gone(world: World):
    assert world.run("m5a.large").outcome == "ok"


@pytest.mark.parametrize(
    "display",
    [
        Display(OSError(28, "No space left on device")),  # of a log file
        Display(SystemExit(1), "ending the box"),  # rich, where a pipe is closed
    ],
)
def test_what_cannot_be_shown_costs_no_measurement_and_keeps_no_box_alive(world: World, display: Display):
    world.reports = display
    assert world.run("m5a.large").outcome == "ok"
    assert "ending the box" in {progress.phase for progress in display}


def test_a_second_ctrl_c_does_not_hinder_the_end_of_a_box_where_nobody_can_be_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Closed())
    with ec2._signals() as hold:
        hold()
        signal.raise_signal(signal.SIGINT)


def test_a_wait_for_a_place_outlasts_a_network_that_is_away(world: World, monkeypatch: pytest.MonkeyPatch):
    other = world.ledger.put(entry("other", state="running"))
    regions: list[str] = []

    def sweep(ledger: Ledger, region: str) -> list[str]:
        regions.append(region)
        if len(regions) == 2:
            raise session.Unreachable("no network")
        if len(regions) == 3:
            ledger.put(other.with_(state="closed", cost_usd=Decimal(0)))
        return []

    monkeypatch.setattr(ending, "sweep", sweep)
    assert world.run("m5a.large", launch_parallelism=1).outcome == "ok"
