"""Bills by hand. Run: pytest tests/test_selection_cost.py"""

from decimal import Decimal

import pytest

from selection_cases import INSTANT, candidate, price, terms
from yocobench.selection import cost, objectives, score
from yocobench.selection.decide import decide_workload
from yocobench.selection.model import OneOff


def test_an_hour_at_3_06_and_150_gib_of_gp3_is_3_0764():
    # gp3: 150 * 0.08 / 730 = 0.016438 USD/h
    storage = cost.storage_usd_per_hour(150, Decimal("0.08"))
    assert storage.quantize(Decimal("0.000001")) == Decimal("0.016438")
    assert cost.cost_usd(3600, Decimal("3.06") + storage).quantize(Decimal("0.0001")) == Decimal("3.0764")


def test_a_start_of_ten_seconds_is_billed_as_a_minute():
    assert cost.cost_usd(10, Decimal("6")) == Decimal("0.1")


def test_seconds_after_the_first_minute_are_billed_singly():
    assert cost.cost_usd(90, Decimal("4")) == Decimal("0.1")


def test_a_busy_t3a_large_pays_seven_cents_of_surplus_credits_an_hour():
    # (1 - 0.3) * 2 vCPU * 0.05
    assert cost.burst_surcharge_usd_per_hour(0.3, 2, Decimal("0.05")) == Decimal("0.07")


def test_an_unknown_credit_baseline_is_no_surcharge_of_zero():
    assert cost.burst_surcharge_usd_per_hour(None, 2, Decimal("0.05")) is None


def test_an_unknown_surcharge_is_warned_of():
    decision = decide_workload([candidate("slow", 1000, "1", burst_surcharge_usd_per_hour=None)], terms())
    assert decision.rows[0].cost_usd == Decimal(1)
    assert "slow: its CPU credit baseline is unknown" in decision.warnings[0]


def test_the_job_adds_one_off_to_steady_time():
    # 3.6 M samples at 1000/s are 3600 s; with 1800 s of boot and compile 1.5 h, at 2.00 + 0.07 + 0.03 USD/h: 3.15 USD
    # and with an address at 0.005 USD/h 0.0075 USD more.
    one = candidate(
        "a", 1000, "2.00", one_off=OneOff(total_s=1800, low_s=1800, high_s=1800),
        storage_usd_per_hour=Decimal("0.03"), burst_surcharge_usd_per_hour=Decimal("0.07"),
    )  # fmt: skip
    scored = score.score(one, terms(), objectives.get("cheapest"))
    assert (scored.one_off_h, scored.steady_h, scored.hours) == (0.5, 1.0, Decimal("1.5"))
    assert scored.cost_usd == Decimal("3.15")
    addressed = one.model_copy(update={"public_ipv4_usd_per_hour": Decimal("0.005")})
    scored = score.score(addressed, terms(), objectives.get("cheapest"))
    assert scored.cost_usd == Decimal("3.1575")
    assert scored.cost_draws is not None
    assert scored.cost_draws[0] == pytest.approx(3.1575)


def test_an_address_of_unknown_price_is_left_out_and_warned_of():
    decision = decide_workload([candidate("slow", 1000, "1", public_ipv4_usd_per_hour=None)], terms())
    assert (decision.rows[0].cost_usd, decision.rows[0].hourly_usd) == (Decimal(1), Decimal(1))
    assert decision.warnings == ("no price of a public IPv4 address is on file: every cost leaves it out",)


def test_spot_is_stretched_by_the_interruption_overhead():
    one = candidate("a", 1000, "1", price=price("0.50", "spot"))
    scored = score.score(one, terms(usage_class="spot", interruption_overhead=0.2), objectives.get("cheapest"))
    assert float(scored.hours) == pytest.approx(1.2)
    assert float(scored.cost_usd or 0) == pytest.approx(0.6)


def test_on_demand_is_not_interrupted_and_says_so_when_spot_was_asked_for():
    asked = terms(usage_class="spot", interruption_overhead=0.2)
    decision = decide_workload([candidate("slow", 1000, "1")], asked)
    assert decision.rows[0].hours == 1.0
    assert decision.warnings == ("slow: no spot price is known; priced on-demand",)


def test_the_interval_of_an_exact_rate_has_no_width():
    scored = score.score(candidate("a", 1000, "1", one_off=INSTANT), terms(), objectives.get("cheapest"))
    assert score.interval(scored.hours_draws, 1.0) == (1.0, 1.0)


def test_a_90_percent_rate_interval_becomes_the_90_percent_interval_of_the_hours():
    one = candidate("a", 1000, "1", spread=1.5, source="estimated")
    scored = score.score(one, terms(), objectives.get("cheapest"))
    assert score.interval(scored.hours_draws, 1.0) == pytest.approx((1 / 1.5, 1.5), rel=2e-3)


def test_a_95_percent_interval_of_a_measured_rate_narrows_to_90_percent():
    # on the log scale, 1.645 / 1.960 of the half-width: 1.5 ** 0.8392 = 1.4053
    scored = score.score(candidate("a", 1000, "1", spread=1.5), terms(), objectives.get("cheapest"))
    assert score.interval(scored.hours_draws, 1.0)[1] == pytest.approx(1.4053, rel=2e-3)


def test_three_repeats_leave_a_t_interval_with_two_degrees_of_freedom():
    # t quantiles for 2 degrees of freedom: 2.920 at 95 %, 4.303 at 97.5 %: 1.5 ** (2.920 / 4.303) = 1.3168
    one = candidate("a", 1000, "1", spread=1.5)
    assert one.rate is not None
    one = one.model_copy(update={"rate": one.rate.model_copy(update={"degrees_of_freedom": 2})})
    scored = score.score(one, terms(), objectives.get("cheapest"))
    assert score.interval(scored.hours_draws, 1.0)[1] == pytest.approx(1.3168, rel=2e-3)


def test_a_spot_price_band_widens_the_cost_but_not_the_time():
    band = price("1", "spot").model_copy(
        update={"low_usd_per_hour": Decimal("0.5"), "high_usd_per_hour": Decimal("1.5")}
    )
    scored = score.score(candidate("a", 1000, "1", price=band), terms(), objectives.get("cheapest"))
    assert scored.cost_draws is not None
    assert score.interval(scored.cost_draws, 1.0) == pytest.approx((0.5, 1.5), rel=2e-3)
    assert score.interval(scored.hours_draws, 1.0) == (1.0, 1.0)
