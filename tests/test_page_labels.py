"""Names in the time-against-cost chart: beside their points, clear of each other; limits far away are told."""

from decimal import Decimal

import pytest

from selection_cases import candidate, terms
from yocobench.selection.decide import decide_workload
from yocobench.selection.page import chart, labels


def point(instance, hours, cost, chosen=False):
    ends = {"hours_low": hours, "hours_high": hours, "cost_low": cost, "cost_high": cost}
    return {"instance": instance, "label": instance, "hours": hours, "cost": cost, "chosen": chosen, **ends}


def box(one, at, up):
    """As the renderer draws it, from the same numbers of the font."""
    size = labels.CHARACTER_PX * len(one["label"])
    left = at + one["dx"] - {"left": 0, "center": size / 2, "right": size}[one["align"]]
    return labels.Box(left, left + size, up + one["dy"] - labels.LINE_PX / 2, up + one["dy"] + labels.LINE_PX / 2)


# 1 to 100 h and USD, in 248 x 148 px: 200 px by 100 px inside the padding of 24, so 100 and 50 px a decade.
def test_a_value_stands_where_a_logarithmic_scale_puts_it():
    at, up = labels.Axis([1, 100], 24, 224), labels.Axis([1, 100], 124, 24)
    assert (at(1), at(10), at(100)) == pytest.approx((24, 124, 224))
    assert (up(1), up(10), up(100)) == pytest.approx((124, 74, 24))
    assert labels.Axis([5, 5], 0, 100)(5) == 50
    assert labels.Axis([0, 1, 100], 24, 224)(0) == 24
    assert labels.Axis([0, 0], 24, 224)(0) == 24


def test_alone_a_name_stands_to_the_upper_right_and_at_the_right_edge_to_the_left():
    both = [point("c6i.8xlarge", 1, 1), point("m5a.large", 100, 100)]
    labels.place(both, [], [], 640, 360)
    assert [(one["dx"], one["dy"], one["align"]) for one in both] == [(9, -12, "left"), (-9, -12, "right")]


def test_names_of_points_on_one_spot_do_not_cover_each_other():
    spot = [point(name, 2.0, 3.0) for name in ("g4dn.xlarge", "g6.xlarge", "trn1.2xlarge")]
    shown = [*spot, point("far", 20.0, 30.0)]
    labels.place(shown, [], [], 640, 360)
    at, up = labels.Axis([2, 20], 24, 616), labels.Axis([3, 30], 336, 24)
    boxes = [box(one, at(2.0), up(3.0)) for one in spot]
    assert not any(a.meets(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(one.left >= 0 and one.bottom <= 360 for one in boxes)


def test_of_two_on_one_spot_the_chosen_one_has_the_better_place():
    spot = [point("other", 2.0, 3.0), point("chosen", 2.0, 3.0, chosen=True), point("far", 20.0, 30.0)]
    labels.place(spot, [], [], 640, 360)
    other, chosen = (labels.PLACES.index((one["dx"], one["dy"], one["align"])) for one in spot[:2])
    assert chosen < other


def test_without_points_there_is_nothing_to_place():
    labels.place([], [], [], 640, 360)


# slow takes 100 h and costs 10 USD: a deadline of 200 h is near, one of 301 h too far, as is a budget of 50.
@pytest.mark.parametrize(
    ("deadline_h", "budget_usd", "drawn", "told"),
    [
        (200, Decimal(20), ["deadline 200 h", "budget 20.00 USD"], []),
        (301, Decimal(20), ["budget 20.00 USD"], ["deadline 301 h: beyond the chart"]),
        (301, Decimal(50), [], ["deadline 301 h: beyond the chart, budget 50.00 USD: beyond the chart"]),
        (None, None, [], []),
    ],
)
def test_a_limit_far_from_all_candidates_is_told_not_drawn(deadline_h, budget_usd, drawn, told):
    decision = decide_workload([candidate("slow", 10, "0.1")], terms(deadline_h=deadline_h, budget_usd=budget_usd))
    found = chart.data(decision)
    assert (decision.rows[0].hours, decision.rows[0].cost_usd) == (100, Decimal(10))
    assert [one["text"] for name in ("deadline", "budget") for one in found[name]] == drawn
    assert [one["text"] for one in found["beyond"]] == told
