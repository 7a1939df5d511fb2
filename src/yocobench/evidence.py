"""What is known of a cell before estimates: which repeats count, what their steps show, what smaller subsets predict.

Pure: the stages hand it what they read.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from yocobench import remarks
from yocobench.bench import stability
from yocobench.bench.measurement import Outcome, Source
from yocobench.bench.statistics import pooled_rate
from yocobench.estimate import extrapolate
from yocobench.plan import PlannedCell
from yocobench.schema import Instance, Precision
from yocobench.selection.equal_work import Run
from yocobench.selection.model import Rate
from yocobench.tracking import RecordedCurve, RecordedOutcome, RecordedRepeat

REFERENCE: Precision = "fp32"
"""The precision whose loss curves the others are judged by."""

FARTHEST = 1000.0
"""No machine is so many times faster or slower than it was: what two repeats that differ widely would allow."""


def may_pass(outcome: Outcome, num_repeats: int) -> bool:
    """Does that outcome say nothing of the instance type, so that another attempt may end otherwise?

    Nothing was tried; or the box was not to be had (capacity, quota, image), or was lost before a repeat began.
    """
    return outcome in ("unmeasured", "interrupted") or (outcome in ("unavailable", "killed") and num_repeats == 0)


@dataclass(frozen=True)
class Evidence:
    """What is known of one cell before estimates."""

    planned: PlannedCell
    instance: Instance
    repeats: Sequence[RecordedRepeat]
    outcomes: Sequence[RecordedOutcome]
    curves: Mapping[str, RecordedCurve] = field(default_factory=dict)
    """Of its repeats, by run id."""
    smaller: Sequence[Evidence] = ()
    """Of the same instance type, on the smaller subsets of the study."""
    is_whole: bool = False
    """Its subset is the whole training split."""

    @property
    def counted(self) -> Sequence[RecordedRepeat]:
        """The repeats that count: all measured ones; else the latest replay's, since all replay one recording."""
        measured = [one for one in self.repeats if one.source == "measured"]
        if measured or not self.repeats:
            return measured
        latest = max(self.repeats, key=lambda one: one.recorded_at).receipt_sha256
        return [one for one in self.repeats if one.receipt_sha256 == latest]

    @property
    def failures(self) -> Sequence[RecordedOutcome]:
        """What the instance type itself failed at, oldest first."""
        return [one for one in self.outcomes if one.outcome != "ok" and not may_pass(one.outcome, one.num_repeats)]

    @property
    def attempt(self) -> str:
        """How the last attempt ended that got no box to measure on; empty: there was none, or there is a number."""
        tried = [one for one in self.outcomes if one.outcome in ("unavailable", "killed") and one.num_repeats == 0]
        if self.counted or not tried:
            return ""
        last = tried[-1]
        return (
            f"the last attempt to measure it ended {last.outcome} ({last.recorded_at}): {last.reason}; "
            "the next `dvc repro` with `launch: ec2` tries it anew"
        )

    @property
    def boxes_s(self) -> list[float]:
        """Seconds from the launch to the training, of each box of the type that measured this cell or a smaller one."""
        if not self.counted:
            return []
        ended = [one for row in (self, *self.smaller) for one in row.outcomes if one.source == self.counted[0].source]
        return [one.boot_s + one.setup_s for one in ended if one.boot_s is not None and one.setup_s is not None]

    @property
    def recorded_under(self) -> str:
        """For a replay, in what its recording was another cell than this one; empty: in nothing."""
        if not self.counted or self.counted[0].source != "replayed":
            return ""
        said = [one.reason for one in self.outcomes if one.source == "replayed" and one.outcome == "ok"]
        return said[-1] if said else ""

    @property
    def losses(self) -> list[Run]:
        """Loss curves of the counted repeats. None of a replay that was recorded as another cell."""
        known = [(one, self.curves[one.run_id].losses) for one in self.counted if one.run_id in self.curves]
        return (
            [] if self.recorded_under else [Run(one.repeat, one.warmup_steps, curve) for one, curve in known if curve]
        )


def largest(row: Sequence[Evidence]) -> Evidence:
    """Of one instance type's cells, the smallest subset first: the largest one with a number, else the largest."""
    at = next((i for i in reversed(range(len(row))) if row[i].counted), len(row) - 1)
    return replace(row[at], smaller=tuple(one for one in row[:at] if one.counted))


def references(everything: Sequence[Evidence]) -> dict[str, list[Run]]:
    """Loss curves in the reference precision, by subset: a study has one dataset, protocol and seed policy."""
    found: dict[str, list[Run]] = {}
    for one in everything:
        if one.planned.spec.precision == REFERENCE and one.planned.exclusion is None:
            found.setdefault(one.planned.spec.subset, []).extend(one.losses)
    return found


# --- rates ------------------------------------------------------------------------------------------------------


def measured_rate(repeats: Sequence[RecordedRepeat]) -> Rate:
    """Mean throughput over repeats, and the 95 % interval for a further run's (bench/statistics.py)."""
    half = repeats[0].step_time_relative_half_width or 0.0
    return rate_over([r.samples_per_second for r in repeats], half, repeats[0].source)


def rate_over(rates: Sequence[float], step_half_width: float, source: Source) -> Rate:
    """The rate of repeats that ran at these, in samples per second; `step_half_width` counts for a single one."""
    mean, low, high = pooled_rate(rates, step_half_width)
    return Rate(
        samples_per_second=mean,
        low_samples_per_second=max(low, mean / FARTHEST),
        high_samples_per_second=min(high, mean * FARTHEST),
        source=source,
        degrees_of_freedom=len(rates) - 1 or None,
        calibrated_on=f"{len(rates)} repeat(s)",
    )


class Seen(NamedTuple):
    """A trend in the steps of one repeat."""

    run_id: str
    found: stability.Found
    settled_samples_per_second: float
    """Over the steps after the repeat's last trend: the rate that it counts with."""


def seen(evidence: Evidence) -> list[Seen]:
    """Warm-up, throttling and spent credits in the step times of the counted repeats."""
    result = []
    for one in evidence.counted:
        times = evidence.curves.get(one.run_id, RecordedCurve()).step_times_s
        found = stability.trends(times, burstable=evidence.instance.burst is not None)
        if found:
            settled = one.samples_per_step / statistics.fmean(times[stability.settled_at(found) :])
            result += [Seen(one.run_id, each, settled) for each in found]
    return result


def rate(evidence: Evidence) -> Rate:
    """The measured rate. Of a repeat whose steps show a trend, the rate that they settled at: a job is long.

    Whether it would have is not known, so the interval holds the plain mean as well.
    """
    after = {one.run_id: one.settled_samples_per_second for one in seen(evidence)}
    plain = measured_rate(evidence.counted)
    if not after:
        return plain
    settled = measured_rate(
        [
            one.model_copy(update={"samples_per_second": after.get(one.run_id, one.samples_per_second)})
            for one in evidence.counted
        ]
    )
    return settled.model_copy(
        update={
            "low_samples_per_second": min(settled.low_samples_per_second, plain.samples_per_second),
            "high_samples_per_second": max(settled.high_samples_per_second, plain.samples_per_second),
        }
    )


def energy_j_per_million_samples(evidence: Evidence) -> float | None:
    """Mean over the counted repeats whose machine metered it."""
    known = [one.energy_j_per_million_samples for one in evidence.counted]
    metered = [joules for joules in known if joules is not None]
    return statistics.fmean(metered) if metered else None


def data_wait_share(evidence: Evidence) -> float | None:
    """Of the timed steps, the share that waited for the loader; mean over the counted repeats."""
    known = [one.data_wait_share for one in evidence.counted if one.data_wait_share is not None]
    return statistics.fmean(known) if known else None


def warnings(evidence: Evidence) -> tuple[str, ...]:
    """What to keep in mind about the cell's number: trends in its step times (the worst repeat of each kind), other
    work on its machine, what its repeats noted, a recording of another cell, a last attempt that got no box."""
    said = []
    everything = seen(evidence)
    for trend in dict.fromkeys(one.found.trend for one in everything):
        same = [one for one in everything if one.found.trend == trend]
        worst = max(same, key=lambda one: one.found.change)
        said.append(
            f"in {len(same)} of {len(evidence.counted)} repeat(s), {worst.found.text}; reckoned with the rate after "
            f"that, {worst.settled_samples_per_second:,.1f} {evidence.planned.spec.workload.sample_unit}s/s"
        )
    said += remarks.disturbed([one.activity for one in evidence.counted])
    said += remarks.noted([one.warnings for one in evidence.counted])
    if evidence.recorded_under:
        said.append(evidence.recorded_under)
    if evidence.attempt and evidence.planned.exclusion is None and not evidence.failures:
        said.append(evidence.attempt)
    return tuple(said)


# --- subset to full ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SubsetFit:
    """The subsets measured for one instance type, fitted together."""

    evidence: Evidence
    """On the largest one."""
    names: tuple[str, ...]
    """Subsets, the smallest first."""
    est_samples_per_second: float
    """On the largest one, from the others alone."""
    fitted: extrapolate.Extrapolation

    @property
    def sets_rate(self) -> bool:
        """The rate still rises with the subset and the whole was not measured: the job's rate is the fit's."""
        return self.fitted.half_samples > 0 and not self.evidence.is_whole

    @property
    def error(self) -> str:
        """How far off the largest subset was foretold, for people."""
        assert self.fitted.relative_error is not None
        return f"{100 * self.fitted.relative_error:.1f} %"

    def job_rate(self, job_samples: float) -> Rate:
        """Rate on a job of that many samples, as far off to either side as the fit was on the largest subset."""
        measured = rate(self.evidence)
        mean = measured.samples_per_second
        est = job_samples / self.fitted.est_seconds(job_samples)
        off = max(self.fitted.relative_error or 0.0, measured.high_samples_per_second / mean - 1)
        return Rate(
            samples_per_second=est,
            low_samples_per_second=min(est / (1 + off), mean, est),
            high_samples_per_second=max(est * (1 + off), mean, est),
            source="extrapolated",
            calibrated_on=f"subsets {', '.join(self.names)}; {self.error} off on {self.names[-1]}",
        )

    def line(self, job_samples: float) -> str:
        """For the page."""
        spec = self.evidence.planned.spec
        unit = f"{spec.workload.sample_unit}s/s"
        measured = rate(self.evidence)
        text = (
            f"{spec.workload.name} on {spec.instance}: from {', '.join(self.names[:-1])}, "
            f"~{self.est_samples_per_second:,.1f} {unit} on {self.names[-1]}; {measured.source} there "
            f"{measured.samples_per_second:,.1f}, so {self.error} off"
        )
        if self.sets_rate:
            job = self.job_rate(job_samples).samples_per_second
            return f"{text}; the rate still rises with the subset, to ~{job:,.1f} {unit} on the job"
        return f"{text}; the job is reckoned with the rate on {self.names[-1]}"


def subset_fit(evidence: Evidence) -> SubsetFit | None:
    """Fit over the subsets of this instance type; null unless two of different size have numbers of one source.

    Of each subset, one pass over it: its size, and that over its rate.
    """
    row = [one for one in (*evidence.smaller, evidence) if one.counted]
    usable = [
        (one.planned.spec.dataset_items, one) for one in row if one.counted[0].source == row[-1].counted[0].source
    ]
    points = {
        items: (one, extrapolate.Point(items, items / rate(one).samples_per_second))
        for items, one in usable
        if items is not None
    }
    if len(points) < 2:
        return None
    ordered = [points[items] for items in sorted(points)]
    last = ordered[-1][1].samples
    rest = extrapolate.fit([point for _, point in ordered[:-1]])
    return SubsetFit(
        evidence=evidence,
        names=tuple(one.planned.spec.subset for one, _ in ordered),
        est_samples_per_second=last / rest.est_seconds(last),
        fitted=extrapolate.fit([point for _, point in ordered]),
    )
