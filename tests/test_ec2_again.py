"""What is not started twice: a box that may not be listed yet, and one whose end is still to be recorded."""

import datetime as dt
import signal
from typing import Any

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import World, ec2_world, git_checkout, s3_bucket, wait_for  # noqa: F401
from yocobench.aws import boxes, ending
from yocobench.launchers import ec2_box

NOBODY = """<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>none</requestId><reservationSet/></DescribeInstancesResponse>"""


@pytest.mark.slow
def test_a_box_of_the_third_zone_is_waited_for_however_long_the_walk_there_took(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Asked 80 s, 40 s and 0 s ago; EC2 may take 60 s to list the box, and does not list it at the first look."""
    world.aws.fail("ec2:RunInstances", "InsufficientInstanceCapacity", status=500, zones=["us-east-1a", "us-east-1b"])
    monkeypatch.setattr(ending, "SETTLE_S", 60.0)
    now, request, ago_s = ec2_box.now, boxes._request, [80]

    def walk(*args: Any) -> dict[str, Any]:
        ago_s[:] = [{"us-east-1a": 80, "us-east-1b": 40, "us-east-1c": 0}[args[3]]]
        return request(*args)

    with monkeypatch.context() as clock:
        clock.setattr(boxes, "_request", walk)
        clock.setattr(ec2_box, "now", lambda: now() - dt.timedelta(seconds=ago_s[0]))
        killed = world.client("m5a.large", "after AWS said yes, before the ledger knows")
        assert wait_for(killed) == -signal.SIGKILL
    assert world.launches() == 1
    world.aws.answer("ec2:DescribeInstances", NOBODY, times=1)
    assert world.run("m5a.large").outcome == "ok"
    assert world.launches() == 1
