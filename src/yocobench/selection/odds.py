"""How sure: probability of being best, expected regret, the front under uncertainty, and what a measurement is worth.

All from the draws of the candidates that can be chosen. A candidate that misses a limit in a draw has done its work for
nothing: its loss there is what it took plus what the best one takes to do the work again. Where nothing meets the
limits, they are left out of account. The worth of measuring one candidate is the expected value of partial perfect
information (Raiffa and Schlaifer, Applied Statistical Decision Theory, 1961): the expected loss of choosing now, less
that of choosing once its time and cost are known and the others still are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yocobench.selection.model import Terms
from yocobench.selection.objectives import Floats
from yocobench.selection.score import Scored

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Odds:
    """Of one candidate. Regret and information are in the objective's unit."""

    p_best: float
    p_meets_limits: float
    p_on_front: float
    expected_regret: float
    worth_of_measuring: float


def odds(scored: list[Scored], terms: Terms) -> dict[str, Odds]:
    """By instance. `scored` holds only candidates that can be chosen; names must differ."""
    if not scored:
        return {}
    ordered = sorted(scored, key=lambda one: one.name)  # sums do not depend on the order of rows
    hours, cost, values = _stack(ordered)
    meets = np.ones_like(hours, dtype=bool)
    if terms.deadline_h is not None:
        meets &= hours <= terms.deadline_h
    if terms.budget_usd is not None:
        meets &= cost <= float(terms.budget_usd)
    some = meets.any(axis=0)
    counted = meets | ~some
    best = np.where(counted, values, np.inf).min(axis=0)
    wins = meets & (values == best)
    shared = wins / np.maximum(wins.sum(axis=0), 1)
    losses = np.where(counted, values, values + best.mean())
    expected = losses.mean(axis=1)
    return {
        one.name: Odds(
            p_best=float(shared[i].mean()),
            p_meets_limits=float(meets[i].mean()),
            p_on_front=float(_undominated(hours, cost, i).mean()),
            expected_regret=max(0.0, float(expected[i] - best.mean())),
            worth_of_measuring=_worth(losses, expected, i),
        )
        for i, one in enumerate(ordered)
    }


def _stack(ordered: list[Scored]) -> tuple[Floats, Floats, Floats]:
    costs = [one.cost_draws for one in ordered if one.cost_draws is not None]
    values = [one.value_draws for one in ordered if one.value_draws is not None]
    assert len(costs) == len(values) == len(ordered), "a candidate without a price cannot be chosen"
    return np.stack([one.hours_draws for one in ordered]), np.stack(costs), np.stack(values)


def _undominated(hours: Floats, cost: Floats, i: int) -> Bools:
    """In which draws no other candidate is at least as good in time and cost, and better in one."""
    not_worse = (hours <= hours[i]) & (cost <= cost[i])
    better = (hours < hours[i]) | (cost < cost[i])
    return np.asarray(~(not_worse & better).any(axis=0))


def _worth(losses: Floats, expected: Floats, i: int) -> float:
    """Expected loss that knowing candidate i's own time and cost removes. 0 for a candidate without a rival."""
    others = np.delete(expected, i)
    if not len(others):
        return 0.0
    informed = np.minimum(losses[i], others.min()).mean()
    return max(0.0, float(expected.min() - informed))


def front(scored: list[Scored]) -> set[str]:
    """Instances that no other beats in both hours and cost, at the medians. Equal ones stay on it together."""
    points = {one.name: (one.hours, one.cost_usd) for one in scored if one.cost_usd is not None}
    return {
        name
        for name, (hours, bill) in points.items()
        if not any(h <= hours and c <= bill and (h < hours or c < bill) for h, c in points.values())
    }
