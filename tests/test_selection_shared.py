"""Errors that estimates share: of their ratio they drop out, and one measurement tells of others.

Run: pytest tests/test_selection_shared.py
"""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import ndtr

from selection_cases import candidate, rate, terms
from yocobench.selection import odds, report, score
from yocobench.selection.decide import decide_workload
from yocobench.selection.measure_next import launch_order
from yocobench.selection.model import OneOff, Shared
from yocobench.selection.objectives import get

SPREAD = 2.0
SIGMA = np.log(SPREAD) / 1.6449  # 0.4214


def guess(name, share=None, usd="1.00", key="common", **more):
    """1 h, `usd`, and twice or half of that at the ends of the interval; `share` of the variance is common."""
    shared = () if share is None else (Shared(key=key, variance_share=share),)
    known = rate(1000, SPREAD, "estimated").model_copy(update={"shared": shared})
    return candidate(name, 1000, usd, source="estimated", **({"rate": known} | more))


def spread_of_ratio(one, other):
    draws = [score.rate_draws(each.rate, each.instance) for each in (one, other)]
    return float(np.log(draws[0] / draws[1]).std())


def odds_of(*made, **asked):
    wanted = terms(**asked)
    return odds.odds([score.score(one, wanted, get(wanted.objective)) for one in made], wanted)


# Var(log a - log b) = 2 sigma^2 (1 - share): 0.4214 sqrt(2) = 0.596 apart, 0.4214 sqrt(0.2) = 0.188 at nine tenths
@pytest.mark.parametrize(("share", "expected"), [(None, 0.596), (0.5, 0.4214), (0.9, 0.1885), (1.0, 0.0)])
def test_what_two_estimates_share_drops_out_of_their_ratio(share, expected):
    assert spread_of_ratio(guess("a", share), guess("b", share)) == pytest.approx(expected, abs=0.02)


def test_errors_of_another_key_or_of_a_measured_rate_are_its_own():
    apart = spread_of_ratio(guess("a", 0.9), guess("b", 0.9, key="another"))
    assert apart == pytest.approx(SIGMA * np.sqrt(2), abs=0.02)
    assert score.correlation(guess("a", 0.9).rate, candidate("b", 1000, "1.00").rate) == 0


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1.0), st.floats(1.0, 10.0))
def test_each_ones_own_interval_stays_what_it_was(share, spread):
    known = rate(1000, spread, "estimated")
    shared = known.model_copy(update={"shared": (Shared(key="common", variance_share=share),)})
    assert np.array_equal(np.sort(score.rate_draws(shared, "a")), np.sort(score.rate_draws(known, "a")))


def test_errors_that_are_all_shared_leave_no_doubt_who_is_best():
    found = odds_of(guess("a", 1.0), guess("b", 1.0, usd="1.01"))
    assert (found["a"].p_best, found["b"].p_best) == (1.0, 0.0)
    assert (found["a"].expected_regret, found["a"].worth_of_measuring) == (0.0, 0.0)
    alone = odds_of(guess("a"), guess("b", usd="1.01"))
    assert alone["b"].p_best == pytest.approx(0.5, abs=0.03)


# Against a sure 1.00 USD, knowing b tells a too: both save what a may, E[max(0, 1 - a)].
def test_measuring_one_tells_about_another_that_shares_its_error():
    sure = candidate("slow", 1000, "1.00")
    found = odds_of(sure, guess("a", 1.0), guess("b", 1.0, usd="1.50"))
    quantiles = np.sort(1000 / score.rate_draws(guess("a").rate, "a"))
    gain = float(np.maximum(0, 1 - quantiles).mean())
    assert found["a"].worth_of_measuring == pytest.approx(gain, rel=1e-6)
    assert found["b"].worth_of_measuring == pytest.approx(gain, rel=0.01)
    apart = odds_of(sure, guess("a"), guess("b", usd="1.50"))
    assert apart["b"].worth_of_measuring < 0.5 * gain


# Two log-normals of equal median and correlation r: E[min(a, E[b | a])] = 2 m ndtr(-s (1 - r) / 2) and
# E[min(a, b)] = 2 m ndtr(-s sqrt(2 (1 - r)) / 2), where m = exp(s^2 / 2) is the mean of each.
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_what_they_share_hides_who_is_ahead_until_both_are_known(share):
    found = odds_of(guess("a", share), guess("b", share))
    mean = np.exp(SIGMA**2 / 2)
    alone = mean * (1 - 2 * ndtr(-SIGMA * (1 - share) / 2))
    both = mean * (1 - 2 * ndtr(-SIGMA * np.sqrt(2 * (1 - share)) / 2))
    assert found["a"].worth_of_measuring == pytest.approx(alone, abs=0.008)
    assert found["a"].worth_with["b"] == pytest.approx(both, abs=0.008)


# Share 0.9: 0.018 USD alone, 0.082 USD together. At 0.03 USD a measurement, only both together are worth it.
def test_two_measurements_are_advised_together_where_neither_is_worth_its_bill():
    bill = {"measure_bill_usd": Decimal("0.03")}
    decision = decide_workload([guess("a", 0.9, **bill), guess("b", 0.9, **bill)], terms())
    (advice,) = decision.measure_next
    assert (advice.instance, advice.together_with, advice.bill_usd) == ("a", "b", Decimal("0.06"))
    assert advice.regret_removed_usd == pytest.approx(0.082, abs=0.008)
    assert report.advice(advice).startswith("a and b together for ~0.0600 USD: removes ~0.08")
    assert launch_order(decision) == ("a", "b")
    apart = decide_workload([guess("a", **bill), guess("b", **bill)], terms())
    assert [(one.instance, one.together_with) for one in apart.measure_next] == [("a", None), ("b", None)]


# Half of the variance of 300 s, half or twice of that, is common: the difference has the other half, of each.
def test_one_assumption_of_boot_and_set_up_errs_for_all_alike():
    def seconds(name, share):
        shared = (Shared(key="boot and set-up", variance_share=share),)
        return score.one_off_draws(OneOff(total_s=300, low_s=150, high_s=600, shared=shared), name)

    together, half = seconds("a", 1.0) - seconds("b", 1.0), seconds("a", 0.5) - seconds("b", 0.5)
    assert np.abs(together).max() == 0
    assert half.std() == pytest.approx(seconds("a", 0.5).std(), rel=0.05)


def test_no_one_shares_more_than_all_of_an_error():
    two = tuple(Shared(key=key, variance_share=0.6) for key in "ab")
    with pytest.raises(ValidationError, match="1 at most"):
        OneOff(total_s=1, low_s=1, high_s=1, shared=two)
