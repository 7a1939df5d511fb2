"""Verdicts and who is chosen. Run: pytest tests/test_selection_decide.py"""

from decimal import Decimal

import pytest

from selection_cases import DAY, candidate, terms, without_number
from yocobench.schema import Restrict
from yocobench.selection import report
from yocobench.selection.decide import decide_workload
from yocobench.selection.model import Background

# 3.6 M samples: slow 10 h and 1.00 USD, middle 2 h and 2.00 USD, fast 1 h and 6.00 USD
SLOW = candidate("slow", 100, "0.10", is_cpu_only=True)
MIDDLE = candidate("middle", 500, "1.00")
FAST = candidate("fast", 1000, "6.00")
THREE = [SLOW, MIDDLE, FAST]


@pytest.mark.parametrize(
    ("objective", "chosen"),
    [("cheapest", "slow"), ("fastest", "fast"), ("balanced", "middle")],  # USD times h: 10, 4, 6
)
def test_each_objective_has_its_winner(objective, chosen):
    decision = decide_workload(THREE, terms(objective=objective))
    assert (decision.verdict, decision.chosen, decision.probability_best) == ("measured", chosen, 1.0)


def test_an_unknown_objective_lists_the_known_ones():
    with pytest.raises(ValueError, match="'greenest'; known: cheapest, fastest, balanced"):
        decide_workload(THREE, terms(objective="greenest"))


def test_the_deadline_rules_out_the_slow_one():
    decision = decide_workload(THREE, terms(deadline_h=5))
    assert decision.chosen == "middle"
    assert decision.row("slow").why == "10.0 h, 100 % over the deadline"


def test_the_budget_rules_out_the_fast_one():
    decision = decide_workload(THREE, terms(objective="fastest", budget_usd=Decimal(5)))
    assert decision.chosen == "middle"
    assert decision.row("fast").why == "6.00 USD, 20 % over the budget"


def test_deadline_and_budget_hold_under_every_objective():
    decision = decide_workload(THREE, terms(objective="cheapest", deadline_h=1.5, budget_usd=Decimal(5)))
    assert decision.verdict == "infeasible"
    assert decision.chosen is None


def test_infeasible_names_the_nearest_miss():
    # over the worse limit: slow 900 %, middle 100 %, fast 20 %
    decision = decide_workload(THREE, terms(deadline_h=1, budget_usd=Decimal(5)))
    assert decision.nearest_miss is not None
    assert decision.nearest_miss.instance == "fast"
    assert decision.nearest_miss.over_percent == pytest.approx(20)
    assert decision.sentence == (
        "Infeasible: nothing meets the limits within 1 h and 5.00 USD. "
        "Nearest miss: fast (6.00 USD, 20 % over the budget)."
    )


def test_measured_says_how_it_compares_with_the_baseline():
    decision = decide_workload(THREE, terms(objective="fastest"))
    assert decision.sentence == (
        "fast is the fastest: 1.00 h and 6.00 USD, 10.0 times as fast as slow at 600 % of its cost, "
        "probability of being the best 100 %."
    )


def test_rivals_within_five_per_cent_of_the_cost_are_named_with_the_fastest_of_them():
    # slow: 10 h, 1.00 USD; near: 1 h at 1.05 USD/h; half: 5 h at 0.206 USD/h, 1.03 USD; dear: 1 h at 1.06 USD/h.
    near, half = candidate("near", 1000, "1.05"), candidate("half", 200, "0.206")
    decision = decide_workload([SLOW, near, half, candidate("dear", 1000, "1.06")], terms())
    assert decision.chosen == "slow"
    said = "Within 5 % of its cost: half and near; the fastest of them, near, takes 1.00 h and costs 0.0500 USD more."
    assert said in decision.sentence


def test_a_single_rival_within_five_per_cent_of_the_time_is_told_with_its_cost():
    # fast: 1 h, 6.00 USD; near: 3.6e6 samples at 960 per second are 1.0417 h, at 2 USD/h 2.083 USD.
    near = candidate("near", 960, "2", source="estimated")
    decision = decide_workload([*THREE, near], terms(objective="fastest"))
    assert decision.chosen == "fast"
    said = "Within 5 % of its time: near, which costs ~2.08 USD and takes ~0.0417 h more."
    assert said in decision.sentence


def test_a_near_rival_that_gains_nothing_is_only_named_and_one_beyond_a_limit_is_not():
    # level: 10.2 h and 1.02 USD, neither cheaper nor faster than slow. near takes 1 h, but its 1.05 USD are too much.
    level, near = candidate("level", 3.6e6 / 36720, "0.10"), candidate("near", 1000, "1.05")
    decision = decide_workload([SLOW, level, near], terms(budget_usd=Decimal("1.04")))
    assert "Within 5 % of its cost: level." in decision.sentence


def test_what_an_answer_rests_on_is_told_with_it_and_changes_nothing():
    told = Background(model="wide", data="data: mine", region="us-east-1", stale_prices=("slow",), warnings=("old",))
    plain, decision = decide_workload(THREE, terms()), decide_workload(THREE, terms(), told)
    assert (decision.model, decision.data, decision.region, decision.stale_prices) == (
        "wide",
        "data: mine",
        "us-east-1",
        ("slow",),
    )
    assert decision.warnings == ("old", *plain.warnings)
    assert decision.rows == plain.rows


def test_an_estimate_that_could_still_win_makes_it_provisional():
    rival = candidate("rival", 90, "0.10", spread=1.5, source="estimated")  # 1.11 USD, 0.74 at best
    decision = decide_workload([*THREE, rival], terms())
    assert (decision.verdict, decision.chosen, decision.too_close_to) == ("provisional", "slow", ("rival",))
    assert "rival could still win and is only estimated" in decision.sentence


def test_an_estimate_that_cannot_win_leaves_it_measured():
    hopeless = candidate("hopeless", 10, "0.10", spread=1.5, source="estimated")  # 10 USD, 6.67 at best
    assert decide_workload([*THREE, hopeless], terms()).verdict == "measured"


def test_an_estimated_winner_is_provisional_even_alone():
    decision = decide_workload([candidate("slow", 100, "0.10", spread=1.1, source="extrapolated")], terms())
    assert decision.verdict == "provisional"
    assert "slow is itself only extrapolated" in decision.sentence


def test_overlapping_measurements_are_too_close_and_say_which_is_cheaper_to_live_with():
    # 1.00 USD each way of 5 %; the dear one is a little better at the median
    close = candidate("close", 1010, "1.00", spread=1.05)
    decision = decide_workload([candidate("slow", 100, "0.10", spread=1.05), close], terms())
    assert (decision.verdict, decision.chosen) == ("too_close", "close")
    assert decision.cheaper_to_live_with == "slow"
    assert decision.sentence.startswith("Too close to call between close and slow: their intervals overlap.")
    assert decision.sentence.endswith("Cheaper to live with, by the hour: slow.")


def test_equal_candidates_share_a_rank_and_the_probability():
    twins = [candidate("twin-a", 100, "0.10"), candidate("twin-b", 100, "0.10")]
    decision = decide_workload([*twins, FAST], terms())
    assert [(row.instance, row.rank, row.p_best) for row in decision.rows] == [
        ("twin-a", 1, 0.5),
        ("twin-b", 1, 0.5),
        ("fast", 3, 0.0),
    ]
    assert decision.verdict == "too_close"
    assert decision.row("twin-b").why == "a tie with twin-a"


def test_an_unmeasured_candidate_without_an_estimate_keeps_it_provisional():
    decision = decide_workload([*THREE, without_number("new", "unmeasured", "no facts to estimate from")], terms())
    assert decision.verdict == "provisional"
    assert decision.sentence.endswith("new has no number.")
    assert [one.instance for one in decision.unmeasured] == ["new"]


def test_nothing_with_a_number_is_provisional_and_says_so():
    decision = decide_workload([without_number("new", "unmeasured", "not run yet")], terms())
    assert (decision.verdict, decision.chosen) == ("provisional", None)
    assert decision.sentence == "Provisional: no candidate has a number yet; to be measured: new."
    assert [one.instance for one in decision.measure_next] == ["new"]


def test_nothing_left_to_choose_is_infeasible():
    decision = decide_workload([without_number("old", "excluded", "retired")], terms())
    assert (decision.verdict, decision.sentence) == ("infeasible", "Infeasible: none of the candidates can be chosen.")


def test_why_nothing_can_be_chosen_is_told_once_for_all_that_share_it():
    barred = [one.model_copy(update={"can_be_chosen": False, "reason": "no spot price"}) for one in THREE[:2]]
    left_out = THREE[2].model_copy(update={"can_be_chosen": False, "reason": "this machine"})
    decision = decide_workload([*barred, left_out], terms())
    names = sorted(one.instance for one in barred)
    told = {f"{' and '.join(names)}: no spot price", f"{left_out.instance}: this machine"}
    words = decision.sentence.removeprefix("Infeasible: none of the candidates can be chosen (").removesuffix(").")
    assert (decision.verdict, set(words.split("; "))) == ("infeasible", told)


def test_exclusions_keep_their_reason_source_and_date():
    old = without_number("inf1", "excluded", "cannot train", reason_source="user guide", reason_as_of=DAY)
    left = decide_workload([SLOW, old], terms()).excluded[0]
    assert (left.instance, left.reason, left.reason_source, left.reason_as_of) == (
        "inf1",
        "cannot train",
        "user guide",
        DAY,
    )


def test_this_machine_has_a_row_but_no_rank():
    local = candidate("local", 10_000, None, can_be_chosen=False)
    row = decide_workload([SLOW, local], terms(objective="fastest")).row("local")
    assert (row.rank, row.cost_usd, row.p_best, row.hours, row.speed_up) == (None, None, None, 0.1, 100.0)


def test_cpu_only_restricts_the_choice_and_keeps_the_rows():
    decision = decide_workload(THREE, terms(objective="fastest", restrict=Restrict(cpu_only=True)))
    assert decision.chosen == "slow"
    assert decision.row("fast").why == "cannot be chosen: restrict.cpu_only leaves it out"


def test_a_list_restricts_the_choice():
    decision = decide_workload(THREE, terms(objective="fastest", restrict=Restrict(instances=("slow", "middle"))))
    assert decision.chosen == "middle"


def test_a_replayed_verdict_says_so():
    decision = decide_workload([candidate("slow", 100, "0.10", source="replayed")], terms())
    assert decision.verdict == "measured"
    assert "(numbers replayed from recorded runs)" in decision.sentence
    assert decision.sources == ("replayed",)


def test_a_missing_baseline_leaves_ratios_unknown():
    decision = decide_workload([MIDDLE], terms())
    assert (decision.rows[0].speed_up, decision.rows[0].cost_ratio) == (None, None)
    assert decision.warnings == ("the baseline slow has no number: no speed-up or cost ratio is stated",)


def test_a_winner_that_may_miss_the_deadline_is_warned_of():
    decision = decide_workload([candidate("slow", 100, "0.10", spread=1.2)], terms(deadline_h=10))
    assert decision.warnings == ("slow meets the limits with a probability of 50 % only",)


def test_two_candidates_of_one_name_are_refused():
    with pytest.raises(ValueError, match="slow given more than once"):
        decide_workload([SLOW, SLOW], terms())


def test_a_loser_says_what_its_speed_and_its_price_do():
    assert (
        decide_workload(THREE, terms()).row("fast").why
        == "10.0 times as fast at 60.0 times the hourly bill: 6.00 times the cost"
    )


# 3.6 M samples, 1 USD/h: sure takes 1 h within a factor of 4, far 16 h within 5: its best case is 3.2 h, sure's worst
# 4 h. So far could still win, though hardly a draw has both that far out.
def test_nobody_is_given_no_chance_whose_interval_leaves_one():
    sure, far = (candidate(*one, source="estimated") for one in (("sure", 1000, "1", 4.0), ("far", 62.5, "1", 5.0)))
    decision = decide_workload([sure, far, candidate("never", 0.1, "1")], terms())
    assert decision.too_close_to == ("far",)
    assert decision.row("never").p_best == 0
    shown = {row.instance: report.cells(row, decision)[6] for row in decision.rows}
    assert shown["never"] == "0 %"
    assert (shown["sure"], shown["far"]) != ("100 %", "0 %")
    made = decision.model_copy(
        update={
            "rows": tuple(row.model_copy(update={"p_best": float(row.instance == "sure")}) for row in decision.rows)
        }
    )
    shown = {row.instance: report.cells(row, made)[6] for row in made.rows}
    assert shown == {"sure": "over 99 %", "far": "under 1 %", "never": "0 %"}


def test_who_is_left_out_for_want_of_a_price_is_named_with_the_answer():
    unpriced = [candidate(name, 5000, None) for name in ("a", "b")]
    here = candidate("here", 50, None, can_be_chosen=False, reason="this machine")
    decision = decide_workload([*THREE, *unpriced, here], terms())
    assert decision.sentence.endswith(" Without a known on-demand price, and so left out: a and b.")
    assert decision.row("a").why == "cannot be chosen: no price is known"
    only = terms(restrict=Restrict(cpu_only=False, instances=("slow", "b")))
    assert decide_workload([*THREE, *unpriced], only).sentence.endswith("and so left out: b.")
    assert "left out" not in decide_workload([*THREE, here], terms()).sentence


def test_several_that_might_still_meet_the_limits_do_so_within_their_intervals():
    slow, slower = candidate("slow", 900, "1", 2.0), candidate("slower", 800, "1", 2.0)
    decision = decide_workload([slow, slower], terms(deadline_h=1))
    assert "Within their intervals, slow and slower might still meet them." in decision.sentence
