"""A place to put the box: one subnet a zone, from which the internet (and so S3) can be reached.

Not covered: making networks. The default VPC that every account starts with has what is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yocobench.aws import session


@dataclass(frozen=True)
class Subnet:
    """A subnet with a route out."""

    subnet_id: str
    zone: str
    vpc_id: str
    is_public: bool
    """Out through an internet gateway, so the box needs a public address; false: out through a NAT."""


def subnets(region: str, zones: tuple[str, ...], vpc_id: str | None = None) -> tuple[Subnet, ...]:
    """One subnet for each of the zones that has one with a way out, in the order of `zones`.

    Looks in the default VPC unless `vpc_id` is given. Public subnets first, then those with the most free addresses.
    Raises ValueError when the region has no default VPC; AwsError.
    """
    vpc = vpc_id or _default_vpc(region)
    with session.asking(f"list the subnets of {vpc} in {region}"):
        ec2 = session.client("ec2", region)
        in_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
        found = [s for page in ec2.get_paginator("describe_subnets").paginate(Filters=in_vpc) for s in page["Subnets"]]
        pages = ec2.get_paginator("describe_route_tables").paginate(Filters=in_vpc)
        tables = [table for page in pages for table in page["RouteTables"]]
    ways = {subnet["SubnetId"]: _way_out(subnet["SubnetId"], tables) for subnet in found}
    usable = [s for s in found if ways[s["SubnetId"]] and s.get("State", "available") == "available"]
    usable.sort(key=lambda s: (ways[s["SubnetId"]] != "internet", -s.get("AvailableIpAddressCount", 0), s["SubnetId"]))
    chosen = []
    for zone in zones:
        here = next((s for s in usable if s["AvailabilityZone"] == zone), None)
        if here is not None:
            chosen.append(Subnet(here["SubnetId"], zone, vpc, is_public=ways[here["SubnetId"]] == "internet"))
    return tuple(chosen)


def _default_vpc(region: str) -> str:
    with session.asking(f"find the default VPC of {region}"):
        default = [{"Name": "is-default", "Values": ["true"]}]
        found = session.client("ec2", region).describe_vpcs(Filters=default)["Vpcs"]
    if not found:
        raise ValueError(
            f"{region} has no default VPC; `aws ec2 create-default-vpc --region {region}` makes one (it costs nothing)"
        )
    vpc_id: str = found[0]["VpcId"]
    return vpc_id


def _way_out(subnet_id: str, tables: list[dict[str, Any]]) -> str | None:
    """`internet`, `nat` or null: where the default route goes, by the subnet's own table, else the main one."""
    own = [t for t in tables if any(a.get("SubnetId") == subnet_id for a in t.get("Associations", []))]
    main = [t for t in tables if any(a.get("Main") for a in t.get("Associations", []))]
    for table in own or main:
        for route in table.get("Routes", []):
            if route.get("DestinationCidrBlock") != "0.0.0.0/0" or route.get("State") == "blackhole":
                continue
            if str(route.get("GatewayId", "")).startswith("igw-"):
                return "internet"
            if any(route.get(key) for key in ("NatGatewayId", "TransitGatewayId", "InstanceId", "NetworkInterfaceId")):
                return "nat"
    return None
