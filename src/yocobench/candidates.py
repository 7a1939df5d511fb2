"""From runs, facts and prices to the candidates of a decision. Reads nothing itself: the stages hand it what they read.

A measured number beats a replayed one, and either beats an estimate. All repeats with the cell's key count, whoever
logged them: equal keys are equal work (schema.CellSpec.key). What was measured in a lower precision must keep to the
loss curve of the reference precision, where that was measured (selection/equal_work.py).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

from yocobench import evidence as evidences
from yocobench.evidence import REFERENCE, Evidence
from yocobench.plan import PlannedCell
from yocobench.pricelist import HOURS_PER_YEAR, PriceList
from yocobench.schema import Instance, Study, UsageClass, WorkloadConfig
from yocobench.selection import cost, eligibility, equal_work
from yocobench.selection.model import Candidate, OneOff, Price, Rate, Shared, Status, Tariff, Terms

REPEAT_OVERHEAD_S = 30.0
"""Set-up and evaluation of a repeat, for the bill of a measurement that has not been made."""

BOXES_ALIKE = 0.5
"""Of the variance of an assumed boot and set-up, what is common to all boxes: they do the same work (image, packages,
dataset), each with its own processor and network. No data tell the two apart; stated."""

Estimator = Callable[[Evidence], tuple[Rate | None, str]]
"""An estimated rate, or none and the reason."""


def terms(study: Study, workload: WorkloadConfig) -> Terms:
    """What the user asks about that workload."""
    return Terms(
        job_samples=study.job.num_samples(workload.sample_unit),
        sample_unit=workload.sample_unit,
        deadline_h=study.job.deadline_h,
        budget_usd=study.job.budget_usd,
        objective=study.objective,
        restrict=study.restrict,
        baseline=study.baseline,
        usage_class=study.usage_class,
        interruption_overhead=study.assume.interruption_overhead,
    )


def candidate(
    evidence: Evidence,
    study: Study,
    prices: PriceList,
    estimator: Estimator,
    references: Mapping[str, Sequence[equal_work.Run]] | None = None,
) -> Candidate:
    """One candidate of a decision. `references`: loss curves in the reference precision, by subset."""
    planned, instance = evidence.planned, evidence.instance
    status, reason, rate = _number(evidence, estimator, study)
    equal, unequal = _equal_work(evidence, references or {})
    exclusion = planned.exclusion
    price = _price(instance, study, prices, study.usage_class)
    one_off = _one_off(evidence, study)
    why_not = "this machine, measured to calibrate: it is not for rent" if instance.detect else ""
    if price is None and not instance.detect:
        why_not = f"no {study.usage_class} price in {study.region} in the snapshot of {prices.as_of}"
    return Candidate(
        instance=instance.name,
        workload=planned.spec.workload.name,
        subset=planned.spec.subset,
        status=status,
        reason=reason or unequal or why_not,
        reason_source=exclusion.source if exclusion else None,
        reason_as_of=exclusion.as_of if exclusion else None,
        rate=rate,
        one_off=one_off,
        price=price,
        tariffs=_tariffs(instance, study, prices),
        storage_usd_per_hour=_storage(study, prices),
        public_ipv4_usd_per_hour=prices.address_usd_per_hour,
        burst_surcharge_usd_per_hour=_burst(instance),
        is_cpu_only=planned.spec.kind == "cpu",
        can_be_chosen=not instance.detect and equal is not False,
        measure_bill_usd=_measure_bill(evidence, study, price, prices),
        cell_key=planned.spec.key,
        equal_work=equal,
        energy_j_per_million_samples=evidences.energy_j_per_million_samples(evidence),
        data_wait_share=evidences.data_wait_share(evidence),
        warnings=(*evidences.warnings(evidence), *_conditions(evidence, study)),
    )


def _conditions(evidence: Evidence, study: Study) -> Iterator[str]:
    """Under which conditions the type trains, and why no box is started for it as the study stands."""
    training = evidence.instance.training
    if evidence.planned.exclusion is not None:
        return
    if training.status == "conditional":
        yield f"trains on conditions only: {training.reason} ({training.source}, as of {training.as_of})"
    wasted = eligibility.times_out(evidence.planned.spec.kind, study)
    if wasted and not evidence.counted:
        yield f"no box would be started to measure it: {wasted}"


def _equal_work(evidence: Evidence, references: Mapping[str, Sequence[equal_work.Run]]) -> tuple[bool | None, str]:
    spec = evidence.planned.spec
    if spec.precision == REFERENCE or evidence.planned.exclusion is not None:
        return None, ""
    return equal_work.judge(evidence.losses, references.get(spec.subset, ()))


def _number(evidence: Evidence, estimator: Estimator, study: Study) -> tuple[Status, str, Rate | None]:
    if evidence.planned.exclusion is not None:
        return "excluded", evidence.planned.exclusion.reason, None
    if evidence.counted:
        fit = evidences.subset_fit(evidence)
        if fit is not None and fit.sets_rate:
            unit = evidence.planned.spec.workload.sample_unit
            return "estimated", "", fit.job_rate(study.job.num_samples(unit))
        return "measured", "", evidences.rate(evidence)
    if evidence.failures:
        return "failed", f"{evidence.failures[-1].outcome}: {evidence.failures[-1].reason}", None
    rate, reason = estimator(evidence)
    if rate is not None:
        return "estimated", "", rate
    return "unmeasured", reason, None


def _one_off(evidence: Evidence, study: Study) -> OneOff:
    """Boot and set-up as boxes of the type took them, build and compilation as the cell did: measured where it ran.

    What no run says is assumed, with the study's spread; so is how much starts differ, where one box was seen. A box of
    `launcher=ec2` says its boot; a run on this machine does not.
    """
    seen = evidence.boxes_s
    box_s = 0.0 if seen else study.assume.boot_s + study.assume.setup_s
    assumed = box_s
    known = [(r.setup_s or 0.0) + (r.first_step_s or 0.0) for r in evidence.counted]
    measured = max(known, default=0.0)  # the repeat that found no compiled code kept, as on a new box
    if not known:
        assumed += _compile_s(evidence.planned, study)
    spread = study.assume.spread
    box = statistics.fmean(seen) if seen else 0.0
    least, most = (min(seen), max(seen)) if len(seen) > 1 else (box / spread, box * spread)
    return OneOff(
        total_s=assumed + measured + box,
        low_s=assumed / spread + measured + least,
        high_s=assumed * spread + measured + most,
        assumed_s=box_s,
        shared=(Shared(key="boot and set-up", variance_share=BOXES_ALIKE * (box_s / assumed) ** 2),) if box_s else (),
    )


def _compile_s(planned: PlannedCell, study: Study) -> float:
    """Of the first step on a new box, where no run says: torch.compile's, or the Neuron compiler's."""
    if planned.spec.kind == "neuron":
        return study.assume.neuron_compile_s
    return 0.0 if planned.spec.workload.compile is False else study.assume.compile_s


def _tariffs(instance: Instance, study: Study, prices: PriceList) -> tuple[Tariff, ...]:
    """On-demand, spot, reserved and Savings Plan, as far as the snapshot has them for the study's region."""
    if instance.detect:
        return ()
    hourly: tuple[UsageClass, ...] = ("on-demand", "spot")
    priced = [(kind, _price(instance, study, prices, kind)) for kind in hourly]
    found = [Tariff(paid=kind, price=price) for kind, price in priced if price is not None]
    for kind in ("reserved", "savings-plan"):
        promise = prices.commitment(instance.name, study.region, kind)
        if promise is None:
            continue
        price = Price(
            usd_per_hour=promise.total_usd / (promise.years * HOURS_PER_YEAR),
            region=promise.region,
            usage_class="on-demand",  # as on-demand, nothing interrupts it
            as_of=promise.as_of,
            source=promise.source,
        )
        found.append(Tariff(paid=promise.kind, price=price, promise=promise.words, promise_usd=promise.total_usd))
    return tuple(found)


def _price(instance: Instance, study: Study, prices: PriceList, usage_class: UsageClass) -> Price | None:
    if instance.detect:
        return None
    found = prices.find(instance.name, study.region, usage_class)
    if found is None:
        return None
    now, band = found.price_usd_per_hour, found.band
    return Price(
        usd_per_hour=now,
        low_usd_per_hour=min(now, band.p5_usd_per_hour) if band else None,
        high_usd_per_hour=max(now, band.p95_usd_per_hour) if band else None,
        region=found.region,
        usage_class=found.usage_class,
        as_of=found.as_of,
        source=found.source,
    )


def _storage(study: Study, prices: PriceList) -> Decimal | None:
    """Null where the region's gp3 price is unknown: the decision says so."""
    for volume in prices.storage:
        if volume.kind == "gp3" and volume.region == study.region:
            return cost.storage_usd_per_hour(study.assume.volume_gib, volume.price_usd_per_gb_month)
    return None


def _burst(instance: Instance) -> Decimal | None:
    if instance.burst is None or instance.hardware is None:
        return Decimal(0)
    burst = instance.burst
    return cost.burst_surcharge_usd_per_hour(
        burst.baseline_utilization, instance.hardware.vcpus, burst.surplus_usd_per_vcpu_hour
    )


def _measure_bill(evidence: Evidence, study: Study, price: Price | None, prices: PriceList) -> Decimal | None:
    """What one measured cell would cost, by the whole hourly bill: boot, set-up, compiling, repeats at their cap."""
    planned = evidence.planned
    if price is None or planned.exclusion is not None:
        return None
    protocol = study.protocol
    seconds = study.assume.boot_s + study.assume.setup_s
    seconds += protocol.repeats * (protocol.max_measure_s + REPEAT_OVERHEAD_S)
    seconds += _compile_s(planned, study)  # once: the next repeats find the code kept
    beside = (_storage(study, prices) or 0) + (prices.address_usd_per_hour or 0) + (_burst(evidence.instance) or 0)
    return cost.cost_usd(seconds, price.usd_per_hour + beside)
