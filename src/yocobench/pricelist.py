"""The dated price snapshot (data/prices.json): what each type costs, read, checked, merged and written.

Money is Decimal, from strings. Every price has its region, usage class, source and date. Not covered: fetching live
prices (aws/prices.py, stage prices.py), and what a run costs (selection/).
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError

from yocobench import nearest
from yocobench.files import write_atomic
from yocobench.schema import Frozen, Name, Sourced, Study, UsageClass

SCHEMA: Final = "yocobench.prices/2"
OLDER = ("yocobench.prices/1",)
"""Schemas that are read as they are: what they lack is optional."""
SNAPSHOT = Path("data/prices.json")
HOURS_PER_YEAR = 8760
HOURS_PER_MONTH = 730
"""As AWS turns a GB-month into hours (EBS pricing)."""
MIN_BILLED_S = 60.0
"""EC2 bills by the second, at least a minute a start (RunInstances and StartInstances, EC2 API reference)."""


def _text(value: Any) -> Any:
    if not isinstance(value, str | Decimal):
        raise ValueError('write money as a string, such as "0.526": a float would round it')
    return value


MOST_USD = 10**8
"""More than any promise costs: far beyond it a bill to the cent has too many digits."""

Usd = Annotated[Decimal, BeforeValidator(_text), Field(gt=0, le=MOST_USD)]
UsdOrNothing = Annotated[Decimal, BeforeValidator(_text), Field(ge=0, le=MOST_USD)]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]


class Coded(Sourced):
    """Where exactly the Price List API states a price; null for a price from elsewhere."""

    sku: str | None = None
    rate_code: str | None = None
    effective_date: str | None = None
    """Since when AWS asks this price."""
    publication_date: str | None = None
    """When AWS published the list."""


class Band(Frozen):
    """Where a spot price was over the last days, weighted by how long it stood."""

    days: Annotated[int, Field(gt=0)]
    p5_usd_per_hour: Usd
    median_usd_per_hour: Usd
    p95_usd_per_hour: Usd


class Price(Coded):
    """One type's hourly price: Linux, shared tenancy. A price is not an offer: retired types keep theirs."""

    instance_type: Name
    region: Region
    zone: str | None = None
    """Availability zone, for spot; null for on-demand, which is the same in the whole region."""
    usage_class: UsageClass
    price_usd_per_hour: Usd
    band: Band | None = None


class Commitment(Coded):
    """A price for a promise of one or three years: a reserved instance or a Savings Plan. For steady use only."""

    instance_type: Name
    region: Region
    kind: Literal["reserved", "savings-plan"]
    plan: str
    """Offering class (standard, convertible) or plan type (Compute, EC2Instance)."""
    years: Annotated[int, Field(gt=0)]
    payment: Literal["No Upfront", "Partial Upfront", "All Upfront"]
    price_usd_per_hour: UsdOrNothing
    upfront_usd: UsdOrNothing

    @property
    def total_usd(self) -> Decimal:
        """What the promise costs in all, used or not."""
        return self.upfront_usd + self.price_usd_per_hour * self.years * HOURS_PER_YEAR

    @property
    def words(self) -> str:
        """As in "1 year, standard, No Upfront"."""
        return f"{self.years} year{'s' if self.years > 1 else ''}, {self.plan}, {self.payment}"


class Offer(Sourced):
    """Zones in which EC2 offers the type; none: not offered in the region."""

    instance_type: Name
    region: Region
    zones: tuple[str, ...]


class StoragePrice(Coded):
    """One volume kind's price. gp3 includes 3000 IOPS and 125 MiB/s; what is above them costs extra."""

    kind: Name
    region: Region
    price_usd_per_gb_month: Usd
    price_usd_per_iops_month: Usd | None = None
    price_usd_per_mib_s_month: Usd | None = None


class AddressPrice(Sourced):
    """A public IPv4 address, in every region."""

    price_usd_per_hour: Usd


class PriceList(Frozen):
    """data/prices.json. `as_of` is the age of its oldest price."""

    schema_name: Literal["yocobench.prices/2", "yocobench.prices/1"] = Field(alias="schema")
    as_of: dt.date
    currency: Literal["USD"]
    prices: Annotated[tuple[Price, ...], Field(min_length=1)]
    storage: tuple[StoragePrice, ...]
    public_ipv4: AddressPrice | None
    offers: tuple[Offer, ...] = ()
    commitments: tuple[Commitment, ...] = ()

    def find(self, instance_type: str, region: str, usage_class: UsageClass) -> Price | None:
        """The price, or None where the snapshot has none; of several zones (spot), the cheapest.

        Raises ValueError as `check_region` does.
        """
        found = self._all(instance_type, region, usage_class)
        return min(found, key=lambda price: price.price_usd_per_hour, default=None)

    def in_zone(self, instance_type: str, region: str, usage_class: UsageClass, zone: str) -> Price | None:
        """The price in that zone; where the snapshot has none of it, the dearest of the region, None without any."""
        found = self._all(instance_type, region, usage_class)
        there = [price for price in found if price.zone in (zone, None)]
        return max(there or found, key=lambda price: price.price_usd_per_hour, default=None)

    def _all(self, instance_type: str, region: str, usage_class: UsageClass) -> list[Price]:
        self.check_region(region)
        key = (instance_type, region, usage_class)
        return [price for price in self.prices if (price.instance_type, price.region, price.usage_class) == key]

    def check_region(self, region: str) -> None:
        """Raise ValueError for a region of which the snapshot knows nothing: rather a typing mistake than a gap."""
        if unknown := self.unknown_region(region):
            raise ValueError(
                f"{unknown}. Set `region` in params.yaml, or fetch its prices: "
                f"python -m yocobench.prices region={region}"
            )

    def unknown_region(self, region: str) -> str:
        """That the snapshot knows nothing of the region, and what it knows; empty: it does."""
        known = sorted({price.region for price in self.prices})
        if region in known:
            return ""
        return f"region {region!r} has no price in the snapshot of {self.as_of}{nearest.among(region, known)}"

    def commitment(self, instance_type: str, region: str, kind: str) -> Commitment | None:
        """Of the promises of that kind, the one that costs least in all; None where the snapshot has none."""
        key = (instance_type, region, kind)
        found = [one for one in self.commitments if (one.instance_type, one.region, one.kind) == key]
        return min(found, key=lambda one: one.total_usd, default=None)

    def offer(self, instance_type: str, region: str) -> Offer | None:
        """Where the type was offered when it was last asked; None: never asked."""
        return next((o for o in self.offers if (o.instance_type, o.region) == (instance_type, region)), None)

    @property
    def address_usd_per_hour(self) -> Decimal | None:
        """Of a public IPv4 address; None where the snapshot has no such price."""
        return self.public_ipv4.price_usd_per_hour if self.public_ipv4 else None

    def of_study(self, study: Study) -> list[Price]:
        """Prices of the study's candidates and its baseline, in its region and usage class, the oldest first."""
        names, asked = {*study.instances, study.baseline}, (study.region, study.usage_class)
        found = [p for p in self.prices if p.instance_type in names and (p.region, p.usage_class) == asked]
        return sorted(found, key=lambda price: (price.as_of, price.instance_type))

    def stale(self, study: Study, today: dt.date) -> list[Price]:
        """Those of them that are older than the study's limit: what it does not ask about may be as old as it likes."""
        limit = study.price_stale_after_days.days(study.usage_class)
        return [price for price in self.of_study(study) if (today - price.as_of).days > limit]


def load(path: Path) -> PriceList:
    """The snapshot, validated. Raises ValueError with every error in it, each with its place; OSError if unreadable."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(path, [f"is not JSON: {error}"]) from None
    except ValueError as error:
        raise _bad(path, [str(error)]) from None
    if not isinstance(raw, dict) or raw.get("schema") not in (SCHEMA, *OLDER):
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise _bad(path, [f"schema: {found!r} is not known. Known: {', '.join((*OLDER, SCHEMA))}"])
    try:
        prices = PriceList.model_validate(raw)
    except ValidationError as error:
        raise _bad(path, [_explain(item) for item in error.errors()]) from None
    problems = _duplicates(prices) + _older(prices)
    if problems:
        raise _bad(path, problems)
    return prices


def age(prices: PriceList, study: Study, today: dt.date) -> str:
    """How old the prices are that the study is decided by, in words: for the report and the stage."""
    rows, stale = prices.of_study(study), prices.stale(study, today)
    what = f"{study.usage_class} prices in {study.region}"
    if not rows:
        text = f"none of the study's {what} is known"
    else:
        text = f"oldest price of {rows[0].as_of}, {(today - rows[0].as_of).days} days old on {today}"
    if stale:
        limit = study.price_stale_after_days.days(study.usage_class)
        text += f"; stale: {len(stale)} of the study's {len(rows)} {what} are over {limit} days old"
    if ahead := sum(price.as_of > today for price in prices.prices):
        text += f"; {ahead} price(s) are dated after today: correct {SNAPSHOT}, or this machine's clock"
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raise ValueError for a key that stands twice in one row: JSON would take the later one without a word."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            said = ", ".join(repr(value) for known, value in pairs if known == name)
            raise ValueError(f"{name}: given {count} times in one row ({said}); keep one")
    return dict(pairs)


def write(prices: PriceList, path: Path) -> None:
    """Write it sorted, one value a line, without what is null: two snapshots can be compared by `git diff`."""
    raw = prices.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["schema"] = SCHEMA
    raw.setdefault("public_ipv4", None)
    for part in ("prices", "storage", "offers", "commitments"):
        raw[part] = [_origin_last(row) for row in raw[part]]
    raw["prices"].sort(key=lambda r: (r["instance_type"], r["region"], r["usage_class"], r.get("zone", "")))
    raw["storage"].sort(key=lambda r: (r["kind"], r["region"]))
    raw["offers"].sort(key=lambda r: (r["instance_type"], r["region"]))
    raw["commitments"].sort(
        key=lambda r: (r["instance_type"], r["region"], r["kind"], r["plan"], r["years"], r["payment"])
    )
    write_atomic(path, json.dumps(raw, indent=2) + "\n")


def _origin_last(row: dict[str, Any]) -> dict[str, Any]:
    """What and how much first, then where it comes from."""
    origin = {name: row[name] for name in Coded.model_fields if name in row}
    return {name: value for name, value in row.items() if name not in origin} | origin


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
