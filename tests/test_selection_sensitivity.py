"""Where the winner changes, by hand. Run: pytest tests/test_selection_sensitivity.py"""

from decimal import Decimal

import pytest

from selection_cases import candidate, terms
from yocobench.selection import report
from yocobench.selection.decide import decide_workload
from yocobench.selection.model import OneOff

SLOW = candidate("slow", 100, "0.10")  # 10 h, 1.00 USD
FAST = candidate("fast", 1000, "1.25")  # 1 h, 1.25 USD


def flips(decision):
    return {(one.kind, one.direction): (pytest.approx(one.at, rel=1e-9), one.winner) for one in decision.sensitivity}


def test_the_winner_may_grow_dearer_until_it_costs_as_much_as_the_second():
    # 10 h at 0.125 USD/h are 1.25 USD
    one = next(one for one in decide_workload([SLOW, FAST], terms()).sensitivity if one.kind == "price")
    assert (one.at, one.change_percent, one.winner) == (pytest.approx(0.125), pytest.approx(25), "fast")
    assert one.sentence == "slow wins unless its price rises 25 %, to 0.125 USD/h: then fast wins"


# slow: 3,600,000 images at 1,000/s are 1 h; a1: 2,400 s of start and 1,200 s. At 0.05 USD/h both cost 0.05 USD, and the
# name decides: a1. In floats a1's hour is a rounding longer. Any dearer price, or any shorter job, and slow wins.
def test_of_two_that_tie_the_slightest_change_makes_the_other_win():
    start = OneOff(total_s=2400, low_s=2400, high_s=2400)
    late = [candidate("slow", 1000, "0.05"), candidate("a1", 3000, "0.05", one_off=start), candidate("b2", 50, "0.05")]
    decision = decide_workload(late, terms(job_samples=3.6e6))
    assert decision.chosen == "a1"
    assert flips(decision) == {
        ("price", "above"): (0.05, "slow"),
        ("job", "below"): (3.6e6, "slow"),
        ("deadline", "below"): (1.0, None),
        ("budget", "below"): (0.05, None),
    }
    one = next(one for one in decision.sensitivity if one.kind == "price")
    assert (one.change_percent, one.at) == (0, 0.05)


def test_a_change_that_rests_on_an_estimate_carries_a_tilde_and_so_does_what_a_loser_needs():
    # 10 h and 1.00 USD against ~1 h and ~1.25 USD: level at 0.125 USD/h, at a price 20 % lower, or 25 % faster.
    guess = candidate("guess", 1000, "1.25", source="estimated")
    decision = decide_workload([SLOW, guess], terms(deadline_h=20, budget_usd=Decimal(50)))
    sentences = {(one.kind, one.direction): one.sentence for one in decision.sensitivity}
    assert sentences["price", "above"] == "slow wins unless its price rises ~25 %, to ~0.125 USD/h: then guess wins"
    assert sentences["job", "above"] == "over ~7.20 million images, guess wins"
    assert sentences["deadline", "below"] == "with a deadline under ~10.0 h, guess wins"
    assert sentences["budget", "below"] == "with a budget under 1.00 USD, nothing meets the limits"  # slow's own bill
    assert report.cells(decision.row("guess"), decision)[-1].endswith(
        "(level if its price were ~20.0 % lower or it were ~25.0 % faster)"
    )


def test_a_measured_loser_is_compared_with_an_estimated_winner_by_estimates_too():
    guess = candidate("guess", 1000, "0.50", source="extrapolated")  # ~1 h, ~0.50 USD: half of slow's bill
    decision = decide_workload([SLOW, guess], terms())
    assert decision.chosen == "guess"
    assert report.cells(decision.row("slow"), decision)[-1].endswith(
        "(level if its price were ~50.0 % lower or it were ~100 % faster)"
    )


def test_how_far_an_estimate_misses_a_limit_is_an_estimate():
    guess = candidate("guess", 100, "0.10", source="estimated")  # ~10 h, ~1.00 USD
    decision = decide_workload([guess], terms(deadline_h=5, budget_usd=Decimal("0.80")))
    assert decision.row("guess").why == "~10.0 h, ~100 % over the deadline and ~1.00 USD, ~25 % over the budget"


def test_storage_stays_when_the_price_rises():
    # 1 h at (p + 0.25) USD/h is 2.00 USD at p = 1.75
    mine = candidate("fast", 1000, "1.25", storage_usd_per_hour=Decimal("0.25"))
    decision = decide_workload([mine, candidate("slow", 100, "0.20")], terms())
    assert flips(decision)[("price", "above")] == (1.75, "slow")


def test_long_jobs_pay_for_a_long_start():
    # slow: 0.10 USD/h, 1/360000 h per sample; heavy: 0.5 h of set-up at 0.80 USD/h, 1/3600000 h per sample.
    # 0.1 n / 360000 = 0.8 (0.5 + n / 3600000) at n = 0.4 / (0.1/360000 - 0.8/3600000) = 7.2 million
    heavy = candidate("heavy", 1000, "0.80", one_off=OneOff(total_s=1800, low_s=1800, high_s=1800))
    decision = decide_workload([SLOW, heavy], terms())
    assert decision.chosen == "slow"
    assert flips(decision)[("job", "above")] == (7.2e6, "heavy")
    assert decision.row("heavy").breakeven_samples == pytest.approx(7.2e6)
    assert "over 7.20 million images, heavy wins" in [one.sentence for one in decision.sensitivity]
    long = decide_workload([SLOW, heavy], terms(job_samples=1e7))
    assert long.chosen == "heavy"
    assert flips(long)[("job", "below")] == (7.2e6, "slow")


def assumed(seconds, rest=0):
    total = seconds + rest
    return OneOff(total_s=total, low_s=total, high_s=total, assumed_s=seconds)


# slow: s + 2.5 h of its own set-up + 10 h at 0.10 USD/h; mid: s + 4 h at 0.30 USD/h. 0.1 (s + 12.5) = 0.3 (s + 4) at
# s = 0.25 h = 900 s.
def test_an_assumed_start_decides_by_the_second_at_which_the_winner_changes():
    slow = candidate("slow", 100, "0.10", one_off=assumed(1200, rest=9000))
    mid = candidate("mid", 250, "0.30", one_off=assumed(1200))
    decision = decide_workload([slow, mid], terms())
    assert decision.chosen == "slow"
    (one,) = [one for one in decision.sensitivity if one.kind == "one_off"]
    assert (one.direction, one.at, one.unit, one.winner) == ("below", pytest.approx(900), "s", "mid")
    assert one.change_percent == pytest.approx(-25)
    assert one.sentence == "if boot and set-up take under 900 s (assumed: 1,200 s), mid wins"
    assert decision.row("slow").one_off_assumed_h == pytest.approx(1 / 3)


# slow's start was measured: 10 h and 1.00 USD whatever is assumed. mid: (s + 3 h) at 0.30 USD/h, so level at s = 1/3 h.
def test_an_assumption_moves_only_those_without_a_measured_start():
    slow, mid = SLOW, candidate("mid", 1000 / 3, "0.30", one_off=assumed(300))
    decision = decide_workload([slow, mid], terms())
    assert decision.chosen == "mid"
    assert flips(decision)[("one_off", "above")] == (1200.0, "slow")
    assert ("one_off", "below") not in flips(decision)
    assert ("one_off", "above") not in flips(decide_workload([slow, FAST], terms()))  # nothing is assumed
    late = decide_workload([mid], terms(deadline_h=3.5))
    assert flips(late)[("one_off", "above")] == (1800.0, None)
    far = candidate("mid", 1000 / 3, "0.30", one_off=assumed(60))  # twenty times as long: another assumption
    assert ("one_off", "above") not in flips(decide_workload([slow, far], terms()))


def test_a_longer_job_misses_the_deadline():
    # slow needs 10 h for 3.6 M: with 20 h it does 7.2 M
    assert flips(decide_workload([SLOW, FAST], terms(deadline_h=20)))[("job", "above")] == (7.2e6, "fast")


def test_a_shorter_deadline_needs_the_faster_one_and_a_longer_one_the_cheaper():
    assert flips(decide_workload([SLOW, FAST], terms()))[("deadline", "below")] == (10.0, "fast")
    assert flips(decide_workload([SLOW, FAST], terms(deadline_h=5)))[("deadline", "above")] == (10.0, "slow")


def test_below_every_time_nothing_meets_the_deadline():
    decision = decide_workload([FAST], terms(deadline_h=5))
    assert flips(decision)[("deadline", "below")] == (1.0, None)


def test_more_budget_buys_the_faster_one():
    decision = decide_workload([SLOW, FAST], terms(objective="fastest", budget_usd=Decimal("1.10")))
    assert decision.chosen == "slow"
    assert flips(decision)[("budget", "above")] == (1.25, "fast")


def test_no_price_unseats_the_fastest_without_a_budget():
    assert ("price", "above") not in flips(decide_workload([SLOW, FAST], terms(objective="fastest")))


def test_the_balance_flips_where_cost_times_time_is_equal():
    # slow: 10 USD h. fast at p: p USD h
    decision = decide_workload([SLOW, FAST], terms(objective="balanced"))
    assert decision.chosen == "fast"
    assert flips(decision)[("price", "above")] == (10.0, "slow")


def test_a_loser_says_what_it_needs():
    # fast: 1.25 to 1.00 USD is 20 % cheaper, or 25 % faster
    row = decide_workload([SLOW, FAST], terms()).row("fast")
    assert row.wins_if_price_falls_percent == pytest.approx(20)
    assert row.wins_if_faster_percent == pytest.approx(25)


def test_no_price_helps_a_late_one_but_speed_does():
    # slow: 10 h, must be within 5 h: 100 % faster
    row = decide_workload([SLOW, FAST], terms(deadline_h=5)).row("slow")
    assert row.wins_if_price_falls_percent is None
    assert row.wins_if_faster_percent == pytest.approx(100)


def test_the_winner_needs_nothing():
    row = decide_workload([SLOW, FAST], terms()).row("slow")
    assert (row.wins_if_price_falls_percent, row.wins_if_faster_percent) == (None, None)
