"""The job's bill under each way to pay: on-demand, spot, reserved, Savings Plan. Part of results/decision.json."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from yocobench.selection import cost, score
from yocobench.selection.described import Described
from yocobench.selection.model import PaidBy, Tariff, Terms
from yocobench.selection.objectives import Objective
from yocobench.selection.score import Scored

CENT = Decimal("0.000001")
"""Money is written to a millionth of a dollar."""


class Bill(Described):
    """The job's bill under one way to pay. Its interval holds 90 %."""

    hours: float
    """Wall time of the job; longer on spot, by `interruption_overhead`."""
    usd_per_hour: Decimal
    """Price of an hour in use. Of a promise: its rate with the upfront part spread over all hours of the term."""
    cost_usd: Decimal
    """Bill for the whole job: storage, address and surplus CPU credits too; of a promise, the job's share of it."""
    cost_usd_low: Decimal
    """Lower end of its interval."""
    cost_usd_high: Decimal
    """Upper end of its interval."""
    price_as_of: dt.date
    """Date of the price."""
    price_source: str
    """Where the price was read."""
    promise: str | None
    """What is promised; null: nothing."""
    promise_usd: Decimal | None
    """What the promise costs in all, used or not; null: nothing is promised."""
    pays_from_busy_share: float | None
    """Share of the term, 0 to 1, that must be busy for the promise to cost less than on-demand; null: no promise."""


class Bills(Described):
    """The job's bill under each way to pay; null: the prices on file have none."""

    on_demand: Bill | None
    """By the second, without a promise."""
    spot: Bill | None
    """Spare capacity, which may be taken back: the cheapest zone, and training done again after interruptions."""
    reserved: Bill | None
    """Reserved instance: of those on file, the one that promises least in all."""
    savings_plan: Bill | None
    """Savings Plan: of those on file, the one that promises least in all."""


def every_way(one: Scored, terms: Terms, objective: Objective) -> Bills:
    """The same job and the same draws of the rate, under every price that is known."""
    ways = {tariff.paid: tariff for tariff in one.candidate.tariffs}

    def bill(kind: PaidBy) -> Bill | None:
        tariff = ways.get(kind)
        return None if tariff is None else _bill(one, tariff, ways.get("on-demand"), terms, objective)

    return Bills(
        on_demand=bill("on-demand"), spot=bill("spot"), reserved=bill("reserved"), savings_plan=bill("savings-plan")
    )


def _bill(one: Scored, tariff: Tariff, on_demand: Tariff | None, terms: Terms, objective: Objective) -> Bill:
    price = tariff.price
    again = score.score(one.candidate.model_copy(update={"price": price}), terms, objective)
    compared = on_demand.price.usd_per_hour if tariff.promise is not None and on_demand is not None else None
    return Bill(
        hours=float(again.hours),
        usd_per_hour=price.usd_per_hour.quantize(CENT),
        price_as_of=price.as_of,
        price_source=price.source,
        promise=tariff.promise,
        promise_usd=None if tariff.promise_usd is None else tariff.promise_usd.quantize(CENT),
        pays_from_busy_share=None if compared is None else float(price.usd_per_hour / compared),
        **money(again),
    )


def money(one: Scored) -> dict[str, Any]:
    """The bill and the ends of its interval; null without a price."""
    if one.cost_usd is None or one.cost_draws is None:
        return dict.fromkeys(("cost_usd", "cost_usd_low", "cost_usd_high"))
    low, high = score.interval(one.cost_draws, float(one.cost_usd))
    point = one.cost_usd.quantize(CENT)
    return {
        "cost_usd": point,
        "cost_usd_low": min(point, cost.exact(low).quantize(CENT)),
        "cost_usd_high": max(point, cost.exact(high).quantize(CENT)),
    }
