"""vCPU quotas: how many vCPUs of a family of types an account may run at once in a region.

The code is a fact of the instance type (conf/instance, offering.quota_on_demand and quota_spot): Trainium and
Inferentia have their own, and none of them is the Standard one. Not covered: how many are in use at the moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from yocobench.aws import session
from yocobench.schema import Instance, UsageClass


@dataclass(frozen=True)
class Quota:
    """A limit and where it comes from."""

    code: str
    vcpus: float
    is_default: bool
    """AWS's default for new accounts: the account's own value was never changed."""


def code(instance: Instance, usage_class: UsageClass) -> str | None:
    """The quota's code; null where the catalogue does not know it."""
    if instance.offering is None:
        return None
    return instance.offering.quota_spot if usage_class == "spot" else instance.offering.quota_on_demand


def applied(code: str, region: str) -> Quota:
    """The account's limit, or AWS's default where the account has none of its own. Raises AwsError."""
    quotas = session.client("service-quotas", region)
    with session.asking(f"read quota {code} in {region}"):
        try:
            found, is_default = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code), False
        except quotas.exceptions.NoSuchResourceException:
            found, is_default = quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code), True
        return Quota(code, float(found["Quota"]["Value"]), is_default)


def request_command(code: str, region: str, vcpus: int) -> str:
    """The command that asks AWS for a limit of so many vCPUs: a person runs it, the answer takes hours to days."""
    return (
        f"aws service-quotas request-service-quota-increase --region {region} --service-code ec2 "
        f"--quota-code {code} --desired-value {vcpus}"
    )
