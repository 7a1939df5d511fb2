"""From runs, facts and prices to a candidate: which number counts, what it is billed, why it cannot be chosen."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

import examples
from yocobench import config
from yocobench.candidates import candidate, terms
from yocobench.evidence import Evidence, measured_rate
from yocobench.plan import PlannedCell
from yocobench.pricelist import SCHEMA, PriceList
from yocobench.schema import Study
from yocobench.selection.decide import decide_workload
from yocobench.selection.eligibility import Exclusion
from yocobench.selection.model import Candidate, Rate, Shared
from yocobench.tracking import RecordedOutcome, RecordedRepeat

pytestmark = pytest.mark.usefixtures("project")
DAY = dt.date(2026, 7, 20)
RETIRED = Exclusion(outcome="excluded", reason="retired: gone", source="the provider", as_of=DAY)
ESTIMATE = Rate(samples_per_second=10, low_samples_per_second=5, high_samples_per_second=20, source="estimated")
ASSUMED = [
    "region=us-east-1", "usage_class=on-demand", "assume.boot_s=60", "assume.setup_s=240",
    "assume.compile_s=0", "assume.neuron_compile_s=1200", "assume.spread=2.0", "assume.volume_gib=73",
    "protocol.repeats=3", "protocol.max_measure_s=25",
]  # fmt: skip


def study(*overrides: str) -> Study:
    return config.study([*ASSUMED, *overrides])


def prices(**more: Any) -> PriceList:
    """One hour at 0.36 USD for each type, 0.10 USD per GB-month of gp3."""
    origin = {"source": "made up for tests", "as_of": DAY}
    place = {"region": "us-east-1", "usage_class": "on-demand", "price_usd_per_hour": "0.36"}
    rows = [{"instance_type": name, **place, **origin} for name in ("m5a.large", "t3a.large", "trn1.2xlarge")]
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "as_of": DAY,
        "currency": "USD",
        "prices": rows,
        "storage": [{"kind": "gp3", "region": "us-east-1", "price_usd_per_gb_month": "0.10", **origin}],
        "public_ipv4": None,
    }
    return PriceList.model_validate(fields | more)


def repeat(per_second: float, source: Any = "measured", **more: Any) -> RecordedRepeat:
    fields: dict[str, Any] = {
        "run_id": "r",
        "cell_key": "k",
        "receipt_sha256": "s",
        "repeat": 0,
        "source": source,
        "recorded_at": "2026-01-02T03:04:05+00:00",
        "samples_per_second": per_second,
        "samples_per_step": 100,
        "num_steps": 60,
        "step_time_mean_s": 100 / per_second,
        "heldout": {},
    }
    return RecordedRepeat(**(fields | more))


def outcome(name: Any, reason: str = "because", num_repeats: int = 0) -> RecordedOutcome:
    at = "2026-01-02T03:04:05+00:00"
    return RecordedOutcome(
        run_id="r", outcome=name, reason=reason, source="measured", recorded_at=at, num_repeats=num_repeats
    )


def made(
    instance: str = "m5a.large",
    *repeats: RecordedRepeat,
    outcomes: tuple[RecordedOutcome, ...] = (),
    exclusion: Exclusion | None = None,
    estimate: tuple[Rate | None, str] = (ESTIMATE, ""),
    asked: Study | None = None,
    priced: PriceList | None = None,
    **spec: Any,
) -> Candidate:
    """The candidate that comes of it."""
    planned = PlannedCell(spec=examples.spec(instance).model_copy(update=spec), exclusion=exclusion)
    evidence = Evidence(planned, config.instance(instance), repeats, outcomes)
    return candidate(evidence, asked or study(), priced or prices(), lambda _: estimate)


# --- which number counts ----------------------------------------------------------------------------------------


def test_a_measured_number_beats_a_replayed_one_and_an_estimate():
    found = made("m5a.large", repeat(50, "replayed"), repeat(100), repeat(50, "replayed"), repeat(100))
    assert found.rate is not None
    assert (found.status, found.rate.source, found.rate.samples_per_second) == ("measured", "measured", 100)
    assert (found.rate.calibrated_on, found.rate.degrees_of_freedom) == ("2 repeat(s)", 1)


def test_a_replayed_number_beats_an_estimate_and_keeps_its_name():
    found = made("m5a.large", repeat(50, "replayed"))
    assert found.rate is not None
    assert (found.status, found.rate.source, found.rate.samples_per_second) == ("measured", "replayed", 50)


def test_replays_of_one_recording_do_not_pool():
    # Each forced `dvc repro` replays the recording once more: its two repeats stay two, those of the last receipt.
    first = [repeat(50, "replayed", receipt_sha256="a", repeat=number) for number in (0, 1)]
    again = [
        repeat(100, "replayed", receipt_sha256="b", repeat=number, recorded_at="2026-01-03T00:00:00+00:00")
        for number in (0, 1)
    ]
    found = made("m5a.large", *again, *first)
    assert found.rate is not None
    assert (found.rate.samples_per_second, found.rate.calibrated_on) == (100, "2 repeat(s)")


def test_an_estimate_stands_where_nothing_was_run():
    found = made(outcomes=(outcome("unmeasured"), outcome("interrupted")))
    assert (found.status, found.rate, found.reason) == ("estimated", ESTIMATE, "")


def test_no_number_at_all_is_unmeasured_with_the_estimators_reason():
    found = made(estimate=(None, "no calibration for arm64"))
    assert (found.status, found.rate, found.reason) == ("unmeasured", None, "no calibration for arm64")


def test_a_failure_is_no_estimate_and_the_last_one_is_the_reason():
    ended = (outcome("timeout", "900 s"), outcome("out_of_memory", "16 GiB"), outcome("interrupted", "Ctrl-C"))
    found = made(outcomes=ended)
    assert (found.status, found.rate, found.reason) == ("failed", None, "out_of_memory: 16 GiB")


def test_a_failure_in_a_later_run_does_not_take_a_measured_number_away():
    assert made("m5a.large", repeat(100), outcomes=(outcome("killed"),)).status == "measured"


def test_an_exclusion_beats_every_number_and_brings_its_source():
    found = made("m5a.large", repeat(100), exclusion=RETIRED)
    assert (found.status, found.rate, found.reason) == ("excluded", None, "retired: gone")
    assert (found.reason_source, found.reason_as_of, found.measure_bill_usd) == ("the provider", DAY, None)


def test_the_interval_of_repeats_is_students_and_never_reaches_zero():
    # Standard deviation of the logarithms 0.1003773, times 4.302653 x sqrt(1 + 1/3): a factor of exp(0.498702).
    rate = measured_rate([repeat(90), repeat(100), repeat(110)])
    assert rate.samples_per_second == pytest.approx(100)
    assert rate.high_samples_per_second == pytest.approx(164.65826, abs=1e-3)
    assert rate.low_samples_per_second == pytest.approx(60.73184, abs=1e-3)
    assert rate.degrees_of_freedom == 2
    apart = measured_rate([repeat(10), repeat(190)])
    assert (apart.low_samples_per_second, apart.high_samples_per_second) == pytest.approx((0.1, 100_000))


def test_one_repeat_has_the_interval_of_its_steps():
    rate = measured_rate([repeat(100, step_time_relative_half_width=0.25)])
    assert (rate.low_samples_per_second, rate.high_samples_per_second) == (80, 125)
    assert rate.degrees_of_freedom is None


# --- what is paid once ------------------------------------------------------------------------------------------


def test_what_was_not_run_is_assumed_with_its_spread():
    one_off = made().one_off  # 60 s of boot and 240 s of set-up, each half or twice as long
    assert (one_off.total_s, one_off.low_s, one_off.high_s) == (300, 150, 600)
    assert (one_off.assumed_s, one_off.shared) == (300, (Shared(key="boot and set-up", variance_share=0.5),))


def test_what_was_run_adds_its_own_set_up_and_first_step_without_a_spread():
    seen = [repeat(100, setup_s=3.0, first_step_s=7.0), repeat(100, setup_s=5.0), repeat(100, "replayed", setup_s=900)]
    one_off = made("m5a.large", *seen).one_off  # 10 more: the repeat of 5 found compiled code kept
    assert (one_off.total_s, one_off.low_s, one_off.high_s) == (310, 160, 610)


def test_neuron_compiles_once_more_until_it_was_measured():
    found = made("trn1.2xlarge", kind="neuron").one_off  # 300 of 1500 s are boot and set-up; compiling is its own
    assert (found.total_s, found.shared[0].variance_share) == (1500, pytest.approx(0.5 / 25))
    measured = made("trn1.2xlarge", repeat(100, setup_s=0.0, first_step_s=800.0), kind="neuron")
    assert measured.one_off.total_s == 1100


# --- what is paid by the hour -----------------------------------------------------------------------------------


def test_price_storage_and_the_bill_of_a_measurement_are_as_by_hand():
    found = made()
    assert found.price is not None
    assert (found.price.usd_per_hour, found.price.as_of, found.price.region) == (Decimal("0.36"), DAY, "us-east-1")
    assert found.storage_usd_per_hour == Decimal("0.01")  # 73 GiB x 0.10 USD / 730 h
    assert found.burst_surcharge_usd_per_hour == 0
    # 60 + 240 s, three repeats of 25 s and 30 s around each: 465 s at 0.36 + 0.01 USD/h.
    assert round(found.measure_bill_usd, 6) == Decimal("0.047792")


def test_a_public_address_is_paid_for_the_job_and_for_its_measurement():
    address = {"price_usd_per_hour": "0.005", "source": "made up for tests", "as_of": DAY}
    found = made(priced=prices(public_ipv4=address))
    assert found.public_ipv4_usd_per_hour == Decimal("0.005")
    assert found.measure_bill_usd == Decimal("0.0484375")  # 465 s at 0.375 USD/h


def test_a_region_without_a_price_of_storage_has_an_unknown_one():
    origin = {"source": "made up for tests", "as_of": DAY}
    elsewhere = {"kind": "gp3", "region": "eu-west-1", "price_usd_per_gb_month": "0.10", **origin}
    found = made(priced=prices(storage=[elsewhere]))
    assert found.storage_usd_per_hour is None
    said = "no price of storage is known for the region: every cost leaves the EBS volume out"
    assert said in decide_workload([found], terms(study(), examples.spec().workload)).warnings


def test_a_neuron_measurement_pays_for_its_compilation():
    # 465 + 1200 s at 0.37 USD/h.
    assert made("trn1.2xlarge", kind="neuron").measure_bill_usd == Decimal("0.171125")


def test_a_burstable_type_pays_for_credits_above_its_baseline():
    # Two vCPUs at full load with a baseline of 30 %: 2 x 0.7 x 0.05 USD.
    assert made("t3a.large").burst_surcharge_usd_per_hour == Decimal("0.07")


def test_an_unknown_baseline_is_an_unknown_surcharge(project):
    file = project / "conf/instance/t3a.large.yaml"
    file.write_text(file.read_text().replace("baseline_utilization: 0.3", "baseline_utilization: null"))
    assert made("t3a.large").burst_surcharge_usd_per_hour is None


@pytest.mark.parametrize(
    ("now", "low", "high"), [("0.12", "0.10", "0.20"), ("0.08", "0.08", "0.20"), ("0.3", "0.10", "0.3")]
)
def test_a_spot_price_brings_its_band_and_lies_in_it(now, low, high):
    band = {"days": 30, "p5_usd_per_hour": "0.10", "median_usd_per_hour": "0.13", "p95_usd_per_hour": "0.20"}
    row = {"instance_type": "m5a.large", "region": "us-east-1", "zone": "us-east-1a", "usage_class": "spot"}
    origin = {"source": "made up for tests", "as_of": DAY}
    listed = prices(prices=[{**row, "price_usd_per_hour": now, "band": band, **origin}])
    price = made(asked=study("usage_class=spot"), priced=listed).price
    assert price is not None
    assert (price.usd_per_hour, price.low_usd_per_hour, price.high_usd_per_hour) == (
        Decimal(now),
        Decimal(low),
        Decimal(high),
    )


# --- what cannot be chosen --------------------------------------------------------------------------------------


def test_a_priced_type_can_be_chosen():
    found = made("m5a.large", repeat(100))
    assert (found.can_be_chosen, found.reason) == (True, "")


def test_a_type_without_a_price_cannot_be_chosen_and_says_of_which_day():
    found = made("g5.xlarge", repeat(100), kind="cuda")
    assert (found.status, found.price, found.can_be_chosen) == ("measured", None, True)
    assert found.measure_bill_usd is None
    assert found.reason == "no on-demand price in us-east-1 in the snapshot of 2026-07-20"


def test_a_class_without_a_price_says_so():
    assert made(asked=study("usage_class=spot")).reason == "no spot price in us-east-1 in the snapshot of 2026-07-20"


def test_a_region_that_the_snapshot_does_not_know_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match=r"region 'eu-central-1' has no price .* Known: us-east-1\."):
        made(asked=study("region=eu-central-1"))


def test_this_machine_is_measured_but_not_for_rent():
    found = made("local", repeat(100))
    assert (found.status, found.price, found.can_be_chosen, found.measure_bill_usd) == ("measured", None, False, None)
    assert found.reason == "this machine, measured to calibrate: it is not for rent"


@pytest.mark.parametrize(("kind", "is_cpu_only"), [("cpu", True), ("cuda", False), ("neuron", False)])
def test_a_restriction_to_cpus_knows_what_has_none_but_those(kind, is_cpu_only):
    assert made(kind=kind).is_cpu_only is is_cpu_only


def test_a_candidate_carries_the_key_of_its_cell():
    found = made("m5a.large", repeat(100))
    assert found.cell_key == examples.spec("m5a.large").key
    assert (found.workload, found.subset, found.instance) == ("yoco-lm", "smoke", "m5a.large")


def test_of_several_promises_the_one_that_costs_least_in_all_is_shown_and_its_upfront_part_is_spread_over_the_term():
    origin = {"source": "made up for tests", "as_of": DAY, "instance_type": "m5a.large", "region": "us-east-1"}
    year = {**origin, "kind": "reserved", "plan": "standard", "years": 1}
    dear = {**year, "payment": "No Upfront", "price_usd_per_hour": "0.30", "upfront_usd": "0"}
    good = {**year, "payment": "All Upfront", "price_usd_per_hour": "0", "upfront_usd": "1752"}
    long = {**year, "years": 3, "payment": "All Upfront", "price_usd_per_hour": "0", "upfront_usd": "2628"}
    found = made(priced=prices(commitments=[dear, good, long]))
    on_demand, reserved = found.tariffs
    assert (on_demand.paid, on_demand.price.usd_per_hour) == ("on-demand", Decimal("0.36"))
    assert (reserved.paid, reserved.promise) == ("reserved", "1 year, standard, All Upfront")
    assert (reserved.price.usd_per_hour, reserved.promise_usd) == (Decimal("0.2"), Decimal(1752))
