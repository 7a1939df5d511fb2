"""The security group of every box: nothing comes in, everything may go out. Made once a VPC, and then found again."""

from __future__ import annotations

from typing import Any

from yocobench.aws import session
from yocobench.aws.boxes import PROJECT

NAME = "yocobench-no-ingress"


def ensure(vpc_id: str, region: str) -> str:
    """Its id. Raises ValueError when somebody has opened it, AwsError."""
    found = _find(vpc_id, region)
    if found is None:
        tags = [{"ResourceType": "security-group", "Tags": [{"Key": "project", "Value": PROJECT}]}]
        try:
            with session.asking(f"make the security group {NAME}"):
                made = session.client("ec2", region).create_security_group(
                    GroupName=NAME, Description="yocobench boxes: no ingress", VpcId=vpc_id, TagSpecifications=tags
                )
                return str(made["GroupId"])
        except session.AwsError as error:
            if error.code != "InvalidGroup.Duplicate":  # another process was faster
                raise
            found = _find(vpc_id, region)
            assert found is not None
    if found["IpPermissions"]:
        raise ValueError(
            f"security group {NAME} ({found['GroupId']}) lets something in; take its inbound rules away, "
            "or delete the group and it is made anew"
        )
    return str(found["GroupId"])


def _find(vpc_id: str, region: str) -> dict[str, Any] | None:
    filters = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "group-name", "Values": [NAME]}]
    with session.asking(f"look for the security group {NAME}"):
        groups = session.client("ec2", region).describe_security_groups(Filters=filters)["SecurityGroups"]
    return groups[0] if groups else None
