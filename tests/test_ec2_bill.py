"""What a box is billed where its price depends on the zone, or its type on CPU credits."""

import json
from decimal import Decimal

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import World, ec2_world, git_checkout, s3_bucket  # noqa: F401
from yocobench import config, preflight
from yocobench.aws.launch_plan import surplus_usd_per_hour


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


def test_a_burstable_box_is_planned_and_billed_with_its_surplus_credits(
    world: World, capsys: pytest.CaptureFixture[str]
):
    # 0.0752 + 0.08 x 100 / 730 + 0.005 and, above a baseline of 30 %, 0.7 x 2 x 0.05 = 0.07: 0.161159 USD/h.
    world.boxes.hold.clear()
    measurement = world.run("t3a.large", boot_s=0.1)
    plan = "0.1612 USD/h with volume and address, 0.0700 of it for surplus CPU credits, at most 22 min and then off"
    assert f"{plan}: worst case 0.09 USD" in capsys.readouterr().err  # 32 min: 0.08595
    assert measurement.extra["planned_worst_usd"] == 0.09
    assert (measurement.extra["billed_s"], measurement.extra["cost_usd"]) == (60, 0.002686)
    assert world.spent_usd() == Decimal("0.002686")


def test_the_preflight_counts_surplus_credits_too(world: World, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        preflight.main(["instances=[t3a.large]", "launcher.max_usd='0.2'"])
    said = " ".join(capsys.readouterr().out.split())
    assert "t3a.large: one cell costs 0.21 USD at worst" in said  # 0.161159 for 75 min: 0.20145


def test_of_an_unknown_baseline_every_vcpu_hour_counts_as_surplus():
    instance = config.instance("t3a.large")
    unknown = instance.burst.model_copy(update={"baseline_utilization": None})
    assert surplus_usd_per_hour(instance.model_copy(update={"burst": unknown})) == Decimal("0.1")  # 2 x 0.05
    assert surplus_usd_per_hour(config.instance("m5a.large")) == 0
