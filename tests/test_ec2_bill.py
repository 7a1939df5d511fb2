"""What a box is billed where its price depends on the zone."""

import json

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import World, ec2_world, git_checkout, s3_bucket  # noqa: F401


@pytest.mark.parametrize(
    ("full", "zone", "usd"),
    # A minute, the least that is billed, of (0.060 or 0.030, + 0.08 x 100 / 730 + 0.005) USD/h; us-east-1c has no
    # price on file: it counts as the dearest of the others.
    [([], "a", 0.001266), (["us-east-1a"], "b", 0.000766), (["us-east-1a", "us-east-1b"], "c", 0.001266)],
)
def test_a_spot_box_is_billed_at_the_price_of_the_zone_that_it_started_in(
    world: World, full: list[str], zone: str, usd: float
):
    prices = json.loads((world.root / "data/prices.json").read_text())
    for letter, price in (("a", "0.060"), ("b", "0.030")):
        of = {"usage_class": "spot", "zone": f"us-east-1{letter}", "price_usd_per_hour": price}
        prices["prices"].append({**prices["prices"][0], **of})
    (world.root / "data/prices.json").write_text(json.dumps(prices))
    if full:
        world.aws.fail("ec2:RunInstances", "InsufficientInstanceCapacity", status=500, zones=full)
    world.boxes.hold.clear()
    measurement = world.run("m5a.large", boot_s=0.1, usage_class="spot")
    assert (measurement.extra["zone"], measurement.extra["billed_s"]) == (f"us-east-1{zone}", 60)
    assert measurement.extra["cost_usd"] == usd
    assert measurement.extra["planned_worst_usd"] == 0.06  # by the on-demand price, as before
