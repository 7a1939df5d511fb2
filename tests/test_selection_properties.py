"""What must hold for any study. Run: pytest tests/test_selection_properties.py"""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from selection_cases import candidate, price, terms
from yocobench.selection import odds, score
from yocobench.selection.decide import decide_workload
from yocobench.selection.model import OneOff
from yocobench.selection.objectives import OBJECTIVES, get

NAMES = ("slow", "a1", "b2", "c3", "d4", "e5")
few = settings(max_examples=25, deadline=None)


@st.composite
def starts(draw):
    """A one-off part, none of it assumed or some of it: the same for all candidates."""
    rest, assumed = draw(st.sampled_from([0, 300, 2400])), draw(st.sampled_from([0, 300]))
    return OneOff(total_s=rest + assumed, low_s=0, high_s=4000, assumed_s=assumed)


@st.composite
def studies(draw):
    """Up to six candidates and the terms; some estimated, some equal."""
    count = draw(st.integers(1, len(NAMES)))
    made = [
        candidate(
            name,
            draw(st.sampled_from([50, 100, 200, 400, 1000, 3000])),
            str(draw(st.decimals("0.05", "40", places=4))),
            spread=draw(st.sampled_from([1.0, 1.02, 1.3, 2.5])),
            source=draw(st.sampled_from(["measured", "estimated", "replayed"])),
            one_off=draw(starts()),
            is_cpu_only=draw(st.booleans()),
        )
        for name in NAMES[:count]
    ]
    asked = terms(
        objective=draw(st.sampled_from(sorted(OBJECTIVES))),
        job_samples=draw(st.sampled_from([1e3, 1e6, 3.6e6, 1e8])),
        deadline_h=draw(st.none() | st.floats(0.1, 100)),
        budget_usd=draw(st.none() | st.decimals("0.1", "500", places=2)),
    )
    return made, asked


def assuming(one_off, seconds):
    rest = one_off.total_s - one_off.assumed_s
    total = rest + seconds if one_off.assumed_s else rest
    return OneOff(total_s=total, low_s=0, high_s=1e6, assumed_s=seconds if one_off.assumed_s else 0)


def cheaper(one, factor):
    assert one.price is not None
    lower = (one.price.usd_per_hour * Decimal(str(factor))).quantize(Decimal("0.000001"))
    return one.model_copy(update={"price": price(str(lower))})


def odds_of(made, asked):
    return odds.odds([score.score(one, asked, get(asked.objective)) for one in made], asked)


@few
@given(studies(), st.floats(0.2, 1))
def test_a_cheaper_price_never_makes_an_instance_worse(study, factor):
    made, asked = study
    name = made[0].instance
    changed = [cheaper(made[0], factor), *made[1:]]
    before, after = (decide_workload(each, asked).row(name) for each in (made, changed))
    assert after.rank <= before.rank
    assert after.cost_usd <= before.cost_usd
    assert after.p_meets_limits >= before.p_meets_limits
    assert after.p_best >= before.p_best
    assert after.meets_limits >= before.meets_limits


@few
@given(studies(), st.floats(1, 10))
def test_a_later_deadline_never_removes_a_feasible_choice(study, factor):
    made, asked = study
    later = asked.model_copy(update={"deadline_h": None if asked.deadline_h is None else asked.deadline_h * factor})
    before, after = decide_workload(made, asked), decide_workload(made, later)
    meets = {row.instance for row in after.rows if row.meets_limits}
    assert {row.instance for row in before.rows if row.meets_limits} <= meets
    assert (after.chosen is not None) or (before.chosen is None)


@few
@given(studies(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(study, random):
    made, asked = study
    shuffled = list(made)
    random.shuffle(shuffled)
    assert decide_workload(shuffled, asked) == decide_workload(made, asked)


@few
@given(studies(), st.sampled_from([Decimal("0.01"), Decimal(10), Decimal(1000)]))
def test_the_currency_does_not_matter(study, scale):
    made, asked = study
    scaled = [
        one.model_copy(update={"price": one.price.model_copy(update={"usd_per_hour": one.price.usd_per_hour * scale})})
        for one in made
        if one.price is not None
    ]
    budget = None if asked.budget_usd is None else asked.budget_usd * scale
    before = decide_workload(made, asked)
    after = decide_workload(scaled, asked.model_copy(update={"budget_usd": budget}))
    assert [(row.instance, row.rank) for row in after.rows] == [(row.instance, row.rank) for row in before.rows]
    assert after.chosen == before.chosen


@few
@given(studies())
def test_ties_are_ties(study):
    made, asked = study
    twin = made[0].model_copy(update={"instance": "twin"})
    decision = decide_workload([*made, twin], asked)
    assert decision.row("twin").rank == decision.row(made[0].instance).rank
    assert decision.row("twin").on_front == decision.row(made[0].instance).on_front


@few
@given(studies())
def test_the_chosen_one_could_win_and_meets_the_limits(study):
    made, asked = study
    decision = decide_workload(made, asked)
    if decision.chosen is None:
        assert decision.verdict == "infeasible"
    else:
        row = decision.row(decision.chosen)
        assert row.rank == 1
        assert row.meets_limits
        assert row.could_still_win


@few
@given(studies())
def test_odds_are_odds_and_regret_is_not_negative(study):
    made, asked = study
    chances = odds_of(made, asked).values()
    assert sum(one.p_best for one in chances) <= 1 + 1e-9
    assert all(one.expected_regret >= 0 and one.worth_of_measuring >= 0 for one in chances)


@few
@given(studies())
def test_no_verdict_calls_an_estimated_winner_measured(study):
    made, asked = study
    decision = decide_workload(made, asked)
    if decision.verdict in ("measured", "too_close"):
        assert "estimated" not in decision.sources


@few
@given(studies())
def test_every_stated_flip_is_one(study):
    made, asked = study
    decision = decide_workload(made, asked)
    for one in decision.sensitivity:
        beyond = one.at * (1 + 1e-5 if one.direction == "above" else 1 - 1e-5)
        changed = made
        if one.kind == "price":
            changed = [
                each.model_copy(update={"price": price(f"{beyond:.12f}")}) if each.instance == decision.chosen else each
                for each in made
            ]
        if one.kind == "one_off":
            changed = [each.model_copy(update={"one_off": assuming(each.one_off, beyond)}) for each in made]
        fields = {"job": "job_samples", "deadline": "deadline_h", "budget": "budget_usd"}
        value = Decimal(f"{beyond:.12f}") if one.kind == "budget" else beyond
        moved = asked.model_copy(update={fields[one.kind]: value}) if one.kind in fields else asked
        assert decide_workload(changed, moved).chosen == one.winner
