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
MOST_TOLD = 0.999
"""Correlation beyond which the draws of one candidate are too few to stand for what is left open."""


@dataclass(frozen=True)
class Odds:
    """Of one candidate. Regret and information are in the objective's unit."""

    p_best: float
    p_meets_limits: float
    p_on_front: float
    expected_regret: float
    worth_of_measuring: float
    worth_with: dict[str, float]
    """Of measuring it and another one whose error it shares, by that one's name, which comes later in the alphabet."""


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
            worth_of_measuring=_worth(ordered, losses, i),
            worth_with={
                other.name: _worth(ordered, losses, i, j)
                for j, other in enumerate(ordered)
                if j > i and score.correlation(one.rate, other.rate)
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


def _worth(ordered: list[Scored], losses: Floats, *known: int) -> float:
    """Expected loss that knowing the time and cost of those candidates removes. 0 for one without a rival.

    What is known then of another's rate is a weighted sum of theirs: the regression of its logarithm on those.
    """
    luck, rates = np.stack([ordered[i].luck for i in known]), [ordered[i].rate for i in known]
    among = np.array([[score.correlation(one, other) for other in rates] for one in rates])
    np.fill_diagonal(among, 1.0)
    best = losses[list(known)].min(axis=0)
    for j in set(range(len(ordered))) - set(known):
        shared = np.array([score.correlation(one, ordered[j].rate) for one in rates])
        weights = np.linalg.lstsq(among, shared, rcond=None)[0]  # those who share all leave it singular
        told = float(np.sqrt(max(0.0, weights @ shared)))
        expected = _given(weights @ luck / told, told, losses[j], ordered[j].luck) if told else losses[j].mean()
        best = np.minimum(best, expected)
    return max(0.0, float(losses.mean(axis=1).min() - best.mean()))


def _given(known: Floats, correlation: float, loss: Floats, luck: Floats) -> Floats:
    """Expected loss of a candidate in each draw of something that is known then and correlated with its luck.

    Its own draws, each weighted by how much likelier that makes it; the mean stays what it was.
    """
    at_grid = _likelier(round(min(correlation, MOST_TOLD), 6)) @ loss[np.argsort(luck)]
    told = np.interp(known, GRID, at_grid)
    return np.asarray(told * (loss.mean() / told.mean()), dtype=np.float64)


@functools.lru_cache(maxsize=16)
def _likelier(correlation: float) -> Floats:
    """Weights of the draws of a candidate, least luck first, at each point of the grid; they sum to 1 there."""
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
