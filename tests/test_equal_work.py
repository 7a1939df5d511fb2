"""The equal-work gate: the band of the reference's loss curves, and who leaves it."""

import math

import pytest

from yocobench.selection.equal_work import judge


def curve(level: float, count: int = 50) -> list[float]:
    return [level] * count


def test_the_band_is_the_prediction_interval_of_one_more_run():
    # Means 3 and 5: mean 4, s = sqrt(2); t(1) at 99 % is 63.657: half = 63.657 x sqrt(2) x sqrt(1.5) = 110.26.
    reference = [curve(3), curve(5)]
    assert judge([curve(4 + 110.2)], reference) == (True, "")
    equal, reason = judge([curve(4 + 110.3)], reference)
    assert equal is False
    assert reason.startswith(
        "diverged, not equal work: over timed steps 1 to 10 its loss is 114.3, outside -106.3 to 114.3, "
    )
    assert reason.endswith("the band of 2 runs in fp32")


def test_the_band_is_never_narrower_than_two_per_cent():
    reference = [curve(5), curve(5), curve(5)]
    assert judge([curve(5.09)], reference)[0] is True
    assert judge([curve(4.91)], reference)[0] is True
    assert judge([curve(5.11)], reference)[0] is False
    assert judge([curve(4.89)], reference)[0] is False


def test_the_mean_over_the_repeats_is_judged():
    # 4.8 and 5.2 are both outside 4.9 to 5.1; their mean is not.
    assert judge([curve(4.8), curve(5.2)], [curve(5), curve(5)])[0] is True


def test_a_curve_that_stops_falling_leaves_the_band_where_it_does():
    falling = [10 - 0.1 * step for step in range(50)]
    stuck = [*falling[:20], *[8.0] * 30]
    equal, reason = judge([stuck], [falling, falling])
    assert equal is False
    # Steps 21 to 30 of the reference: 8.0 down to 7.1, mean 7.55, less and more 2 %.
    assert "over timed steps 21 to 30 its loss is 8, outside 7.399 to 7.701" in reason


def test_a_loss_that_is_no_number_leaves_the_band():
    assert judge([[math.nan] * 50], [curve(5), curve(5)])[0] is False


def test_only_the_steps_that_all_runs_have_are_compared():
    late = [5.0] * 30 + [9.0] * 30
    assert judge([late], [curve(5, 30), curve(5, 60)])[0] is True


@pytest.mark.parametrize(
    ("losses", "reference"),
    [
        ([curve(5)], []),
        ([curve(5)], [curve(5)]),
        ([], [curve(5), curve(5)]),
        ([curve(5, 19)], [curve(5), curve(5)]),
    ],
    ids=["no reference", "one reference run", "no curve", "too few steps"],
)
def test_without_enough_to_compare_nothing_is_said(losses, reference):
    assert judge(losses, reference) == (None, "")
