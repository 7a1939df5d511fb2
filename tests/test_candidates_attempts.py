"""What a candidate owes to how its boxes went: which failures are the type's own, and what a start really took."""

from __future__ import annotations

from decimal import Decimal

import pytest

import examples
from test_candidates import ESTIMATE, RETIRED, made, outcome, repeat, study
from yocobench import config
from yocobench.bench.measurement import Source
from yocobench.tracking import RecordedOutcome, open_store

pytestmark = pytest.mark.usefixtures("project")


@pytest.mark.parametrize("name", ["unavailable", "killed"])
def test_a_box_that_was_not_to_be_had_leaves_the_estimate_and_says_why_it_is_one(name):
    found = made(outcomes=(outcome(name, "over quota"), outcome("unmeasured")))
    assert (found.status, found.rate, found.can_be_chosen) == ("estimated", ESTIMATE, True)
    assert found.warnings == (
        f"the last attempt to measure it ended {name} (2026-01-02T03:04:05+00:00): over quota; the next `dvc repro` "
        "with `launch: ec2` tries it anew",
    )
    none = made(outcomes=(outcome(name, "over quota"),), estimate=(None, "no calibration"))
    assert (none.status, none.reason, none.warnings) == ("unmeasured", "no calibration", found.warnings)
    assert made("m5a.large", repeat(100), outcomes=(outcome(name),)).warnings == ()


def test_a_training_that_was_killed_is_a_failure_of_the_type_whatever_came_after():
    ended = (outcome("killed", "signal 9", num_repeats=1), outcome("unavailable", "no capacity"))
    found = made(outcomes=ended)
    assert (found.status, found.rate, found.reason, found.warnings) == ("failed", None, "killed: signal 9", ())


def box(boot_s: float | None, setup_s: float | None, source: Source = "measured") -> RecordedOutcome:
    return outcome("ok").model_copy(update={"boot_s": boot_s, "setup_s": setup_s, "source": source})


def test_boot_and_set_up_are_those_of_the_boxes_that_measured_it():
    """40 + 110 s and 50 + 150 s: 175 on average, and 10 s of the repeat's own; assumed were 60 + 240 s."""
    seen = repeat(100, setup_s=3.0, first_step_s=7.0)
    found = made("m5a.large", seen, outcomes=(box(40, 110), box(50, 150), box(900, 900, "replayed"), box(None, None)))
    assert (found.one_off.total_s, found.one_off.low_s, found.one_off.high_s) == (185, 160, 210)
    assert (found.one_off.assumed_s, found.one_off.shared) == (0, ())
    here = made("m5a.large", seen, outcomes=(box(None, None),)).one_off  # no box was launched: assumed
    assert (here.total_s, here.low_s, here.high_s) == (310, 160, 610)


def test_a_single_box_does_not_show_how_starts_differ():
    """150 s were seen, with the study's spread of 2: 75 to 300, and 10 s of the repeat's own."""
    found = made("m5a.large", repeat(100, setup_s=3.0, first_step_s=7.0), outcomes=(box(40, 110),)).one_off
    assert (found.total_s, found.low_s, found.high_s) == (160, 85, 310)


def test_a_box_that_brought_no_number_home_sets_no_start():
    assert made(outcomes=(outcome("killed").model_copy(update={"boot_s": 1.0, "setup_s": 2.0}),)).one_off.total_s == 300


def test_the_phases_of_a_box_come_back_from_the_store(tracked):
    store = open_store(tracked)
    launched = examples.receipt()
    phases = {"boot": 41.5, "setup": 110.0, "other": 3.0}
    measurement = launched.measurement.model_copy(update={"phases_s": phases})
    store.log_receipt(launched.model_copy(update={"measurement": measurement}), None, [])
    (found,) = store.fetch_outcomes([launched.cell_key])[launched.cell_key]
    assert (found.boot_s, found.setup_s) == (41.5, 110.0)


def test_a_type_that_trains_on_conditions_says_which_and_that_it_would_time_out():
    asked = study("protocol.timeout_s=900")
    conditions, timing_out = made("trn1.2xlarge", kind="neuron", asked=asked).warnings
    training = config.instance("trn1.2xlarge").training
    assert conditions == f"trains on conditions only: {training.reason} ({training.source}, as of {training.as_of})"
    # 900 s for all else, and a compilation twice as long as the 1200 s assumed
    assert timing_out.startswith("no box would be started to measure it: protocol.timeout_s (900) would end it")
    assert timing_out.endswith("raise protocol.timeout_s in params.yaml to 3300")


def test_time_enough_or_a_number_leaves_the_condition_and_an_exclusion_leaves_nothing():
    patient = made("trn1.2xlarge", kind="neuron", asked=study("protocol.timeout_s=3300"))
    assert [text.partition(":")[0] for text in patient.warnings] == ["trains on conditions only"]
    known = made("trn1.2xlarge", repeat(100), kind="neuron", asked=study("protocol.timeout_s=900"))
    assert [text.partition(":")[0] for text in known.warnings] == ["trains on conditions only"]
    assert made("trn1.2xlarge", kind="neuron", exclusion=RETIRED).warnings == ()


# 300 s of boot and set-up and 80 of compiling, each half or twice as long; the bill of a measurement compiles once.
def test_what_was_not_run_compiles_first_as_what_was_run_did():
    compiling = study("assume.compile_s=80")
    found = made(asked=compiling)
    assert (found.one_off.total_s, found.one_off.low_s, found.one_off.high_s) == (380, 190, 760)
    assert found.one_off.assumed_s == 300
    assert round(found.measure_bill_usd, 6) == Decimal("0.056014")  # 465 + 80 s at 0.36 + 0.01 USD/h
    measured = made("m5a.large", repeat(100, setup_s=3.0, first_step_s=7.0), asked=compiling)
    assert measured.one_off.total_s == 310
    eager = made(asked=compiling, workload=examples.spec().workload.model_copy(update={"compile": False}))
    assert eager.one_off.total_s == 300


def test_the_measurement_of_a_burstable_type_pays_for_its_credits_too():
    # 465 s at 0.36 + 0.01 + 0.07 USD/h.
    assert round(made("t3a.large").measure_bill_usd, 6) == Decimal("0.056833")
