"""From step times to a throughput with an interval. Pure: no torch, no files.

The unit of replication is the repeat (a process of its own): steps inside one process share its memory layout,
its clock and its neighbours, so their spread alone would promise too much (Kalibera & Jones, "Rigorous benchmarking
in reasonable time", ISMM 2013). With one repeat only the steps are left, and the interval says less than it seems.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from yocobench.bench.measurement import Measurement, RepeatResult
from yocobench.schema import Frozen

CONFIDENCE = 0.95
BATCHES = 10
"""Batch means: few and long batches, so that slow swings fall inside them (Schmeiser, Operations Research 30, 1982)."""
MIN_BATCHED_STEPS = 40
OUTLIER_MADS = 5.0
"""A step further from the median than so many (normal-consistent) median absolute deviations is an outlier: one normal
step in two million."""


class Summary(Frozen):
    """A cell in numbers; null where nothing was measured. `low` and `high`: 95 % interval for a further run."""

    repeats_ok: int
    samples_per_second: float | None = None
    samples_per_second_low: float | None = None
    samples_per_second_high: float | None = None
    step_time_mean_s: float | None = None
    step_time_median_s: float | None = None
    step_time_p95_s: float | None = None
    step_outliers: int | None = None
    """Timed steps that the MAD rule flags; they are kept."""
    data_wait_share: float | None = None
    """Share of the timed seconds spent waiting for batches."""
    harness_share: float | None = None
    """See harness_share(); the largest of the repeats."""
    setup_s: float | None = None
    """Import and build, median over repeats: paid once, before the first step."""
    first_step_s: float | None = None
    """Median over repeats; compilation included."""
    peak_memory_bytes: int | None = None
    final_loss: float | None = None
    """Mean training loss of the last tenth of the timed steps, over repeats."""
    flops_per_second: float | None = None


def _t(degrees_of_freedom: float) -> float:
    """Student's t at the confidence level, two-sided."""
    from scipy import special  # half a second, for commands that ask for an interval; scipy.stats takes a second more

    return float(special.stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % t-interval. One value: the interval is unbounded (0 to infinity)."""
    assert values
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, 0.0, math.inf
    half = float(_t(len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def prediction_half_width(values: Sequence[float]) -> float:
    """How far one further value may lie from the mean of these (two at least), with 95 %: t sd sqrt(1 + 1/n).

    (Hahn & Meeker, Statistical Intervals, 1991, section 4.7.)
    """
    assert len(values) > 1
    return float(_t(len(values) - 1) * np.std(values, ddof=1) * math.sqrt(1 + 1 / len(values)))


def relative_half_width(step_times_s: Sequence[float]) -> float:
    """Half the 95 % interval of the mean step time, as a share of the mean. Autocorrelation widens it.

    The wider of two: an AR(1) series' effective number of steps, n (1 - r) / (1 + r) with r the lag-one
    autocorrelation; and, from MIN_BATCHED_STEPS on, batch means, which also see swings that are slower than a step.
    """
    array = np.asarray(step_times_s, dtype=float)
    if len(array) < 3:
        return math.inf
    spread = float(array.std(ddof=1))
    if spread == 0:
        return 0.0
    centred = array - array.mean()
    r = float((centred[1:] * centred[:-1]).sum() / (centred**2).sum())
    effective = max(2.0, len(array) * (1 - max(r, 0.0)) / (1 + max(r, 0.0)))
    half = float(_t(effective - 1) * spread / math.sqrt(effective))
    if len(array) >= MIN_BATCHED_STEPS:
        means = [batch.mean() for batch in np.array_split(array, BATCHES)]
        half = max(half, float(_t(BATCHES - 1) * np.std(means, ddof=1) / math.sqrt(BATCHES)))
    return half / float(array.mean())


def outliers(step_times_s: Sequence[float]) -> int:
    """How many steps lie more than OUTLIER_MADS from the median. They are kept: a job has them too."""
    array = np.asarray(step_times_s, dtype=float)
    distance = np.abs(array - np.median(array))
    return int((distance > OUTLIER_MADS * 1.4826 * np.median(distance)).sum())


def harness_share(repeat: RepeatResult) -> float | None:
    """Share of the measuring loop's wall time that is not training steps: reading losses, telling, counting."""
    if repeat.harness_s is None:
        return None
    return repeat.harness_s / (repeat.harness_s + sum(repeat.step_times_s))


def throughput(repeat: RepeatResult) -> float:
    """Samples per second of one repeat: all samples of the timed steps over all their seconds."""
    assert repeat.samples_per_step is not None
    return repeat.samples_per_step * len(repeat.step_times_s) / sum(repeat.step_times_s)


def occupied_s(repeat: RepeatResult) -> float:
    """Seconds for which a repeat held the machine, as far as it was clocked."""
    parts = (repeat.import_s, repeat.build_s, repeat.first_step_s)
    return sum(part or 0.0 for part in parts) + sum(repeat.warmup_step_times_s) + sum(repeat.step_times_s)


def pooled_rate(rates: Sequence[float], step_half_width: float) -> tuple[float, float, float]:
    """Mean rate of several repeats, and the 95 % interval for one further run's; of one repeat, what its steps give.

    Of a further run, not of the mean: the job is one run, with a process and a phase of the machine of its own, and
    more repeats do not make those any more alike. By the logarithms of the rates: no run is slower than nothing, and
    the decision's draws are log-normal too.
    """
    mean = float(np.mean(rates))
    if len(rates) == 1:
        return mean, mean / (1 + step_half_width), mean * (1 + step_half_width)
    factor = math.exp(prediction_half_width(np.log(rates).tolist()))
    return mean, mean / factor, mean * factor


def summarize(measurement: Measurement) -> Summary:
    """Aggregate the repeats whose outcome is ok."""
    good = [r for r in measurement.repeats if r.outcome == "ok" and r.step_times_s]
    if not good:
        return Summary(repeats_ok=0)
    steps = np.concatenate([np.asarray(r.step_times_s) for r in good])
    waits = sum(sum(r.data_wait_s) for r in good)
    half = relative_half_width(good[0].step_times_s) if len(good) == 1 else 0.0
    rate, low, high = pooled_rate([throughput(r) for r in good], half)
    flops = good[0].flops_per_sample
    tails = [x for r in good for x in r.losses[-max(1, len(r.losses) // 10) :]]
    return Summary(
        repeats_ok=len(good),
        samples_per_second=rate,
        samples_per_second_low=low,
        samples_per_second_high=high,
        step_time_mean_s=float(steps.mean()),
        step_time_median_s=float(np.median(steps)),
        step_time_p95_s=float(np.percentile(steps, 95)),
        step_outliers=sum(outliers(r.step_times_s) for r in good),
        data_wait_share=waits / float(steps.sum()),
        harness_share=max((share for r in good if (share := harness_share(r)) is not None), default=None),
        setup_s=float(np.median([(r.import_s or 0.0) + (r.build_s or 0.0) for r in good])),
        first_step_s=_median([r.first_step_s for r in good]),
        peak_memory_bytes=max((r.peak_memory_bytes or 0 for r in good), default=0) or None,
        final_loss=float(np.mean(tails)) if tails else None,
        flops_per_second=None if flops is None else flops * rate,
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None
