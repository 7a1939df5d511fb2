"""Stage `prices`: fetch live prices into the snapshot data/prices.json. Rows that AWS does not answer keep their date.

    python -m yocobench.prices                       # the study's types in the study's region
    python -m yocobench.prices region=eu-central-1   # add another region

Without credentials or network the snapshot stays as it is, and the command says so; that is no error, since the
decision states the age of its prices. The snapshot's format is in pricelist.py.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from yocobench import config, pricelist
from yocobench.pricelist import SNAPSHOT, Commitment, Offer, Price, PriceList, StoragePrice
from yocobench.schema import Config, UsageClass

Answer = TypeVar("Answer")


@dataclass
class Found:
    """What AWS answered, and in words what it did not. `spot` null: not answered, so what is old stays."""

    prices: list[Price] = field(default_factory=list)
    spot: list[Price] | None = None
    offers: list[Offer] = field(default_factory=list)
    storage: list[StoragePrice] = field(default_factory=list)
    commitments: list[Commitment] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def fetch(instance_types: list[str], region: str, now: dt.datetime) -> Found:
    """Ask AWS for everything. Raises NoCredentials and Unreachable: then nothing else would answer either."""
    from yocobench.aws import offerings, prices, session

    found, today = Found(), now.date()

    def tried(what: str, ask: Callable[[], Answer]) -> Answer | None:
        try:
            return ask()
        except (session.NoCredentials, session.Unreachable):
            raise
        except session.AwsError as error:
            found.problems.append(f"{what}: {error}")
            return None

    zones = tried(f"offers in {region}", partial(offerings.zones, instance_types, region))
    for name, places in (zones or {}).items():
        source = "EC2 DescribeInstanceTypeOfferings"
        found.offers.append(Offer(instance_type=name, region=region, zones=places, source=source, as_of=today))
    for name in instance_types:
        priced = tried(f"{name} on-demand", partial(prices.instance, name, region, today))
        if priced is not None:
            found.prices.append(priced[0])
            found.commitments += priced[1]
        found.commitments += tried(f"{name} Savings Plans", partial(prices.savings_plans, name, region, today)) or []
    found.spot = tried(f"spot in {region}", partial(prices.spot, instance_types, region, now))
    volume = tried(f"gp3 in {region}", partial(prices.gp3, region, today))
    found.storage += [volume] if volume is not None else []
    return found


def merge(old: PriceList | None, found: Found, instance_types: list[str], region: str) -> PriceList | None:
    """The old snapshot with what was found in place of what it had; null when there is no price at all.

    `instance_types` and `region`: what was asked. A type without a row in an answer on spot is not sold on spot there.
    """
    fresh = [*found.prices, *(found.spot or [])]
    answered: set[tuple[str, str, UsageClass]] = {(p.instance_type, p.region, p.usage_class) for p in found.prices}
    if found.spot is not None:
        answered |= {(name, region, "spot") for name in instance_types}
    kept = [p for p in (old.prices if old else ()) if (p.instance_type, p.region, p.usage_class) not in answered]
    rows = [*kept, *fresh]
    if not rows:
        return None
    offered = {(offer.instance_type, offer.region) for offer in found.offers}
    stored = {(volume.kind, volume.region) for volume in found.storage}
    promised = {(one.instance_type, one.region, one.kind) for one in found.commitments}
    return PriceList(
        schema=pricelist.SCHEMA,
        as_of=min(price.as_of for price in rows),
        currency="USD",
        prices=tuple(rows),
        storage=(*(s for s in (old.storage if old else ()) if (s.kind, s.region) not in stored), *found.storage),
        public_ipv4=old.public_ipv4 if old else None,
        offers=(
            *(o for o in (old.offers if old else ()) if (o.instance_type, o.region) not in offered),
            *found.offers,
        ),
        commitments=(
            *(c for c in (old.commitments if old else ()) if (c.instance_type, c.region, c.kind) not in promised),
            *found.commitments,
        ),
    )


def summary(found: Found, old: PriceList | None, instance_types: list[str], region: str) -> list[str]:
    """What was found, line by line, and for each type without a new price which old one stands."""
    lines = [
        f"{len(found.prices)} of {len(instance_types)} on-demand prices read in {region}, "
        f"{len(found.spot or [])} spot prices by zone, {len(found.commitments)} prices of commitments"
    ]
    nowhere = [offer.instance_type for offer in found.offers if not offer.zones]
    if nowhere:
        lines.append(f"not offered in {region}, whatever the price list says: {', '.join(nowhere)}")
    answered = {price.instance_type for price in found.prices}
    for name in instance_types:
        if name not in answered:
            rows = old.prices if old else ()
            kept = next((p for p in rows if (p.instance_type, p.region, p.zone) == (name, region, None)), None)
            stands = f"kept {kept.price_usd_per_hour} USD/h of {kept.as_of}" if kept else "no price"
            lines.append(f"{name} in {region}: not read, {stands}")
    return lines


def main(cfg: Config) -> None:
    """Refresh the snapshot as far as AWS answers."""
    from yocobench.aws import session

    path, now = config.root() / SNAPSHOT, dt.datetime.now(dt.UTC).replace(microsecond=0)
    old = pricelist.load(path) if path.exists() else None
    instances = config.instances(dict.fromkeys((*cfg.instances, cfg.baseline)))
    names = [instance.name for instance in instances if not instance.detect]
    try:
        found = fetch(names, cfg.region, now)
    except (session.NoCredentials, session.Unreachable) as error:
        if old is None:
            raise ValueError(f"{error}; and there is no {SNAPSHOT}: `git checkout {SNAPSHOT}`") from None
        if unknown := old.unknown_region(cfg.region):  # else `compare` says so, after everything was measured
            raise ValueError(f"{unknown}. AWS did not give its prices either: {error}") from None
        known = pricelist.age(old, cfg, now.date())
        print(f"{SNAPSHOT} stays as it is, {known}: {error}")
        return
    for problem in found.problems:
        print(f"not read: {problem}", file=sys.stderr)
    merged = merge(old, found, names, cfg.region)
    if merged is None:
        raise ValueError(f"AWS stated no price at all in {cfg.region}, and there is no {SNAPSHOT} to keep")
    pricelist.write(merged, path)
    print("\n".join(summary(found, old, names, cfg.region)))
    print(f"{SNAPSHOT}: {pricelist.age(merged, cfg, now.date())}")


if __name__ == "__main__":
    config.stage(main)()
