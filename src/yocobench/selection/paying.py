"""On-demand, spot and reserved side by side, as text: what decision.md, the page and the terminal show of bills.py."""

from __future__ import annotations

from collections.abc import Iterable

from yocobench.selection import wording
from yocobench.selection.bills import Bill, Bills
from yocobench.selection.decision import Decision, Row
from yocobench.selection.wording import listed, percent, spread, usd

WAYS = {"on_demand": "on-demand", "spot": "spot", "reserved": "reserved", "savings_plan": "Savings Plan"}
HEADER = ("instance", *(f"{name}, USD" for name in WAYS.values()))
UNKNOWN = "unknown"
FETCH = "python -m yocobench.prices"


def table(decision: Decision) -> list[tuple[str, ...]]:
    """A line for each candidate with a bill: the job's bill under each way to pay. Empty: no price is known at all."""
    return [
        (row.instance, *(_cell(row, _bill(row.bills, way)) for way in WAYS))
        for row in decision.rows
        if row.bills is not None and _known(row.bills)
    ]


def numbers(decision: Decision) -> list[tuple[float | None, ...]]:
    """The same, to sort by."""
    return [
        tuple(None if (bill := _bill(row.bills, way)) is None else float(bill.cost_usd) for way in WAYS)
        for row in decision.rows
        if row.bills is not None and _known(row.bills)
    ]


def notes(decision: Decision) -> list[str]:
    """What goes with the table: what is unknown and how to learn it, interruptions, what is promised."""
    return list(_notes(decision))


def _notes(decision: Decision) -> Iterable[str]:
    # This machine has no price in any region: it tells nothing of what the prices lack.
    every = [row.bills for row in decision.rows if row.bills is not None and _known(row.bills)]
    missing = [name for way, name in WAYS.items() if not any(_bill(bills, way) for bills in every)]
    if every and missing:
        yield f"Prices not on file for the region: {listed(missing)}. With AWS credentials `{FETCH}` fetches them."
    if any(bills.spot for bills in every):
        again = percent(decision.asked.interruption_overhead)
        yield f"Spot: the cheapest zone; {again} of the training is done again after interruptions (an assumption)."
    chosen = decision.row(decision.chosen) if decision.chosen else None
    for way in ("reserved", "savings_plan"):
        bill = _bill(chosen.bills, way) if chosen else None
        if chosen is None or bill is None or bill.promise is None or bill.promise_usd is None:
            continue
        owed = f"the job's share of {usd(bill.promise_usd)}, owed in all"
        text = f"{chosen.instance} {WAYS[way]}, {bill.promise}: {owed}"
        busy = bill.pays_from_busy_share
        yield f"{text}, used or not" + ("." if busy is None else f"; pays where {percent(busy)} of the hours are busy.")


def _bill(bills: Bills | None, way: str) -> Bill | None:
    found: Bill | None = getattr(bills, way, None)
    return found


def _known(bills: Bills) -> bool:
    return any(_bill(bills, way) is not None for way in WAYS)


def _cell(row: Row, bill: Bill | None) -> str:
    if bill is None:
        return UNKNOWN
    return spread(wording.mark(row.source), bill.cost_usd, bill.cost_usd_low, bill.cost_usd_high)
