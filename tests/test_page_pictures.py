"""The smaller charts of results/decision.html, by hand. As drawn: test_page_browser.py."""

from __future__ import annotations

from decimal import Decimal

import pytest

from selection_cases import candidate, terms, without_number
from yocobench.selection.checked import Checked, Rates
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.model import OneOff
from yocobench.selection.page import pictures, strips

HALF_AN_HOUR = OneOff(total_s=1800, low_s=1800, high_s=1800)


@pytest.fixture(scope="module")
def decision() -> Decision:
    """3.6 million images: slow 10 h at 0.10 USD; heavy half an hour of set-up and 1 h at 0.80 USD."""
    slow = candidate("slow", 100, "0.10")
    heavy = candidate("heavy", 1000, "0.80", one_off=HALF_AN_HOUR, source="estimated")
    return decide_workload([slow, heavy], terms(deadline_h=100.5))


def test_the_winner_changes_where_two_bills_are_level_and_where_a_limit_is_met(decision):
    # heavy trains 3.6 million an hour: in the 100 h that the deadline leaves 360 million.
    spans = strips.job_spans(decision)
    assert [(one.start, one.end, one.winner) for one in spans] == [
        (3600.0, pytest.approx(7.2e6), "slow"),
        (pytest.approx(7.2e6), pytest.approx(360e6), "heavy"),
        (pytest.approx(360e6), 3.6e9, None),
    ]
    assert strips.job_words(decision) == (
        "Who wins: up to ~7.20 million images slow, up to ~360 million images heavy, beyond that nothing that fits."
    )
    # ~ where heavy, an estimate, takes part; not at the ends of what is shown.
    bars = strips.winner_by_job(decision)["data"]["values"]
    assert [one["between"] for one in bars] == [
        "3,600 images to ~7.20 million images",
        "~7.20 million images to ~360 million images",
        "~360 million images to 3.60 billion images",
    ]


def test_each_price_that_decides_has_a_strip(decision):
    # slow costs 1.00 USD, heavy 1.20: level where slow's price is 0.12 (+20 %), heavy's 0.667 (-17 %).
    found = strips.price_spans(decision)
    assert list(found) == ["slow", "heavy"]
    assert [(one.end, one.winner) for one in found["slow"]] == [(pytest.approx(1.2), "slow"), (4.0, "heavy")]
    assert [(one.end, one.winner) for one in found["heavy"]] == [(pytest.approx(1 / 1.2), "heavy"), (4.0, "slow")]
    assert strips.price_words(decision) == [
        "Price of slow: up to ~+20 % slow wins, beyond that heavy wins.",
        "Price of heavy: up to ~\N{MINUS SIGN}17 % heavy wins, beyond that slow wins.",
    ]


def test_a_small_change_of_price_reads_as_in_the_sentences():
    # Of 1.00 USD and an hour each: level at +4.5 %; of equals, where either price changes at all.
    other, twin = (
        decide_workload([candidate("a", 1000, "1.00"), candidate("b", 1000, usd)], terms()) for usd in ("1.045", "1.00")
    )
    assert "a wins unless its price rises 4.5 %, to 1.04 USD/h: then b wins" in [
        one.sentence for one in other.sensitivity
    ]
    assert strips.price_words(other)[0] == "Price of a: up to +4.5 % a wins, beyond that b wins."
    assert strips.price_words(twin)[0] == "Price of a: up to +0.0 % a wins, beyond that b wins."


def test_a_price_that_never_decides_has_no_strip_unless_it_is_the_chosen_one():
    dear = candidate("dear", 100, "99")
    alone = decide_workload([candidate("slow", 100, "0.10"), dear], terms())
    assert list(strips.price_spans(alone)) == ["slow"]
    assert strips.price_words(alone) == ["Price of slow: slow wins at each shown."]
    assert strips.job_words(alone) == "slow wins at every length shown."


def test_a_name_has_one_colour_in_both_strips(decision):
    job, price = strips.winner_by_job(decision), strips.winner_by_price(decision)
    assert job is not None
    assert price is not None
    scales = [spec["layer"][0]["encoding"]["color"]["scale"] for spec in (job, price)]
    colours = [dict(zip(scale["domain"], scale["range"], strict=True)) for scale in scales]
    assert colours[1] == {"slow": "var(--chosen)", "heavy": "var(--one)"}
    assert colours[0] == colours[1] | {"nothing that fits": "var(--muted)"}


def test_the_bill_is_drawn_in_its_two_parts(decision):
    spec = pictures.parts(decision)
    assert spec is not None
    drawn = [(one["instance"], one["part"], round(one["usd"], 6), one["bill"]) for one in spec["data"]["values"]]
    assert drawn == [
        ("slow", "one-off", 0.0, "0 USD"),
        ("slow", "steady", 1.0, "1.00 USD"),
        ("heavy", "one-off", 0.4, "~0.400 USD"),
        ("heavy", "steady", 0.8, "~0.800 USD"),
    ]


def test_estimates_are_drawn_over_their_measurements():
    spec = pictures.checks([Checked("w", "here", Rates(100, 120, 60, 240), ""), Checked("w", "gone", None, "no code")])
    assert spec is not None
    [one] = spec["data"]["values"]
    assert (one["cell"], one["ratio"], one["low"], one["high"]) == ("w on here", 1.2, 0.6, 2.4)
    assert pictures.checks([Checked("w", "gone", None, "no code")]) is None


def test_without_anything_to_choose_nothing_is_drawn():
    nothing = decide_workload([without_number("old", "excluded", "retired")], terms(baseline="old"))
    assert (strips.winner_by_job(nothing), strips.winner_by_price(nothing), pictures.parts(nothing)) == (None,) * 3


def test_storage_does_not_change_with_the_price():
    # 1 h at (p + 0.25) USD/h is 2.00 USD, as much as slow, at p = 1.75: 1.4 times today's.
    mine = candidate("fast", 1000, "1.25", storage_usd_per_hour=Decimal("0.25"))
    found = strips.price_spans(decide_workload([mine, candidate("slow", 100, "0.20")], terms()))["fast"]
    assert [(one.end, one.winner) for one in found] == [(pytest.approx(1.4), "fast"), (4.0, "slow")]
