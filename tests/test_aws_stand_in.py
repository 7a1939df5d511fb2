"""The stand-in itself, where moto's behaviour would mislead the tests that use it."""

import pytest
from botocore.exceptions import ClientError

from aws_stand_in import Aws, aws_account  # noqa: F401
from yocobench.aws import session


def launch(**changed: str) -> str:
    request = {"ImageId": image(), "InstanceType": "g4dn.xlarge", "MinCount": 1, "MaxCount": 1, **changed}
    answer = session.client("ec2", "us-east-1", max_attempts=1).run_instances(**request)
    return answer["Instances"][0]["InstanceId"]


def image() -> str:
    path = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
    return session.client("ssm", "us-east-1").get_parameter(Name=path)["Parameter"]["Value"]


def subnet(aws: Aws, zone: str) -> str:
    found = aws.admin("ec2").describe_subnets(Filters=[{"Name": "availability-zone", "Values": [zone]}])
    return found["Subnets"][0]["SubnetId"]


def test_a_repeated_client_token_launches_nothing_new(aws: Aws):
    assert launch(ClientToken="one") == launch(ClientToken="one")
    assert launch(ClientToken="two") != launch(ClientToken="one")
    reservations = aws.admin("ec2").describe_instances()["Reservations"]
    assert sum(len(r["Instances"]) for r in reservations) == 2


def test_a_zone_without_the_type_or_without_capacity_refuses_it(aws: Aws):
    aws.fail("ec2:RunInstances", "InsufficientInstanceCapacity", status=500, zones=["us-east-1a"], times=1)
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        launch(SubnetId=subnet(aws, "us-east-1a"))
    assert launch(SubnetId=subnet(aws, "us-east-1a")).startswith("i-")
    with pytest.raises(ClientError, match="Unsupported"):  # g4dn is not in us-east-1e
        launch(SubnetId=subnet(aws, "us-east-1e"))


def test_a_retired_type_and_an_unknown_image_are_refused(aws: Aws):
    with pytest.raises(ClientError, match="InvalidInstanceType"):
        launch(InstanceType="p3.2xlarge")
    with pytest.raises(ClientError, match="InvalidAMIID"):
        launch(ImageId="ami-00000000000000000")


def test_the_image_has_its_own_root_device_and_architecture(aws: Aws):
    found = session.client("ec2", "us-east-1").describe_images(ImageIds=[image()])["Images"][0]
    assert (found["RootDeviceName"], found["Architecture"]) == ("/dev/sda1", "x86_64")
