"""What one launch will be and the most that it can cost, worked out and shown before anything starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal

from yocobench.pricelist import HOURS_PER_MONTH, MIN_BILLED_S, PriceList
from yocobench.schema import Instance, Protocol, UsageClass
from yocobench.selection.cost import burst_surcharge_usd_per_hour

END_ALLOWANCE_S = 600
"""From the wall clock's end to the box's: boot before the timer is set, power-off after it."""


@dataclass(frozen=True)
class LaunchPlan:
    """Everything that RunInstances needs, and the bill."""

    label: str
    instance_type: str
    region: str
    bucket: str
    usage_class: UsageClass
    family: str
    """Of the image: cpu-x86_64, cpu-arm64, cuda or neuron."""
    zones: tuple[tuple[str, str], ...]
    """(zone, subnet) in the order in which they are tried."""
    security_group_id: str
    public_address: bool
    image_id: str
    image_name: str
    image_python: str | None
    """Interpreter with the image's own framework; null: a new environment is made."""
    root_device_name: str
    volume_gb: int
    wall_clock_s: int
    usd_per_hour: Decimal
    """Instance at its class's price, volume, address, surplus CPU credits; in the dearest of the zones, where they
    differ (spot)."""
    worst_usd: Decimal
    zone_usd_per_hour: dict[str, Decimal] = field(default_factory=dict)
    """The same by zone: what a box that starts there is billed."""
    surplus_usd_per_hour: Decimal = Decimal(0)
    """The part of it that is a burstable type's surplus CPU credits, all vCPUs busy."""

    def text(self) -> str:
        """The plan for a person."""
        zones = " ".join(zone.removeprefix(self.region) for zone, _ in self.zones)
        surplus = self.surplus_usd_per_hour
        credit = f", {surplus:.4f} of it for surplus CPU credits" if surplus else ""
        return (
            f"{self.label}: {self.instance_type} {self.usage_class} in {self.region}, zones {zones}\n"
            f"  image {self.image_id} ({self.image_name}), {self.volume_gb} GB encrypted gp3, no key, no ingress\n"
            f"  {self.usd_per_hour:.4f} USD/h with volume and address{credit}, at most "
            f"{self.wall_clock_s / 60:.0f} min and then off: worst case {self.worst_usd:.2f} USD"
        )


def wall_clock_s(protocol: Protocol, setup_allowance_s: float) -> int:
    """The guest's own limit, in whole minutes: set-up, then every repeat to its timeout."""
    return 60 * math.ceil((setup_allowance_s + protocol.repeats * protocol.timeout_s) / 60)


def surplus_usd_per_hour(instance: Instance) -> Decimal:
    """The most that a burstable type's CPU credits add: EC2 starts it in unlimited mode, and training keeps it busy.

    Of an unknown baseline every vCPU-hour counts as surplus.
    """
    if instance.burst is None:
        return Decimal(0)
    assert instance.hardware is not None
    baseline, rate = instance.burst.baseline_utilization, instance.burst.surplus_usd_per_vcpu_hour
    return burst_surcharge_usd_per_hour(baseline or 0.0, instance.hardware.vcpus, rate) or Decimal(0)


def hourly_usd(
    prices: PriceList,
    instance: Instance,
    region: str,
    usage_class: UsageClass,
    volume_gb: int,
    public_address: bool,
    zone: str | None = None,
) -> Decimal:
    """Price of one hour of the box: instance, volume, address, surplus credits. `zone`: null for the cheapest one.

    Raises ValueError where the snapshot lacks a price: a box of unknown price is not started.
    """
    wanted = (instance.name, region, usage_class)
    price = prices.find(*wanted) if zone is None else prices.in_zone(*wanted, zone)
    volume = next((s for s in prices.storage if s.kind == "gp3" and s.region == region), None)
    missing = [f"{instance.name} {usage_class}"] if price is None else []
    missing += [] if volume is not None else ["gp3 storage"]
    if price is None or volume is None:
        raise ValueError(
            f"data/prices.json has no price for {' and '.join(missing)} in {region}; nothing of unknown price is "
            "started. `python -m yocobench.prices` fetches them"
        )
    address = (prices.address_usd_per_hour if public_address else None) or Decimal(0)
    storage = volume.price_usd_per_gb_month * volume_gb / HOURS_PER_MONTH
    return price.price_usd_per_hour + storage + address + surplus_usd_per_hour(instance)


def worst_case_usd(usd_per_hour: Decimal, wall_clock: float) -> Decimal:
    """The bill if nothing but the guest's own timer ends the box, rounded up to the cent."""
    exact = usd_per_hour * Decimal(wall_clock + END_ALLOWANCE_S) / 3600
    return exact.quantize(Decimal("0.01"), rounding="ROUND_CEILING")


def bill(usd_per_hour: Decimal, lived_s: float) -> tuple[float, Decimal]:
    """(billed seconds, USD) of a box that lived so long."""
    billed_s = max(MIN_BILLED_S, lived_s)
    return billed_s, (usd_per_hour * Decimal(billed_s) / 3600).quantize(Decimal("0.000001"))
