"""Seconds and dollars of a job on one candidate. Money stays Decimal until the last division.

Sources: EC2 bills Linux per second with a minimum of one minute per start (StartInstances, EC2 API reference);
EBS gp3 is billed per GB-month of 730 hours (EBS pricing); a public IPv4 address by the hour, in use or not (VPC
pricing); burstable types pay surplus CPU credits per vCPU-hour above their baseline in unlimited mode (EC2 user guide,
burstable performance instances).
"""

from __future__ import annotations

from decimal import Decimal

from yocobench.pricelist import HOURS_PER_MONTH, MIN_BILLED_S
from yocobench.selection.model import Candidate, Terms


def storage_usd_per_hour(volume_gib: float, usd_per_gib_month: Decimal) -> Decimal:
    """Price of the EBS volume by the hour."""
    return exact(volume_gib) * usd_per_gib_month / HOURS_PER_MONTH


def burst_surcharge_usd_per_hour(
    baseline_utilization: float | None, vcpus: int, surplus_usd_per_vcpu_hour: Decimal
) -> Decimal | None:
    """Surplus credits of a burstable type whose every vCPU is busy; null where its baseline is unknown."""
    if baseline_utilization is None:
        return None
    return (1 - exact(baseline_utilization)) * vcpus * surplus_usd_per_vcpu_hour


def exact(number: float) -> Decimal:
    """The decimal number that the float prints as."""
    return Decimal(repr(float(number)))


def time_factor(candidate: Candidate, terms: Terms) -> float:
    """By how much interruptions stretch the training: 1 except on spot."""
    is_spot = candidate.price is not None and candidate.price.usage_class == "spot"
    return 1.0 + terms.interruption_overhead if is_spot else 1.0


def seconds_per_sample(candidate: Candidate, terms: Terms) -> float:
    """Steady part of the job, per sample, at the median rate."""
    assert candidate.rate is not None
    return time_factor(candidate, terms) / candidate.rate.samples_per_second


def extras_usd_per_hour(candidate: Candidate) -> Decimal:
    """What is paid by the hour on top of the instance's price: storage, address, surplus credits (0 where unknown)."""
    parts = (
        candidate.storage_usd_per_hour,
        candidate.public_ipv4_usd_per_hour,
        candidate.burst_surcharge_usd_per_hour,
    )
    return sum((part for part in parts if part is not None), Decimal(0))


def usd_per_hour(candidate: Candidate) -> Decimal | None:
    """Everything that is paid by the hour; null without a price."""
    return None if candidate.price is None else candidate.price.usd_per_hour + extras_usd_per_hour(candidate)


def billed_s(total_s: float) -> float:
    """Seconds on the bill. Fractions of a second are kept: they are far below a cent."""
    return max(MIN_BILLED_S, total_s)


def cost_usd(total_s: float, hourly_usd: Decimal) -> Decimal:
    """Bill for one start that lasts `total_s`."""
    return exact(billed_s(total_s)) * hourly_usd / 3600
