"""Ask AWS what a launch needs (image, zones, network) and price it. Nothing is started or changed but one empty
security group.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

from yocobench import pricelist
from yocobench.aws import identity, images, launch_plan, mailbox, network, offerings, security_group
from yocobench.aws.ec2_settings import Ec2Settings
from yocobench.aws.launch_plan import LaunchPlan
from yocobench.bench.measurement import Outcome
from yocobench.schema import CellSpec, Instance, UsageClass


class NotPossible(Exception):
    """This cell cannot be launched now; `outcome` says what that is."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


def make(spec: CellSpec, instance: Instance, root: Path, settings: Ec2Settings) -> LaunchPlan:
    """The plan. Raises NotPossible; ValueError, AwsError for what the user must mend: bucket, network, credentials."""
    region = settings.region
    limit_s = launch_plan.wall_clock_s(spec.protocol, settings.setup_allowance_s)
    bucket = _bucket(settings, limit_s)
    subnets = _subnets(instance, region)
    family = images.family(instance)
    try:
        image = images.resolve(family, region)
    except images.ImageGone as error:
        raise NotPossible("unavailable", str(error)) from error
    public = subnets[0].is_public
    volume_gb = max(settings.volume_gb, image.root_gb or 0)
    snapshot = pricelist.load(root / pricelist.SNAPSHOT)

    def hourly(usage_class: UsageClass, zone: str) -> Decimal:
        return launch_plan.hourly_usd(snapshot, instance, region, usage_class, volume_gb, public, zone)

    zones = tuple((subnet.zone, subnet.subnet_id) for subnet in subnets if subnet.is_public == public)
    by_zone = {zone: hourly(settings.usage_class, zone) for zone, _ in zones}
    usd_per_hour = max(by_zone.values())
    return LaunchPlan(
        label=spec.label,
        instance_type=instance.name,
        region=region,
        bucket=bucket,
        usage_class=settings.usage_class,
        family=family,
        zones=zones,
        security_group_id=security_group.ensure(subnets[0].vpc_id, region),
        public_address=public,
        image_id=image.ami_id,
        image_name=image.name or image.path,
        image_python=image.python,
        root_device_name=image.root_device_name,
        volume_gb=volume_gb,
        wall_clock_s=limit_s,
        usd_per_hour=usd_per_hour,
        # Spot costs at most the on-demand price: no other maximum is set.
        worst_usd=launch_plan.worst_case_usd(max(usd_per_hour, hourly("on-demand", zones[0][0])), limit_s),
        zone_usd_per_hour=by_zone,
        surplus_usd_per_hour=launch_plan.surplus_usd_per_hour(instance),
    )


def _bucket(settings: Ec2Settings, limit_s: int) -> str:
    """The bucket, if it and the credentials will do for a box of that wall clock. Raises ValueError, AwsError."""
    region = settings.region
    if settings.bucket is None:
        raise ValueError(
            f"conf/launcher/ec2.yaml: bucket is null: name an S3 bucket of yours in {region}, or make one: "
            f"`aws s3 mb s3://NAME --region {region}`"
        )
    who = identity.whoami(region, identity.needed_s(limit_s))
    if problem := identity.problem(who, limit_s, dt.datetime.now(dt.UTC)):
        raise ValueError(problem)
    if problem := mailbox.bucket_problem(settings.bucket, region):
        raise ValueError(problem)
    return settings.bucket


def _subnets(instance: Instance, region: str) -> tuple[network.Subnet, ...]:
    """Where a box of that type can be put, the best place first. Raises NotPossible, ValueError, AwsError."""
    offered = offerings.zones([instance.name], region)[instance.name]
    if not offered:
        raise NotPossible("excluded", f"{region} does not offer {instance.name}")
    found = network.subnets(region, offered)
    if not found:
        raise ValueError(
            f"{instance.name} is offered in {', '.join(offered)}; the default VPC has no subnet with a way out there"
        )
    return found
