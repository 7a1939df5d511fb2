"""How sure: probability of being best, expected regret, the front under uncertainty, and what a measurement is worth.

All from the draws of the candidates that can be chosen. A candidate that misses a limit in a draw has done its work for
nothing: its loss there is what it took plus what the best one takes to do the work again. Where nothing meets the
limits, they are left out of account. The worth of measuring one candidate is the expected value of partial perfect
information (Raiffa and Schlaifer, Applied Statistical Decision Theory, 1961): the expected loss of choosing now, less
that of choosing once its time and cost are known. Of the others, so much is known then as their estimates share with
its: given its rate, the logarithm of theirs is normal about a shifted mean. Nothing is learned of their set-up.
What two candidates share hides which of them is ahead until both are known: two together may be worth more than each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yocobench.selection import score
from yocobench.selection.model import Terms
from yocobench.selection.objectives import Floats
from yocobench.selection.score import Scored

Bools = NDArray[np.bool_]
GRID = np.linspace(-3.75, 3.75, 41)
"""Standard deviations between which a conditional expectation is interpolated; the draws lie within 3.67."""
PAIRED = 12
"""Candidates of the least expected loss, of which pairs are looked at: their number grows with the square."""
MOST_TOLD = 0.999
"""Correlation beyond which the draws of one candidate are too few to stand for what is left open."""


@dataclass(frozen=True)
class Odds:
    """One candidate's chances. Regret and the worth of measuring are in the objective's unit."""

    p_best: float
    p_meets_limits: float
    p_on_front: float
    expected_regret: float
    worth_of_measuring: float
    worth_with: dict[str, float]
    """Worth of measuring it together with another one whose error it shares, by that one's name, which comes later in
    the alphabet. Only among the most hopeful."""


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
    draws, hopeful = _draws(ordered, losses), set(np.argsort(expected, kind="stable")[:PAIRED].tolist())
    return {
        one.name: Odds(
            p_best=float(shared[i].mean()),
            p_meets_limits=float(meets[i].mean()),
            p_on_front=float(_undominated(hours, cost, i).mean()),
            expected_regret=max(0.0, float(expected[i] - best.mean())),
            worth_of_measuring=_worth(draws, i),
            worth_with={
                ordered[j].name: _worth(draws, i, j)
                for j in range(i + 1, len(ordered))
                if {i, j} <= hopeful and draws.correlation[i, j]
            },
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


@dataclass(frozen=True)
class Draws:
    """What the worth of measurements is reckoned from: candidates in rows."""

    losses: Floats
    luck: Floats
    by_luck: Floats
    """Losses again, those with the least luck first."""
    correlation: Floats
    """Of the logarithms of the rates."""


def _draws(ordered: list[Scored], losses: Floats) -> Draws:
    luck = np.stack([one.luck for one in ordered])
    correlation = np.array([[score.correlation(one.rate, other.rate) for other in ordered] for one in ordered])
    np.fill_diagonal(correlation, 1.0)
    return Draws(losses, luck, np.take_along_axis(losses, np.argsort(luck, axis=1), axis=1), correlation)


def _worth(draws: Draws, *known: int) -> float:
    """Expected loss that knowing the time and cost of those candidates removes. 0 for one without a rival.

    What is known then of another's rate is a weighted sum of theirs: the regression of its logarithm on those.
    """
    rows, others = list(known), [j for j in range(len(draws.losses)) if j not in known]
    shared = draws.correlation[np.ix_(rows, others)]
    # Candidates that share all of their errors leave the system singular: any of its solutions will do.
    weights = np.linalg.lstsq(draws.correlation[np.ix_(rows, rows)], shared, rcond=None)[0]
    told = np.sqrt(np.maximum(0.0, (weights * shared).sum(axis=0)))
    best, expected = draws.losses[rows].min(axis=0), draws.losses.mean(axis=1)
    for j, weight, much in zip(others, weights.T, told, strict=True):
        if much:
            at_grid = _likelier(round(min(much, MOST_TOLD), 6)) @ draws.by_luck[j]
            given = np.interp(weight @ draws.luck[rows] / much, GRID, at_grid)
            best = np.minimum(best, given * (expected[j] / given.mean()))  # the mean stays what it was
        else:
            best = np.minimum(best, expected[j])
    return max(0.0, float(expected.min() - best.mean()))


@functools.lru_cache(maxsize=16)
def _likelier(correlation: float) -> Floats:
    """How much each draw of a candidate, least luck first, counts once something correlated with its luck is known.

    A row for each value of that on the grid, by how much likelier it makes the draw; a row sums to 1.
    """
    luck = np.sort(score.luck("any"))
    away = (luck - correlation * GRID[:, None]) ** 2 / (1 - correlation**2)
    weights = np.exp((luck**2 - away) / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def front(scored: list[Scored]) -> set[str]:
    """Instances that no other beats in both hours and cost, at the medians. Equal ones stay on it together."""
    points = {one.name: (one.hours, one.cost_usd) for one in scored if one.cost_usd is not None}
    return {
        name
        for name, (hours, bill) in points.items()
        if not any(h <= hours and c <= bill and (h < hours or c < bill) for h, c in points.values())
    }
