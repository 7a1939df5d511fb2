"""The dated price snapshot (data/prices.json): what each type costs, read and checked.

Money is Decimal, from strings. Every price has its region, usage class, source and date. Not covered: fetching live
prices, and what a run costs (selection/).
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from yocobench.schema import Frozen, Name, Sourced, UsageClass

SNAPSHOT = Path("data/prices.json")
SCHEMA = "yocobench.prices/1"


def _text(value: Any) -> Any:
    if not isinstance(value, str | Decimal):
        raise ValueError('write money as a string, such as "0.526": a float would round it')
    return value


Usd = Annotated[Decimal, BeforeValidator(_text), Field(gt=0)]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]


class Price(Sourced):
    """One type's hourly price: Linux, shared tenancy. A price is not an offer: retired types keep theirs."""

    instance_type: Name
    region: Region
    zone: str | None
    """Availability zone, for spot; null for on-demand, which is the same in the whole region."""
    usage_class: UsageClass
    price_usd_per_hour: Usd


class StoragePrice(Sourced):
    """One volume kind's price, without extra IOPS or throughput."""

    kind: Name
    region: Region
    price_usd_per_gb_month: Usd


class AddressPrice(Sourced):
    """A public IPv4 address, in every region."""

    price_usd_per_hour: Usd


class PriceList(Frozen):
    """data/prices.json. `as_of` is the age of its oldest price."""

    schema_name: Literal["yocobench.prices/1"] = Field(alias="schema")
    as_of: dt.date
    currency: Literal["USD"]
    prices: Annotated[tuple[Price, ...], Field(min_length=1)]
    storage: tuple[StoragePrice, ...]
    public_ipv4: AddressPrice | None

    def find(self, instance_type: str, region: str, usage_class: UsageClass) -> Price | None:
        """The price, or None where the snapshot has none; of several zones (spot), the cheapest.

        Raises ValueError for a region of which the snapshot knows nothing: rather a typing mistake than a gap.
        """
        known = sorted({price.region for price in self.prices})
        if region not in known:
            near = difflib.get_close_matches(region, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(
                f"region {region!r} has no price in the snapshot of {self.as_of}{hint} Known: {', '.join(known)}. "
                "Set `region` in params.yaml, or add the region's prices to data/prices.json"
            )
        key = (instance_type, region, usage_class)
        found = [price for price in self.prices if (price.instance_type, price.region, price.usage_class) == key]
        return min(found, key=lambda price: price.price_usd_per_hour, default=None)

    def age_days(self, today: dt.date) -> int:
        """Days since the oldest price was read."""
        return (today - self.as_of).days


def load(path: Path) -> PriceList:
    """The snapshot, validated. Raises ValueError with every error in it, each with its place; OSError if unreadable."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _bad(path, [f"is not JSON: {error}"]) from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise _bad(path, [f"schema: {found!r} is not known. Known: {SCHEMA}"])
    try:
        prices = PriceList.model_validate(raw)
    except ValidationError as error:
        raise _bad(path, [_explain(item) for item in error.errors()]) from None
    problems = _duplicates(prices) + _older(prices)
    if problems:
        raise _bad(path, problems)
    return prices


def _bad(path: Path, problems: list[str]) -> ValueError:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return ValueError(
        f"{path}: {len(problems)} error(s)\n{lines}\n  `git checkout {path}` brings the recorded prices back"
    )


def _explain(item: Any) -> str:
    """One pydantic error as `place: what (value)`."""
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown key (money keys carry their unit: price_usd_per_hour, price_usd_per_gb_month)"
    if item["type"] == "missing":
        return f"{place}: is missing"
    return f"{place}: {item['msg']} (got {item['input']!r})"


def _duplicates(prices: PriceList) -> list[str]:
    rows = Counter((row.instance_type, row.region, row.zone, row.usage_class) for row in prices.prices)
    return [
        f"prices: {count} rows for {' '.join(part for part in row if part)}; keep one"
        for row, count in rows.items()
        if count > 1
    ]


def _older(prices: PriceList) -> list[str]:
    return [
        f"prices.{number}.as_of: {row.as_of} is before the list's as_of {prices.as_of}, the date of its oldest price"
        for number, row in enumerate(prices.prices)
        if row.as_of < prices.as_of
    ]
