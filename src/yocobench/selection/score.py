"""A candidate with its job's hours and cost: exact at the median, and as draws of what they may turn out to be.

Rates are log-normal (Student's t on the log scale where a measured rate states its degrees of freedom), with each side
of the median matched to that side of the interval. Every candidate draws from its own fixed stream, named after it, and
stratified: the same candidate meets the same luck under every price, deadline and order of rows. What an estimate says
that it shares with others comes from one stream for all of them, and drops out of their ratios in so far; the
candidate's own interval stays what it was (a Gaussian copula: the sum is ranked, and its ranks draw).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from scipy.special import ndtri, stdtrit

from yocobench.pricelist import MIN_BILLED_S
from yocobench.selection import cost
from yocobench.selection.model import Candidate, OneOff, Price, Rate, Shared, Terms
from yocobench.selection.objectives import Floats, Objective

NUM_DRAWS = 4096
SEED = 20261123
INTERVAL = 0.90
"""Level of every interval that a decision states."""
FARTHEST = 3.0
"""Draws end at so many interval widths from the median: the mean of the exponential of a t variable is infinite."""


@dataclass(frozen=True)
class Scored:
    """Hours, cost and objective of one candidate. Cost and value are null without a price."""

    candidate: Candidate
    one_off_h: float
    steady_h: float
    hours: Decimal
    cost_usd: Decimal | None
    value: Decimal | None
    hours_draws: Floats
    cost_draws: Floats | None
    value_draws: Floats | None
    barred: str
    """Why it cannot be chosen, whatever its numbers; empty: it can."""
    luck: Floats
    """Of the rate's draws (the function `luck` below)."""

    @property
    def name(self) -> str:
        """Instance type."""
        return self.candidate.instance

    @property
    def rate(self) -> Rate:
        """Never null here: only candidates with a number are scored."""
        assert self.candidate.rate is not None
        return self.candidate.rate


def score(candidate: Candidate, terms: Terms, objective: Objective) -> Scored:
    """Hours and cost of the job on a candidate that has a rate."""
    assert candidate.rate is not None
    steady_s = terms.job_samples * cost.seconds_per_sample(candidate, terms)
    total_s = candidate.one_off.total_s + steady_s
    hours = cost.exact(total_s) / 3600
    hourly = cost.usd_per_hour(candidate)
    rates = rate_draws(candidate.rate, candidate.instance)
    train_s = terms.job_samples * cost.time_factor(candidate, terms) / rates
    total_draws = one_off_draws(candidate.one_off, candidate.instance) + train_s
    bill = None if hourly is None else cost.cost_usd(total_s, hourly)
    bills = None if hourly is None else np.maximum(total_draws, MIN_BILLED_S) * hourly_draws(candidate) / 3600
    return Scored(
        candidate=candidate,
        one_off_h=candidate.one_off.total_s / 3600,
        steady_h=steady_s / 3600,
        hours=hours,
        cost_usd=bill,
        value=None if bill is None else objective.value(hours, bill),
        hours_draws=total_draws / 3600,
        cost_draws=bills,
        value_draws=None if bills is None else objective.values(total_draws / 3600, bills),
        barred=barred(candidate, terms),
        luck=luck(candidate.instance, candidate.rate.shared),
    )


def barred(candidate: Candidate, terms: Terms) -> str:
    """Why a candidate may not be chosen, whatever its numbers; empty: it may."""
    if not candidate.can_be_chosen:
        return candidate.reason or "it cannot be rented: it calibrates the others"
    if candidate.price is None:
        return candidate.reason or "no price is known"
    return _unasked(candidate, terms)


def lacks_only_a_price(candidate: Candidate, terms: Terms) -> bool:
    """Whether it might be chosen if only somebody knew its price."""
    return candidate.price is None and candidate.can_be_chosen and not _unasked(candidate, terms)


def _unasked(candidate: Candidate, terms: Terms) -> str:
    restrict = terms.restrict
    if restrict.cpu_only and not candidate.is_cpu_only:
        return "restrict.cpu_only leaves it out"
    if restrict.instances and candidate.instance not in restrict.instances:
        return "restrict.instances does not name it"
    return ""


# --- draws ------------------------------------------------------------------------------------------------------


def _stratified(name: str, what: str) -> Floats:
    """A stratified sample of (0, 1), in an order that belongs to the name."""
    generator = np.random.default_rng([SEED, zlib.crc32(f"{name}/{what}".encode())])
    return (generator.permutation(NUM_DRAWS) + 0.5) / NUM_DRAWS


def _uniforms(name: str, what: str, shared: Sequence[Shared] = ()) -> Floats:
    """The same, in an order that others follow as far as their error is shared."""
    own = _stratified(name, what)
    if not shared:
        return own
    left = max(0.0, 1 - sum(part.variance_share for part in shared))
    mixed = np.sqrt(left) * ndtri(own)
    for part in shared:
        mixed = mixed + np.sqrt(part.variance_share) * ndtri(_stratified(part.key, what))
    ranked = np.empty(NUM_DRAWS)
    ranked[np.argsort(mixed, kind="stable")] = np.arange(NUM_DRAWS)
    return (ranked + 0.5) / NUM_DRAWS


def luck(name: str, shared: Sequence[Shared] = ()) -> Floats:
    """What the draws of a rate deviate by, in standard deviations: the same numbers for all, each in its own order."""
    return np.asarray(ndtri(_uniforms(name, "rate", shared)), dtype=np.float64)


def correlation(one: Rate, other: Rate) -> float:
    """Correlation of the logarithms of two estimated rates, by what they share; 0 where one is measured."""
    theirs = {part.key: part.variance_share for part in other.shared}
    return float(sum(np.sqrt(part.variance_share * theirs.get(part.key, 0.0)) for part in one.shared))


def _shares_of_side(
    name: str, what: str, level: float, degrees_of_freedom: int | None = None, shared: Sequence[Shared] = ()
) -> Floats:
    """Standard scores, scaled so that the ends of the central `level` interval are -1 and 1."""
    uniforms = _uniforms(name, what, shared)
    if degrees_of_freedom is None:
        scores = ndtri(uniforms) / ndtri((1 + level) / 2)
    else:
        scores = stdtrit(degrees_of_freedom, uniforms) / stdtrit(degrees_of_freedom, (1 + level) / 2)
    return np.asarray(np.clip(scores, -FARTHEST, FARTHEST), dtype=np.float64)


def _log_split(median: float, low: float, high: float, shares: Floats) -> Floats:
    """Log-normal with a width of its own on each side: exact at the median and at both ends."""
    sides = np.where(shares < 0, np.log(median / low), np.log(high / median))
    return np.asarray(median * np.exp(shares * sides), dtype=np.float64)


def rate_draws(rate: Rate, name: str) -> Floats:
    """Draws of the rate, in samples per second."""
    level = 0.95 if rate.is_measured else 0.90
    shares = _shares_of_side(name, "rate", level, rate.degrees_of_freedom, rate.shared)
    return _log_split(rate.samples_per_second, rate.low_samples_per_second, rate.high_samples_per_second, shares)


def one_off_draws(one_off: OneOff, name: str) -> Floats:
    """Draws of the one-off part, in seconds; normal on each side, since the interval may reach 0."""
    shares = _shares_of_side(name, "one-off", INTERVAL, shared=one_off.shared)
    sides = np.where(shares < 0, one_off.total_s - one_off.low_s, one_off.high_s - one_off.total_s)
    return np.asarray(np.maximum(one_off.total_s + shares * sides, 0.0), dtype=np.float64)


def _price_draws(price: Price, name: str) -> Floats:
    """Draws of the price, in USD per hour; all the same where no band is known."""
    median = float(price.usd_per_hour)
    if price.low_usd_per_hour is None or price.high_usd_per_hour is None:
        return np.full(NUM_DRAWS, median)
    shares = _shares_of_side(name, "price", INTERVAL)
    return _log_split(median, float(price.low_usd_per_hour), float(price.high_usd_per_hour), shares)


def hourly_draws(candidate: Candidate) -> Floats:
    """Draws of the hourly bill, in USD: price and extras."""
    assert candidate.price is not None
    return _price_draws(candidate.price, candidate.instance) + float(cost.extras_usd_per_hour(candidate))


def interval(draws: Floats, point: float) -> tuple[float, float]:
    """The central 90 %, never leaving out the point itself."""
    low, high = np.quantile(draws, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return min(float(low), point), max(float(high), point)
