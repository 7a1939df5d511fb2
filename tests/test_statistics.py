import math

import numpy as np
import pytest

from yocobench.bench.measurement import Measurement, RepeatResult
from yocobench.bench.statistics import (
    harness_share,
    mean_interval,
    outliers,
    pooled_rate,
    relative_half_width,
    summarize,
    throughput,
)


def repeat(number, step_times_s, **more):
    return RepeatResult(
        repeat=number,
        outcome="ok",
        started_at="2026-11-23T00:00:00+00:00",
        step_times_s=tuple(step_times_s),
        samples_per_step=100,
        **more,
    )


def test_throughput_is_all_samples_over_all_seconds():
    # 3 steps of 100 samples in 0.5 + 1.0 + 0.5 s: 300 / 2; the mean of the rates (166.7) would be wrong
    assert throughput(repeat(0, [0.5, 1.0, 0.5])) == 150.0


def test_interval_of_three_values_uses_students_t():
    # mean 20, standard deviation 10, t(0.975, 2) = 4.30265: half width 4.30265 * 10 / sqrt(3) = 24.8414
    mean, low, high = mean_interval([10.0, 20.0, 30.0])
    assert (mean, low, high) == pytest.approx((20.0, -4.8414, 44.8414), abs=1e-3)


def test_a_further_run_is_less_certain_than_the_mean_of_those_seen():
    # The logarithms' sd 0.01 times t(0.975, 2) = 4.30265 times sqrt(1 + 1/3) = 1.154701 is 0.0496846, a factor of
    # 1.0509396; of the mean alone it would be half of that: 1.0251534.
    mean, low, high = pooled_rate([99.0, 100.0, 101.0], step_half_width=0.0)
    assert (mean, low, high) == pytest.approx((100.0, 95.152947, 105.09396), abs=1e-4)


def test_the_interval_of_three_repeats_holds_the_next_run_19_times_in_20():
    draws = np.random.default_rng(7).normal(100, 2, size=(4000, 4))
    inside = [low <= row[3] <= high for row in draws for _, low, high in [pooled_rate(row[:3], 0.0)]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)  # 0.0034 is one standard error
    # By the interval of the mean it would be 0.835: P(|t(2)| < 4.30265 / sqrt(3) / sqrt(4/3))
    of_mean = [low <= row[3] <= high for row in draws for _, low, high in [mean_interval(row[:3].tolist())]]
    assert np.mean(of_mean) == pytest.approx(0.835, abs=0.02)


def test_one_repeat_takes_the_interval_of_its_steps():
    mean, low, high = pooled_rate([100.0], step_half_width=0.25)
    assert (mean, low, high) == pytest.approx((100.0, 80.0, 125.0), rel=1e-4)


def test_half_width_of_alternating_steps_counts_every_step():
    # 1, 3, 1, 3: negative autocorrelation is not credited. sd 1.1547, t(0.975, 3) = 3.18245,
    # 3.18245 * 1.1547 / 2 / 2 = 0.91869
    assert relative_half_width([1.0, 3.0, 1.0, 3.0]) == pytest.approx(0.91869, rel=1e-4)


def test_half_width_grows_when_steps_drift():
    drifting = [1.0 + 0.01 * i for i in range(40)]
    shuffled = [drifting[(i * 17) % 40] for i in range(40)]
    assert relative_half_width(drifting) > 3 * relative_half_width(shuffled)


def test_a_slow_swing_that_neighbouring_steps_do_not_show_widens_the_interval():
    # Steps alternate by 1 about batches of ten that alternate by 1: the lag-one correlation is negative; by it alone
    # the half width would be t(0.975, 99) x sqrt(200 / 99) / sqrt(100) / 10 = 0.0282. The ten batch means are 9 and 11:
    # sd 1.05409, t(0.975, 9) = 2.26216, 2.26216 x 1.05409 / sqrt(10) / 10 = 0.075406.
    swinging = [10 + (1 if (i // 10) % 2 else -1) + (1 if i % 2 else -1) for i in range(100)]
    assert relative_half_width(swinging) == pytest.approx(0.075406, rel=1e-4)
    assert relative_half_width(swinging[:36]) < 0.06  # too few to cut into ten


def test_outliers_are_counted_by_the_mad_rule():
    # median 10, absolute deviations 0 or 1 (median 1): outside 10 +- 5 x 1.4826
    steps = [9.0, 9.0, 10.0, 11.0, 11.0]
    assert outliers([*steps, *steps, 17.3]) == 0
    assert outliers([*steps, *steps, 17.5]) == 1
    assert outliers([0.1] * 9) == 0


def test_the_harness_share_is_what_the_loop_spent_outside_its_steps():
    assert harness_share(repeat(0, [1.0, 2.0], harness_s=1.0)) == 0.25
    assert harness_share(repeat(0, [1.0, 2.0])) is None


def test_too_few_steps_have_no_interval_and_equal_steps_a_width_of_zero():
    assert relative_half_width([1.0, 1.1]) == math.inf
    assert relative_half_width([0.2] * 5) == 0.0


def test_summary_pools_the_good_repeats_and_leaves_out_the_failed_one():
    good = [
        repeat(
            0, [1.0, 1.0], data_wait_s=(0.1, 0.1), import_s=2.0, build_s=1.0, peak_memory_bytes=5, losses=(3.0, 2.0)
        ),
        repeat(
            1, [0.5, 0.5], data_wait_s=(0.0, 0.1), import_s=3.0, build_s=2.0, peak_memory_bytes=7, losses=(3.0, 4.0)
        ),
    ]
    bad = good[0].model_copy(update={"outcome": "killed", "step_times_s": (9.0,)})
    summary = summarize(Measurement(outcome="ok", source="measured", detected=None, repeats=(*good, bad)))
    assert summary.repeats_ok == 2
    assert summary.samples_per_second == 150.0  # mean of 100 and 200
    # sd ln 2 / sqrt(2), t(0.975, 1) = 12.7062, sqrt(1.5): 150 / exp(7.62732). Two repeats tell next to nothing.
    assert summary.samples_per_second_low == pytest.approx(0.0730447, rel=1e-5)
    assert summary.step_time_median_s == 0.75
    assert summary.data_wait_share == pytest.approx(0.3 / 3.0)
    assert summary.setup_s == 4.0  # median of 3 and 5
    assert summary.peak_memory_bytes == 7
    assert summary.final_loss == 3.0  # mean of 2 and 4


def test_nothing_measured_gives_nulls_not_zeros():
    summary = summarize(Measurement(outcome="unmeasured", source="measured", detected=None))
    assert summary.repeats_ok == 0
    assert summary.samples_per_second is None
    assert summary.peak_memory_bytes is None
