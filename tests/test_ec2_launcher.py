"""The EC2 launcher against a stand-in of AWS over HTTP, with boxes that really run the user-data it wrote."""

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import World, ec2_world, git_checkout, s3_bucket  # noqa: F401


def test_a_cell_is_measured_on_a_box_and_the_box_is_gone(world: World):
    measurement = world.run("m5a.large")
    print(measurement)
    assert measurement.outcome == "ok"
