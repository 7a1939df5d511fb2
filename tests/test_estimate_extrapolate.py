"""Subset to full."""

import pytest

from yocobench.estimate.extrapolate import Point, fit


def test_one_subset_gives_its_rate_and_no_error():
    found = fit([Point(samples=1000, seconds=10)])
    assert found.samples_per_second == pytest.approx(100)
    assert found.relative_error is None
    assert found.est_seconds(10_000) == pytest.approx(100)


def test_the_error_is_that_of_the_largest_subset_fitted_without_it():
    # 100/s on the small one predicts 100 s for 10,000; 110 s were measured
    found = fit([Point(1000, 10), Point(10_000, 110)])
    assert found.relative_error == pytest.approx(10 / 110)
    # both together: 11,000 samples in 120 s
    assert found.samples_per_second == pytest.approx(11_000 / 120)


def test_a_rate_that_rises_to_a_ceiling_is_fitted_as_one():
    # seconds = (n + 500) / 100 exactly
    points = [Point(n, (n + 500) / 100) for n in (500, 1000, 4000, 16_000)]
    found = fit(points)
    assert found.samples_per_second == pytest.approx(100)
    assert found.half_samples == pytest.approx(500)
    assert found.relative_error == pytest.approx(0, abs=1e-9)
    assert found.est_seconds(99_500) == pytest.approx(1000)


def test_without_a_measured_subset_there_is_no_extrapolation():
    with pytest.raises(ValueError, match="no measured subset"):
        fit([Point(0, 0)])
