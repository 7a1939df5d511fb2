"""Candidates with round numbers, for the tests of selection."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from yocobench.schema import Restrict
from yocobench.selection.model import Candidate, OneOff, Price, Rate, Terms

DAY = dt.date(2026, 7, 20)
INSTANT = OneOff(total_s=0, low_s=0, high_s=0)


def price(usd_per_hour: str, usage_class: Any = "on-demand") -> Price:
    return Price(
        usd_per_hour=Decimal(usd_per_hour), region="us-east-1", usage_class=usage_class, as_of=DAY, source="price list"
    )


def rate(per_second: float, spread: float = 1.0, source: Any = "measured") -> Rate:
    return Rate(
        samples_per_second=per_second,
        low_samples_per_second=per_second / spread,
        high_samples_per_second=per_second * spread,
        source=source,
    )


def candidate(
    instance: str,
    per_second: float,
    usd_per_hour: str | None,
    spread: float = 1.0,
    source: Any = "measured",
    **more: Any,
) -> Candidate:
    fields: dict[str, Any] = {
        "instance": instance,
        "workload": "yoco-det",
        "subset": "smoke",
        "status": "measured" if source in ("measured", "replayed") else "estimated",
        "rate": rate(per_second, spread, source),
        "one_off": INSTANT,
        "price": None if usd_per_hour is None else price(usd_per_hour),
        "storage_usd_per_hour": Decimal(0),
        "is_cpu_only": False,
        "can_be_chosen": True,
        "measure_bill_usd": Decimal("0.10"),
        "cell_key": None,
    }
    return Candidate(**(fields | more))


def without_number(instance: str, status: Any, reason: str, **more: Any) -> Candidate:
    given = {"status": status, "reason": reason, "rate": None} | more
    return candidate(instance, 1, "1", **given)


def terms(**more: Any) -> Terms:
    fields: dict[str, Any] = {
        "job_samples": 3_600_000,
        "sample_unit": "image",
        "deadline_h": None,
        "budget_usd": None,
        "objective": "cheapest",
        "restrict": Restrict(),
        "baseline": "slow",
        "usage_class": "on-demand",
    }
    return Terms(**(fields | more))
