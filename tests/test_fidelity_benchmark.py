"""The sums of benchmarks/fidelity.py, by hand."""

import pytest

import benchmark_modules
from yocobench.bench.measurement import RepeatResult


@pytest.fixture(scope="module")
def bench():
    return benchmark_modules.load("fidelity")


def repeat(steps: tuple[float, ...], products: tuple[float, ...]) -> RepeatResult:
    """Ten samples a step."""
    return RepeatResult(
        repeat=0,
        outcome="ok",
        started_at="2026-11-23T00:00:00+00:00",
        samples_per_step=10,
        step_times_s=steps,
        data_wait_s=products,
    )


def test_a_host_of_half_the_speed_changes_the_reported_rate_and_not_the_one_at_equal_speed(bench):
    fast, slow = repeat((3.0, 3.0), (1.0, 1.0)), repeat((6.0, 6.0), (2.0, 2.0))
    # 20 samples in 6 s and in 12 s; beside 2 s of products 4 s of steps, beside 4 s 8 s: 10 * 2 / 4 = 10 * 4 / 8
    assert [bench.throughput(one) for one in (fast, slow)] == pytest.approx([10 / 3, 10 / 6])
    assert [bench.at_equal_speed(one) for one in (fast, slow)] == [5.0, 5.0]


def test_a_long_run_is_compared_with_the_pooled_rate_of_the_short_ones_and_its_interval(bench):
    # rates 4 and 6: mean 5, t(0.975, 1) = 12.7062, times ln 1.5 / sqrt(2) times sqrt(1.5): a factor of exp(4.461696)
    short = [repeat((2.5,), (0.5,)), repeat((10 / 6,), (0.5,))]
    found = bench.compare(short, repeat((2.0,), (0.5,)), bench.throughput)
    assert (found.short, found.low, found.long) == pytest.approx((5.0, 0.0577139, 5.0), rel=1e-5)
    assert found.high == pytest.approx(433.17155, rel=1e-5)
    assert (found.inside, found.error) == (True, pytest.approx(0))
    assert not bench.Comparison(5.0, 4.9, 5.1, 4.0).inside
    assert bench.Comparison(5.0, 4.9, 5.1, 4.0).error == pytest.approx(0.25)
