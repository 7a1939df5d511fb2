"""The yardstick of benchmarks/decision.py itself. Run: pytest tests/test_selection_benchmark.py"""

import pytest

import benchmark_modules


@pytest.fixture(scope="module")
def bench():
    return benchmark_modules.load("decision")


def task(bench, name, old_h, new_h):
    """old at 1 USD/h, new at 3 USD/h; a measurement is 0.1 h."""
    usd = {"old": 1.0, "new": 3.0}
    return bench.Task(name, name, {"old": old_h, "new": new_h}, usd, {"old": 0.1, "new": 0.3})


def test_regret_is_the_share_by_which_the_choice_is_dearer(bench):
    # old 10 USD, new 6 USD: the cheapest per hour is 66.7 % dearer and measured nothing
    got = bench.judge([task(bench, "job", 10, 2)], bench.cheapest_per_hour)
    assert got.regrets == [pytest.approx(2 / 3)]
    assert got.bills == [0]


def test_measuring_everything_has_no_regret_and_the_whole_bill(bench):
    # (6 + 0.1 + 0.3) / 6 - 1
    got = bench.judge([task(bench, "job", 10, 2)], bench.measure_everything)
    assert (got.regrets, got.bills, got.totals) == ([0.0], [1.0], [pytest.approx(0.4 / 6)])


def test_the_estimate_is_the_mean_ratio_of_the_other_jobs(bench):
    # others: new takes a fifth and a twentieth; geometric mean a tenth: 40 h on old, 4 h on new
    others = [task(bench, "a", 10, 2), task(bench, "b", 20, 1)]
    hours, factor = bench.Estimator(others).estimate("new", {"old": 40.0})
    assert hours == pytest.approx(4)
    assert factor > 2


def test_one_other_job_is_no_estimate(bench):
    assert bench.Estimator([task(bench, "a", 10, 2)]).estimate("new", {"old": 40.0}) is None


def test_the_published_tables_are_read_whole(bench):
    assert len(bench.gavel()) == 19
    assert {one.name: len(one.hours) for one in bench.cherrypick()} == {
        "kmeans": 47,
        "spark": 59,
        "terasort": 72,
        "tpcds": 61,
        "tpch": 52,
    }
