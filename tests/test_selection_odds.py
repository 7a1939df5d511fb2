"""Probabilities, regret and the worth of a measurement, by hand. Run: pytest tests/test_selection_odds.py"""

from decimal import Decimal

import numpy as np
import pytest
from scipy.special import ndtri

from selection_cases import candidate, terms, without_number
from yocobench.selection import report
from yocobench.selection.decide import decide_workload

MEASURED = candidate("slow", 1000, "1.00")  # 1 h, 1.00 USD


def guess(name="guess", usd="1.00", spread=2.0, **more):
    return candidate(name, 1000, usd, spread=spread, source="estimated", **more)


def test_equal_medians_are_a_coin_toss():
    decision = decide_workload([MEASURED, guess()], terms())
    assert decision.row("guess").p_best == pytest.approx(0.5, abs=0.001)
    assert decision.row("slow").p_best == pytest.approx(0.5, abs=0.001)


def test_a_median_at_the_end_of_the_interval_wins_one_time_in_twenty():
    # 2.00 USD at the median, under 1.00 USD with 5 %
    assert decide_workload([MEASURED, guess(usd="2.00")], terms()).row("guess").p_best == pytest.approx(0.05, abs=0.001)


def lognormal_gain(sigma):
    """E[max(0, 1 - X)] for X log-normal with median 1, by quadrature."""
    z = (np.arange(200_000) + 0.5) / 200_000
    return float(np.maximum(0, 1 - np.exp(sigma * ndtri(z))).mean())


def test_regret_of_a_sure_choice_is_what_the_other_one_may_save():
    gain = lognormal_gain(np.log(2) / 1.6449)
    row = decide_workload([MEASURED, guess()], terms()).row("slow")
    assert row.expected_regret_usd == pytest.approx(gain, rel=0.005)
    assert row.expected_regret_h is None


def test_regret_of_the_fastest_is_in_hours():
    row = decide_workload([MEASURED, guess()], terms(objective="fastest")).row("slow")
    assert row.expected_regret_h == pytest.approx(lognormal_gain(np.log(2) / 1.6449), rel=0.005)
    assert row.expected_regret_usd is None


def test_no_regret_without_a_rival():
    row = decide_workload([MEASURED], terms()).rows[0]
    assert (row.expected_regret_usd, row.p_best) == (0.0, 1.0)


def test_a_missed_deadline_makes_the_work_worthless():
    # guess: 0.10 USD at 1 h, half of the draws late. Its regret: late, its own bill is lost; in time it is the best.
    decision = decide_workload([candidate("slow", 1000, "5.00"), guess(usd="0.10", spread=1.1)], terms(deadline_h=1))
    row = decision.row("guess")
    assert (row.p_meets_limits, row.p_best) == pytest.approx((0.5, 0.5), abs=0.001)
    assert decision.row("slow").p_best == pytest.approx(0.5, abs=0.001)


def test_measuring_the_only_doubt_removes_all_regret():
    decision = decide_workload([MEASURED, guess(usd="1.20", measure_bill_usd=Decimal("0.02"))], terms())
    advice = decision.measure_next[0]
    assert (advice.instance, advice.bill_usd) == ("guess", Decimal("0.02"))
    assert advice.regret_removed_usd == pytest.approx(decision.row("slow").expected_regret_usd)
    assert advice.regret_removed_per_usd == pytest.approx(advice.regret_removed_usd / 0.02)


def test_no_advice_where_the_bill_exceeds_the_gain():
    assert decide_workload([MEASURED, guess(measure_bill_usd=Decimal("0.90"))], terms()).measure_next == ()


def test_advice_is_ordered_by_regret_removed_per_dollar():
    cheap, dear = guess("cheap", measure_bill_usd=Decimal("0.01")), guess("dear", measure_bill_usd=Decimal("0.05"))
    decision = decide_workload([MEASURED, dear, cheap], terms())
    assert [one.instance for one in decision.measure_next] == ["cheap", "dear"]


def test_what_has_no_number_comes_last_with_an_unknown_gain():
    decision = decide_workload([MEASURED, guess(), without_number("blank", "unmeasured", "no facts")], terms())
    assert [(one.instance, one.regret_removed_usd is None) for one in decision.measure_next] == [
        ("guess", False),
        ("blank", True),
    ]


def test_measured_candidates_are_not_advised():
    loose = candidate("loose", 1000, "1.00", spread=2.0)
    assert decide_workload([MEASURED, loose], terms()).measure_next == ()


def test_the_front_holds_what_nothing_beats_in_both():
    dominated = candidate("dominated", 900, "1.50")
    decision = decide_workload([MEASURED, dominated, candidate("fast", 2000, "4.00")], terms())
    assert {row.instance: (row.on_front, row.p_on_front) for row in decision.rows} == {
        "slow": (True, 1.0),
        "fast": (True, 1.0),
        "dominated": (False, 0.0),
    }


def test_equal_points_stay_on_the_front_together():
    decision = decide_workload([MEASURED, candidate("twin", 1000, "1.00")], terms())
    assert [row.on_front for row in decision.rows] == [True, True]


def test_a_candidate_without_a_number_may_still_be_one_that_can_be_chosen():
    rows = [without_number("new", "unmeasured", "no run"), without_number("old", "excluded", "cannot train")]
    decision = decide_workload(rows, terms())
    assert "a measurement of new might show otherwise" in report.no_advice(decision)
