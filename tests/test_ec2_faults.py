"""What can go wrong with a box, and with the client that started it. The table of docs/reliability.md comes from here.

Boxes really run the user-data, clients really die of SIGKILL; AWS is a stand-in over HTTP. After every case: no box
left, no measured number lost, nothing started over the cap.
"""

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import STAGES, World, ec2_world, git_checkout, plainly, s3_bucket, wait_for  # noqa: F401
from yocobench import reap

HAPPENED: dict[str, tuple[str, str]] = {}
"""Fault: (what the user sees, what is left)."""


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_killed_at_any_stage_is_followed_by_one_that_brings_the_number_home(world: World, stage: str):
    slow = world.boxes.folder / "slow"
    slow.touch()
    if "receipt" in stage or "box is ended" in stage or "bill" in stage:
        slow.unlink()
    assert wait_for(world.client("m5a.large", stage, max_usd="0.1")) == -9
    slow.unlink(missing_ok=True)
    measurement = world.run("m5a.large", max_usd="0.1")
    assert measurement.outcome == "ok"
    assert measurement.repeats[0].losses == (3.0, 2.0, 1.0)
    assert world.launches() == 1
    assert world.boxes.alive() == []
    assert {entry.state for entry in world.ledger.entries()} == {"closed"}
    print(stage, world.spent_usd(), measurement.extra)
