"""Where AWS sells an instance type. A price is not an offer: the price list keeps types that nobody can launch."""

from __future__ import annotations

from collections.abc import Sequence

from yocobench.aws import session

MAX_FILTER_VALUES = 200
"""EC2 API, request limits: values per filter."""


def zones(instance_types: Sequence[str], region: str) -> dict[str, tuple[str, ...]]:
    """Each type's availability zones in the region, in order; empty for a type that is not offered there.

    Raises AwsError, also where the region itself is unknown or not enabled for the account.
    """
    found: dict[str, list[str]] = {name: [] for name in instance_types}
    names = sorted(found)
    with session.asking(f"list where {region} offers the types"):
        ec2 = session.client("ec2", region)
        pages = ec2.get_paginator("describe_instance_type_offerings")
        for start in range(0, len(names), MAX_FILTER_VALUES):
            wanted = [{"Name": "instance-type", "Values": names[start : start + MAX_FILTER_VALUES]}]
            for page in pages.paginate(LocationType="availability-zone", Filters=wanted):
                for row in page["InstanceTypeOfferings"]:
                    found[row["InstanceType"]].append(row["Location"])
    return {name: tuple(sorted(places)) for name, places in found.items()}
