"""The equal-work gate: pairs of equal seed, the band of their differences, who leaves it, and where fp32 comes from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import examples
from plan_cases import TOY, forget
from test_candidates import prices
from yocobench import config, gathering
from yocobench.bench import hardware
from yocobench.estimate.calibration import Calibration
from yocobench.plan import plan_cell
from yocobench.schema import Config
from yocobench.selection.equal_work import Run, judge
from yocobench.tracking import open_store


def run(repeat: int, *levels: float, steps: int = 50, warmup_steps: int = 0) -> Run:
    """Equally many steps at each level."""
    return Run(repeat, warmup_steps, tuple(level for level in levels for _ in range(steps // len(levels))))


def test_seeds_that_differ_widely_from_each_other_do_not_widen_the_band_of_their_pairs():
    reference = [run(0, 4), run(1, 5), run(2, 6)]
    assert judge([run(0, 4.04), run(1, 5.05), run(2, 6.06)], reference) == (True, "")
    # 5 % in each pair; the mean of 4, 5 and 6 is 5, 2 % of it 0.1; differences 0.2, 0.25 and 0.3 deviate by 0.05:
    # t(2) at 99 % is 9.925, half = 9.925 x 0.05 / sqrt(3) = 0.2865 lets a mean of 0.25 pass, but is under 10 %.
    assert judge([run(0, 4.2), run(1, 5.25), run(2, 6.3)], reference) == (True, "")
    # 0.25 in each: no deviation, so 2 % of 5 hold.
    equal, reason = judge([run(0, 4.25), run(1, 5.25), run(2, 6.25)], reference)
    assert equal is False
    assert reason == (
        "diverged, not equal work: over steps 1 to 10 after the first its loss is 5.25, fp32's 5 in 3 pairs of equal "
        "seed, which differ by more than the band of 0.1"
    )


def test_the_mean_difference_is_held_against_its_own_interval():
    # Differences 0.4, 0.5 and 0.6: mean 0.5, deviation 0.1, half = 9.925 x 0.1 / sqrt(3) = 0.573, of 10 it is 5.7 %.
    reference = [run(0, 10), run(1, 10), run(2, 10)]
    assert judge([run(0, 10.4), run(1, 10.5), run(2, 10.6)], reference) == (True, "")
    assert judge([run(0, 10.5), run(1, 10.6), run(2, 10.7)], reference)[0] is False  # 0.6


def test_pairs_that_scatter_too_widely_cannot_tell():
    # Differences 0 and 0.1: t(1) = 63.66, half = 63.66 x 0.0707 / sqrt(2) = 3.18: a third of 10.
    assert judge([run(0, 10), run(1, 10.1)], [run(0, 10), run(1, 10)]) == (None, "")


@pytest.mark.parametrize(("level", "equal"), [(5.09, True), (4.91, True), (5.11, False), (4.89, False)])
def test_the_band_is_never_narrower_than_two_per_cent(level, equal):
    assert judge([run(0, level), run(1, level)], [run(0, 5), run(1, 5)])[0] is equal


def test_runs_of_one_seed_count_as_their_mean():
    reference = [run(0, 5), run(1, 5), run(1, 5.1)]  # 5 and 5.05
    assert judge([run(0, 5.12), run(1, 5.12)], reference)[0] is None  # 0.12 and 0.07 scatter
    assert judge([run(0, 5.05), run(1, 5.10)], reference) == (True, "")


def test_steps_are_compared_by_their_number_in_training_whatever_the_warm_up_took():
    falling = tuple(10 - 0.1 * step for step in range(70))
    reference = [Run(seed, 5, falling[5:65]) for seed in (0, 1)]
    assert judge([Run(seed, 15, falling[15:]) for seed in (0, 1)], reference) == (True, "")
    assert judge([Run(seed, 5, falling[15:]) for seed in (0, 1)], reference)[0] is False  # one later by ten steps


def test_a_curve_that_stops_falling_leaves_the_band_where_it_does():
    falling = tuple(10 - 0.1 * step for step in range(50))
    stuck = (*falling[:20], *[8.0] * 30)
    equal, reason = judge([Run(0, 3, stuck), Run(1, 3, stuck)], [Run(0, 3, falling), Run(1, 3, falling)])
    assert equal is False
    # Steps 21 to 30 of the reference: 8.0 down to 7.1, mean 7.55.
    assert "over steps 24 to 33 after the first its loss is 8, fp32's 7.55 in 2 pairs" in reason


def test_a_loss_that_is_no_number_leaves_the_band():
    assert judge([run(0, math.nan), run(1, 5)], [run(0, 5), run(1, 5)])[0] is False


def test_a_run_that_was_cut_short_does_not_void_the_other_pairs():
    reference = [run(seed, 5) for seed in (0, 1, 2)]
    assert judge([run(0, 6), run(1, 6), run(2, 6, steps=3)], reference)[0] is False


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        ([run(0, 5), run(1, 5)], []),
        ([run(0, 5), run(1, 5)], [run(0, 5)]),
        ([run(0, 5), run(1, 5)], [run(1, 5), run(2, 5)]),
        ([run(0, 5), Run(1, 0, ())], [run(0, 5), run(1, 5)]),
        ([run(0, 5, steps=19), run(1, 5)], [run(0, 5), run(1, 5)]),
        ([run(0, 5, warmup_steps=31), run(1, 5)], [run(0, 5), run(1, 5)]),
    ],
    ids=["no reference", "one pair", "other seeds", "no curve", "too few steps", "too few of the same"],
)
def test_without_enough_to_compare_nothing_is_said(found, reference):
    assert judge(found, reference) == (None, "")


# --- a reference that somebody asked for ------------------------------------------------------------------------


def test_a_run_with_precision_fp32_is_the_reference_of_its_workload_and_is_not_ranked(tracked: Path):
    forget()
    (Path("conf/workload") / "toy.yaml").write_text(TOY.model_dump_json(by_alias=True))
    asked = ["workloads=[toy]", "subsets=[smoke]", "instances=[m5a.large,g5.xlarge]"]
    study = config.study(asked)
    (smoke,) = config.subsets(["smoke"])
    for precision, level in (("fp32", 5.0), (None, 6.0)):
        workload = TOY.model_copy(update={"precision": precision})
        spec = plan_cell(study, workload, smoke, config.instance("g5.xlarge"), hardware.detect(), tracked).spec
        assert spec.precision == (precision or "bf16")
        runs = tuple(examples.repeat(n, steps=50, losses=(level + n,) * 50) for n in (0, 1))
        made = examples.receipt(runs, "g5.xlarge")
        open_store(tracked).log_receipt(made.model_copy(update={"spec": spec, "cell_key": spec.key}), None, ())
    cfg = Config.model_construct(**dict(study))
    (found,) = gathering.gather(cfg, tracked, prices(), Calibration())
    assert [one.instance for one in found.candidates] == ["m5a.large", "g5.xlarge"]
    assert found.candidates[1].equal_work is False
    assert found.candidates[1].rate.samples_per_second == 200
