"""Who may be chosen, in which order, and who could still win.

A candidate could still win if its best case (the good end of its 90 % interval) meets the limits and is no worse than
the worst case of every candidate that is sure to meet them: interval dominance, as in decision making under imprecise
probability (Troffaes, International Journal of Approximate Reasoning 45, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from yocobench.selection import cost, odds, score
from yocobench.selection.model import Terms
from yocobench.selection.objectives import Objective
from yocobench.selection.score import Scored


@dataclass(frozen=True)
class Ranking:
    """Candidates that can be chosen, best first: by the objective within the limits, then by how far they miss."""

    objective: Objective
    terms: Terms
    ordered: list[Scored]
    ranks: dict[str, int]
    """Equal candidates share one."""
    chosen: Scored | None
    """Null: nothing meets the limits."""
    contenders: list[Scored]
    """Those that could still win, in the same order."""
    odds: dict[str, odds.Odds]


def rank(scored: list[Scored], terms: Terms, objective: Objective) -> Ranking:
    """Of candidates that can be chosen. Equal ones are ordered by hourly bill, then name."""

    def key(one: Scored) -> tuple[bool, Decimal]:
        over = overshoot(one, terms)
        assert one.value is not None
        return over > 0, over if over > 0 else one.value

    ordered = sorted(scored, key=lambda one: (key(one), by_hour(one)))
    keys = [key(one) for one in ordered]
    return Ranking(
        objective=objective,
        terms=terms,
        ordered=ordered,
        ranks={one.name: keys.index(key(one)) + 1 for one in ordered},
        chosen=ordered[0] if ordered and overshoot(ordered[0], terms) <= 0 else None,
        contenders=_contenders(ordered, terms),
        odds=odds.odds(scored, terms),
    )


def by_hour(one: Scored) -> tuple[Decimal, str]:
    """Sorts by what an hour costs."""
    hourly = cost.usd_per_hour(one.candidate)
    assert hourly is not None
    return hourly, one.name


def overshoot(one: Scored, terms: Terms) -> Decimal:
    """By what share the worse of deadline and budget is missed; 0 or less: none is."""
    assert one.cost_usd is not None
    shares = [Decimal(-1)]
    if terms.deadline_h is not None:
        shares.append(one.hours / cost.exact(terms.deadline_h) - 1)
    if terms.budget_usd is not None:
        shares.append(one.cost_usd / terms.budget_usd - 1)
    return max(shares)


def _contenders(ordered: list[Scored], terms: Terms) -> list[Scored]:
    best_worst, hopeful = None, []
    for one in ordered:
        assert one.cost_draws is not None
        assert one.value_draws is not None
        assert one.cost_usd is not None
        assert one.value is not None
        fast, slow = score.interval(one.hours_draws, float(one.hours))
        cheap, dear = score.interval(one.cost_draws, float(one.cost_usd))
        good, bad = score.interval(one.value_draws, float(one.value))
        if _within(slow, dear, terms):
            best_worst = bad if best_worst is None else min(best_worst, bad)
        if _within(fast, cheap, terms):
            hopeful.append((good, one))
    return [one for good, one in hopeful if best_worst is None or good <= best_worst]


def _within(hours: float, usd: float, terms: Terms) -> bool:
    late = terms.deadline_h is not None and hours > terms.deadline_h
    dear = terms.budget_usd is not None and usd > float(terms.budget_usd)
    return not (late or dear)
