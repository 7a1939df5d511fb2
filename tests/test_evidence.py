"""What the steps of measured cells show, what smaller subsets foretell, and the gate, as a decision sees them."""

from __future__ import annotations

from typing import Any

import pytest

import examples
from test_candidates import ESTIMATE, outcome, prices, repeat, study
from yocobench import config, evidence
from yocobench.candidates import candidate, terms
from yocobench.evidence import Evidence
from yocobench.plan import PlannedCell
from yocobench.selection.decide import decide_workload
from yocobench.selection.equal_work import Run
from yocobench.tracking import RecordedCurve, RecordedRepeat, open_store

pytestmark = pytest.mark.usefixtures("project")


def known(
    instance: str = "m5a.large",
    *repeats: RecordedRepeat,
    curves: dict[str, RecordedCurve] | None = None,
    outcomes: Any = (),
    is_whole: bool = False,
    **spec: Any,
) -> Evidence:
    planned = PlannedCell(spec=examples.spec(instance).model_copy(update=spec), exclusion=None)
    return Evidence(planned, config.instance(instance), repeats, outcomes, curves or {}, is_whole=is_whole)


def made(one: Evidence, references: Any = None, *overrides: str) -> Any:
    return candidate(one, study(*overrides), prices(), lambda _: (ESTIMATE, ""), references)


# --- what was metered and what disturbed it -------------------------------------------------------------------------


def test_energy_is_the_mean_of_the_repeats_that_metered_it():
    repeats = [repeat(100, energy_j_per_million_samples=2000.0), repeat(100, energy_j_per_million_samples=4000.0)]
    assert made(known("m5a.large", *repeats, repeat(100))).energy_j_per_million_samples == 3000
    assert made(known("m5a.large", repeat(100))).energy_j_per_million_samples is None


def test_what_else_used_the_machine_is_told_of_the_worst_repeat():
    repeats = [repeat(100, other_share=0.1), repeat(100, other_share=0.3), repeat(100, other_share=0.01)]
    assert made(known("m5a.large", *repeats)).warnings == (
        "in 2 of 3 repeat(s), other processes took 30 % of the CPU time: stop them and measure again",
    )


def test_a_gpu_that_throttled_reaches_the_decision():
    one = known("g4dn.xlarge", repeat(100), repeat(100, gpu_throttle=("hardware thermal slowdown",)))
    decision = decide_workload([made(one)], terms(study(), examples.spec().workload))
    assert decision.warnings[-1] == (
        "g4dn.xlarge: in 1 of 2 repeat(s), the GPU slowed down (hardware thermal slowdown): "
        "check cooling and power supply"
    )


def test_what_the_repeats_noted_is_told_once_though_its_numbers_differ():
    slow = "input_bound: steps wait {} of their time for the loader"
    eager = "torch.compile was left out, steps ran eagerly: no C++ compiler (g++ is not found; install g++)"
    repeats = [repeat(100, warnings=(eager, slow.format("12 %"))), repeat(100, warnings=(slow.format("9.5 %"),))]
    decision = decide_workload([made(known("m5a.large", *repeats))], terms(study(), examples.spec().workload))
    assert decision.warnings[-2:] == (
        f"m5a.large: in 1 of 2 repeat(s), {eager}",
        f"m5a.large: in 2 of 2 repeat(s), {slow.format('12 %')}",
    )


def test_the_loaders_share_is_the_mean_of_the_repeats():
    repeats = [repeat(100, data_wait_share=0.02), repeat(100, data_wait_share=0.04)]
    decision = decide_workload([made(known("m5a.large", *repeats))], terms(study(), examples.spec().workload))
    assert decision.rows[0].data_wait_share == pytest.approx(0.03)
    assert made(known("m5a.large")).data_wait_share is None


# --- trends -----------------------------------------------------------------------------------------------------


def throttled(**more: Any) -> dict[str, RecordedCurve]:
    """40 steps of 0.1 s, then 20 of 0.2 s, of 100 samples each."""
    return {
        "slow": RecordedCurve(step_times_s=(0.1,) * 40 + (0.2,) * 20),
        "even": RecordedCurve(step_times_s=(0.1,) * 60),
    }


def test_throttling_is_named_and_not_averaged_away():
    repeats = [repeat(750, run_id="slow"), repeat(1000, run_id="even"), repeat(1000, run_id="even")]
    found = made(known("m5a.large", *repeats, curves=throttled()))
    (said,) = found.warnings
    assert said == (
        "in 1 of 3 repeat(s), from step 40 on, steps took 100 % longer: the device throttles or has a busy neighbour; "
        "reckoned with the rate after that, 500.0 tokens/s"
    )
    # 500, 1000 and 1000: mean 833.3; ln 2 / sqrt(3) = 0.400189 x 4.302653 x sqrt(1 + 1/3): a factor of exp(1.988248).
    assert found.rate.samples_per_second == pytest.approx(833.333, abs=1e-3)
    assert found.rate.low_samples_per_second == pytest.approx(114.1126, abs=1e-3)


def test_credits_that_run_out_are_named_on_a_burstable_type_and_in_the_decision():
    one = made(known("t3a.large", repeat(750, run_id="slow"), curves=throttled()))
    decision = decide_workload([one], terms(study(), examples.spec().workload))
    assert any(text.startswith("t3a.large: in 1 of 1 repeat(s), from step 40 on") for text in decision.warnings)
    assert any("CPU credits ran out" in text for text in decision.warnings)


def test_a_warm_up_that_was_too_short_is_left_out_and_the_interval_holds_the_mean():
    times = (0.2,) * 15 + (0.1,) * 45
    one = known("m5a.large", repeat(800, run_id="a"), curves={"a": RecordedCurve(step_times_s=times)})
    found = made(one)
    assert "warm-up was too short" in found.warnings[0]
    assert found.rate.samples_per_second == pytest.approx(1000)
    assert found.rate.low_samples_per_second == 800


def test_a_repeat_with_two_trends_counts_with_the_rate_after_the_last_and_says_so_of_both():
    times = (0.2,) * 15 + (0.1,) * 37 + (0.5,) * 8
    one = known("m5a.large", repeat(561, run_id="a"), curves={"a": RecordedCurve(step_times_s=times)})
    found = made(one)
    assert [text.endswith("reckoned with the rate after that, 200.0 tokens/s") for text in found.warnings] == [True] * 2
    assert found.rate.samples_per_second == pytest.approx(200)  # 100 samples in 0.5 s


def test_even_steps_are_silent():
    assert made(known("m5a.large", repeat(1000, run_id="even"), curves=throttled())).warnings == ()


# --- replays ----------------------------------------------------------------------------------------------------


def test_a_replay_of_another_cell_is_a_warning_and_no_reference():
    said = outcome("ok", "replayed from a recording with another protocol").model_copy(update={"source": "replayed"})
    curves = {"r": RecordedCurve(losses=(5.0,) * 50)}
    one = known("m5a.large", repeat(100, "replayed"), curves=curves, outcomes=(said,))
    assert made(one).warnings == ("replayed from a recording with another protocol",)
    assert evidence.references([one]) == {"smoke": []}
    honest = known("m5a.large", repeat(100, "replayed"), curves=curves)
    assert evidence.references([honest]) == {"smoke": [Run(0, 0, (5.0,) * 50)]}


# --- equal work -------------------------------------------------------------------------------------------------

REFERENCE = {"smoke": [Run(0, 7, (5.0,) * 50), Run(1, 7, (5.0,) * 50)]}


def lower(loss: float) -> Evidence:
    curves = {"r": RecordedCurve(losses=(loss,) * 50)}
    repeats = [repeat(100, repeat=number, warmup_steps=7) for number in (0, 1)]
    return known("m5a.large", *repeats, curves=curves, precision="bf16")


def test_a_run_that_leaves_the_band_cannot_win_and_says_so():
    found = made(lower(6.0), REFERENCE)
    assert (found.status, found.can_be_chosen, found.equal_work) == ("measured", False, False)
    decision = decide_workload([found], terms(study(), examples.spec().workload))
    (row,) = decision.rows
    assert (decision.chosen, row.equal_work, row.could_still_win) == (None, False, False)
    assert row.why.startswith(
        "cannot be chosen: diverged, not equal work: over steps 8 to 17 after the first its loss is 6, fp32's 5"
    )


def test_a_run_in_the_band_can():
    assert (made(lower(5.05), REFERENCE).equal_work, made(lower(5.05), REFERENCE).can_be_chosen) == (True, True)


def test_without_a_reference_of_that_subset_nothing_is_said():
    for references in (None, {}, {"full": REFERENCE["smoke"]}):
        found = made(lower(6.0), references)
        assert (found.equal_work, found.can_be_chosen) == (None, True)


def test_a_run_in_the_reference_precision_is_not_judged():
    one = known("m5a.large", repeat(100), curves={"r": RecordedCurve(losses=(6.0,) * 50)})
    assert made(one, REFERENCE).equal_work is None


# --- subset to full ---------------------------------------------------------------------------------------------


def row_of(rates: dict[int, float], source: Any = "measured", is_whole: bool = False) -> Evidence:
    """One cell a subset of so many items, each with a repeat at its rate."""
    cells = [
        known(
            "m5a.large",
            repeat(rate, source, step_time_relative_half_width=0.01),
            subset=f"s{items}",
            dataset_items=items,
            is_whole=is_whole and items == max(rates),
        )
        for items, rate in rates.items()
    ]
    return evidence.largest(cells)


# seconds = (items + 500) / 100: rates 50, 66.7, 88.9 and 97.0, towards a ceiling of 100
RISING = {n: n * 100 / (n + 500) for n in (500, 1000, 4000, 16_000)}


def test_a_rate_that_still_rises_is_extrapolated_to_the_job_and_marked():
    found = made(row_of(RISING), None, "job.tokens=99500")
    assert (found.status, found.rate.source, found.rate.is_measured) == ("estimated", "extrapolated", False)
    assert found.rate.samples_per_second == pytest.approx(99_500 / 1000)  # (99,500 + 500) / 100 s
    # The fit is exact, so the interval is that of the largest subset, 1 %, and holds what was measured there.
    assert found.rate.high_samples_per_second == pytest.approx(99.5 * 1.01)
    assert found.rate.low_samples_per_second == pytest.approx(RISING[16_000])
    assert found.rate.calibrated_on == "subsets s500, s1000, s4000, s16000; 0.0 % off on s16000"
    decision = decide_workload([found], terms(study("job.tokens=99500"), examples.spec().workload))
    assert (decision.verdict, decision.rows[0].source) == ("provisional", "extrapolated")
    assert "m5a.large is itself only extrapolated" in decision.sentence


def test_the_whole_split_needs_no_extrapolation():
    found = made(row_of(RISING, is_whole=True))
    assert (found.rate.source, found.rate.samples_per_second) == ("measured", RISING[16_000])


def test_two_subsets_keep_the_measured_rate_and_state_the_error():
    # 1,000 items at 100/s foretell 100/s; 90/s were measured on 10,000: 90 / 100 = 10 % less time.
    one = row_of({1000: 100, 10_000: 90})
    found = made(one)
    assert (found.rate.source, found.rate.samples_per_second) == ("measured", 90)
    fit = evidence.subset_fit(one)
    assert fit is not None
    assert fit.line(1e6) == (
        "yoco-lm on m5a.large: from s1000, ~100.0 tokens/s on s10000; measured there 90.0, so 10.0 % off; "
        "the job is reckoned with the rate on s10000"
    )


def test_one_subset_changes_nothing():
    one = row_of({1000: 100})
    assert evidence.subset_fit(one) is None
    assert made(one).rate.samples_per_second == 100


def test_replayed_and_measured_subsets_are_not_fitted_together():
    small = known("m5a.large", repeat(100, "replayed"), subset="a", dataset_items=100)
    large = known("m5a.large", repeat(90), subset="b", dataset_items=1000)
    assert evidence.subset_fit(evidence.largest([small, large])) is None


def test_the_largest_subset_with_a_number_counts():
    small, large = known("m5a.large", repeat(100), subset="a"), known("m5a.large", subset="b")
    assert evidence.largest([small, large]).planned.spec.subset == "a"
    assert evidence.largest([known(subset="a"), known(subset="b")]).planned.spec.subset == "b"


# --- from the store ---------------------------------------------------------------------------------------------


def test_step_times_and_losses_come_back_from_the_store_in_their_order(tracked):
    store = open_store(tracked)
    store.log_receipt(examples.receipt((examples.repeat(0, 0.5, losses=(9.0, 7.0, 8.0, 6.0)),)), None, ())
    key = examples.spec().key
    (one,) = store.fetch_repeats([key])[key]
    found = store.fetch_curves([one.run_id, one.run_id])
    assert found == {one.run_id: RecordedCurve(step_times_s=(0.5,) * 4, losses=(9.0, 7.0, 8.0, 6.0))}
