"""What must hold before a candidate is launched, asked of AWS one thing at a time. Nothing is started or changed.

Not covered: capacity (nobody can tell before asking for the box) and the vCPUs that are in use at the moment.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from yocobench.aws import boxes, identity, images, launch_plan, network, offerings, quotas, session
from yocobench.aws.ec2_settings import Ec2Settings
from yocobench.aws.identity import Identity
from yocobench.pricelist import PriceList
from yocobench.schema import ImageFamily, Instance, Protocol

DRY_RUN_OK = "DryRunOperation"
"""The error that says that the request would have been granted."""


Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Check:
    """One answer. `text` is for the table, `problem` for the person who has to mend it."""

    name: str
    text: str
    problem: str | None = None
    worst_usd: Decimal | None = None
    """One cell's worst case; only the check that prices it has one."""


@dataclass(frozen=True)
class Candidate:
    """A candidate's answers, in the order of the table's columns."""

    name: str
    checks: tuple[Check, ...]
    worst_usd: Decimal | None
    """One cell's worst case; null where it cannot be priced."""
    wasted: str = ""
    """Why it would not be started whatever AWS answers; empty: it would."""

    @property
    def problems(self) -> list[str]:
        """What stands in the way; empty: nothing that is known."""
        found = [check.problem for check in self.checks if check.problem]
        return [*found, self.wasted] if self.wasted else found


def _once(ask: Callable[[Key], Answer]) -> Callable[[Key], Answer]:
    """`ask`, but each question is put to AWS once: a refusal is remembered like an answer."""
    known: dict[Key, Answer | session.AwsError] = {}

    def asked(key: Key) -> Answer:
        if key not in known:
            try:
                known[key] = ask(key)
            except session.AwsError as error:
                known[key] = error
        found = known[key]
        if isinstance(found, session.AwsError):
            raise found
        return found

    return asked


class Checker:
    """Asks each thing once for the whole study: quotas by code, images by family, the network by region."""

    def __init__(self, settings: Ec2Settings, protocol: Protocol, prices: PriceList, who: Identity) -> None:
        self.settings, self.prices, self.who = settings, prices, who
        self.wall_clock_s = launch_plan.wall_clock_s(protocol, settings.setup_allowance_s)
        self.quota: Callable[[str], quotas.Quota] = _once(lambda code: quotas.applied(code, settings.region))
        self._image: Callable[[ImageFamily], images.Image] = _once(
            lambda family: images.resolve(family, settings.region)
        )
        self._zones: dict[str, tuple[str, ...]] = {}
        self._subnets: tuple[network.Subnet, ...] | None = None

    def check(self, names: list[str], instances: dict[str, Instance], now: dt.datetime) -> list[Candidate]:
        """Every candidate's checks. Raises AwsError where the first question, what is offered, is not answered."""
        self._zones = offerings.zones(names, self.settings.region)
        return [self._candidate(instances[name], now) for name in names]

    def _candidate(self, instance: Instance, now: dt.datetime) -> Candidate:
        zones = self._zones[instance.name]
        family = images.family(instance)
        worst_case = self._asked("worst case", lambda: self._affordable(instance, family, zones))
        checks = (
            self._credentials(now),
            self._offered(instance, zones),
            self._asked("quota", lambda: self._enough_quota(instance)),
            self._asked("image", lambda: self._has_image(family)),
            self._asked("network", lambda: self._has_network(zones)),
            worst_case,
            self._asked("dry run", lambda: self._dry_run(instance, family, zones)),
        )
        return Candidate(instance.name, checks, worst_case.worst_usd)

    def _asked(self, name: str, ask: Callable[[], Check]) -> Check:
        """The check, or what AWS or the configuration said instead."""
        try:
            return ask()
        except (session.AwsError, ValueError) as error:
            return Check(name, "no answer" if isinstance(error, session.AwsError) else "no", str(error))

    def _credentials(self, now: dt.datetime) -> Check:
        problem = identity.problem(self.who, self.wall_clock_s, now)
        return Check("credentials", "too short", problem) if problem else Check("credentials", "ok")

    def _offered(self, instance: Instance, zones: tuple[str, ...]) -> Check:
        region = self.settings.region
        if not zones:
            return Check("offered", "no", f"EC2 does not offer {instance.name} in {region} (its price says nothing)")
        usage = self.settings.usage_class
        if instance.offering is not None and usage not in instance.offering.usage_classes:
            return Check("offered", "no", f"{instance.name} is not sold {usage}: {instance.offering.source}")
        return Check("offered", " ".join(zone.removeprefix(region) for zone in zones))

    def _enough_quota(self, instance: Instance) -> Check:
        assert instance.hardware is not None
        code = quotas.code(instance, self.settings.usage_class)
        if code is None:
            where = (
                f"offering.quota_{self.settings.usage_class.replace('-', '_')} in conf/instance/{instance.name}.yaml"
            )
            return Check("quota", "unknown", f"the quota's code is not known: set {where}")
        quota, needed = self.quota(code), instance.hardware.vcpus
        text = f"{needed} of {quota.vcpus:g}"
        if needed <= quota.vcpus:
            return Check("quota", text)
        default = ", AWS's default" if quota.is_default else ""
        words = f"needs {needed} vCPUs of quota {code}, the account has {quota.vcpus:g}{default}: --request-quota"
        return Check("quota", text, words)

    def _has_image(self, family: ImageFamily) -> Check:
        return Check("image", f"{family} {self._image(family).ami_id}")

    def _places(self, zones: tuple[str, ...]) -> list[network.Subnet]:
        if self._subnets is None:
            every = tuple(sorted({zone for found in self._zones.values() for zone in found}))
            self._subnets = network.subnets(self.settings.region, every)
        return [subnet for subnet in self._subnets if subnet.zone in zones]

    def _has_network(self, zones: tuple[str, ...]) -> Check:
        if not zones:
            return Check("network", "-")
        places = self._places(zones)
        if places:
            return Check("network", f"{len(places)} of {len(zones)} zones")
        words = f"no subnet with a way out to the internet in {', '.join(zones)}: the box could not fetch its code"
        return Check("network", "none", words)

    def _affordable(self, instance: Instance, family: ImageFamily, zones: tuple[str, ...]) -> Check:
        settings = self.settings
        try:
            volume_gb = max(settings.volume_gb, self._image(family).root_gb or 0)
        except session.AwsError:  # said by the image's own check
            volume_gb = settings.volume_gb
        public = all(subnet.is_public for subnet in self._places(zones)[:1])
        rates = [
            launch_plan.hourly_usd(self.prices, instance, settings.region, usage, volume_gb, public)
            for usage in {settings.usage_class, "on-demand"}  # spot costs at most the on-demand price
        ]
        usd = launch_plan.worst_case_usd(max(rates), self.wall_clock_s)
        over = f"one cell costs {usd} USD at worst, over the cap of {settings.max_usd} USD: --max-usd raises it"
        return Check("worst case", f"{usd} USD", over if usd > settings.max_usd else None, usd)

    def _dry_run(self, instance: Instance, family: ImageFamily, zones: tuple[str, ...]) -> Check:
        """Ask for the box with DryRun: AWS answers whether it would have granted the request."""
        places = self._places(zones)
        if not places:
            return Check("dry run", "-")
        try:
            image = self._image(family)
        except session.AwsError:
            return Check("dry run", "-")
        request = self._request(instance, image, places[0].subnet_id)
        ec2 = session.client("ec2", self.settings.region)
        with session.asking(f"launch {instance.name} (dry run)"):
            try:
                ec2.run_instances(DryRun=True, **request)
            except ec2.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != DRY_RUN_OK:
                    raise
        return Check("dry run", "ok")

    def _request(self, instance: Instance, image: images.Image, subnet_id: str) -> dict[str, Any]:
        """What docs/iam-policy.json looks at: type, image, subnet and the tags of all that is made."""
        request: dict[str, Any] = {
            "ImageId": image.ami_id,
            "InstanceType": instance.name,
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": subnet_id,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        }
        if self.settings.usage_class == "spot":
            request["InstanceMarketOptions"] = {"MarketType": "spot"}
        return {**request, **boxes.tagged({"project": boxes.PROJECT}, self.settings.usage_class)}
