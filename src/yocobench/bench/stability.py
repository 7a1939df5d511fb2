"""Are the steps of a repeat alike, and if not, why, and what to do about it? Pure: no torch, no files.

Warm-up ends when a trend test finds none: Mann-Kendall (Kendall's tau of step time against step number, after Mann,
Econometrica 13, 1945), with the Theil-Sen slope for its size. It needs no model of the noise, and an outlier moves it
little. A changepoint search was left out: it wants a penalty tuned to the noise, and another dependency.
Timed steps are searched for warm-up that was too short, throttling and spent burst credits; together with what else the
host did meanwhile (bench/activity.py) they give a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from yocobench.bench.measurement import HostActivity
from yocobench.bench.statistics import outliers, relative_half_width

Trend = Literal["warm_up", "throttling", "burst_credits"]
Verdict = Literal["steady", "noisy", "disturbed", "trending"]

# --- the end of warm-up -----------------------------------------------------------------------------------------

MIN_WARMUP_STEPS = 6
"""The fewest steps in which the trend test can find one at its level (of 4, a perfect trend has p = 0.08)."""
TREND_LEVEL = 0.05
TREND_SHARE = 0.01
"""A sure trend that changes the step time by less than this share over the window does not prolong warm-up."""


def is_stationary(step_times_s: Sequence[float]) -> bool:
    """Has the later half of these steps (MIN_WARMUP_STEPS at least) no trend, neither down nor up?"""
    from scipy import stats  # a second to import: paid between two warm-up steps, by no clock

    if len(step_times_s) < MIN_WARMUP_STEPS:
        return False
    window = np.asarray(step_times_s[-max(MIN_WARMUP_STEPS, len(step_times_s) // 2) :], dtype=float)
    steps = np.arange(len(window))
    p = float(stats.kendalltau(steps, window).pvalue)
    if not p < TREND_LEVEL:  # not: of equal values it is no number
        return True
    change = float(stats.theilslopes(window, steps).slope) * (len(window) - 1)
    return abs(change) < TREND_SHARE * float(np.median(window))


# --- trends in timed steps --------------------------------------------------------------------------------------

MIN_STEPS = 12
"""Fewer steps show no trend."""
FEW_STEPS = 8
"""Quarters of fewer steps say little: where the steps allow, so many are compared with as many."""
SHARE = 0.04
"""Changes of the step time below this share are not named."""
SURE = 3.0
"""A change must exceed this many standard errors of the medians..."""
RANK_LEVEL = 0.02
"""...and the ranks of the steps must show it at this level too (Mann-Whitney, one-sided): the errors of few steps'
medians are often far too small. 12 steps can just reach it: four that are all slower than four are 1 order in 70."""


@dataclass(frozen=True)
class Found:
    """A trend in step times."""

    trend: Trend
    change: float
    """Later step time over earlier, minus one."""
    at_step: int
    text: str


def trends(step_times_s: Sequence[float], burstable: bool = False) -> tuple[Found, ...]:
    """What the step times of one repeat show beyond noise.

    warm_up: the first quarter is slower than the last half. throttling: the last quarter is slower than the second; of
    few steps, the last third than the second, up to FEW_STEPS. burst_credits: the same on a burstable type, where the
    cause is known.

    Simulated on 2026-12-01 (10,000 repeats each of 12, 16, 24, 40, 60 and 200 steps; noise of 2, 5 and 10 %): of
    independent steps, normal or log-normal with 5 % outliers, at most 1.5 % show a trend at any length; by the medians'
    errors alone, as before that day, 10 % did of 12 steps. Not covered: noise that lasts. Steps whose lag-one
    correlation is 0.3 show one in up to 4 % of repeats, 0.6 in up to 13 % (15 and 25 % before).
    """
    times = np.asarray(step_times_s, dtype=float)
    if len(times) < MIN_STEPS:
        return ()
    quarter = len(times) // 4
    part = max(quarter, min(len(times) // 3, FEW_STEPS))
    found = []
    change = _longer(times[-2 * quarter :], times[:quarter])
    if change is not None:
        text = f"the first {quarter} steps took {100 * change:.0f} % longer than later ones: warm-up was too short"
        found.append(Found("warm_up", change, quarter, text))
    change = _longer(times[part : 2 * part], times[-part:])
    if change is not None:
        at = _break(times)
        if burstable:
            text = (
                f"from step {at} on, steps took {100 * change:.0f} % longer: CPU credits ran out; "
                "the job will run at that rate"
            )
            found.append(Found("burst_credits", change, at, text))
        else:
            text = (
                f"from step {at} on, steps took {100 * change:.0f} % longer: "
                "the device throttles or has a busy neighbour"
            )
            found.append(Found("throttling", change, at, text))
    return tuple(found)


def settled_at(found: Sequence[Found]) -> int:
    """The step from which on a repeat with these trends ran as it would go on: after the last one; 0 without any."""
    return max((one.at_step for one in found), default=0)


def _longer(steps: np.ndarray[Any, Any], slower: np.ndarray[Any, Any]) -> float | None:
    """By what share the median of `slower` is above that of `steps`, when that is large and beyond noise, else None."""
    low, high = float(np.median(steps)), float(np.median(slower))
    change = high / low - 1
    if change <= SHARE or high - low <= SURE * math.hypot(_median_error(steps), _median_error(slower)):
        return None
    from scipy import stats  # a second to import: only where something seems to have changed

    p = float(stats.mannwhitneyu(slower, steps, alternative="greater").pvalue)
    return change if p < RANK_LEVEL else None


def _median_error(values: np.ndarray[Any, Any]) -> float:
    """Standard error of the median: 1.2533 x 1.4826 x MAD / sqrt(n)."""
    deviation = float(np.median(np.abs(values - np.median(values))))
    return 1.2533 * 1.4826 * deviation / math.sqrt(len(values))


def _break(times: np.ndarray[Any, Any]) -> int:
    """The step that splits the times best into an earlier and a later level (least squares)."""
    edges = range(3, len(times) - 3)
    cost = [times[:i].var() * i + times[i:].var() * (len(times) - i) for i in edges]
    return int(edges[int(np.argmin(cost))])


# --- the verdict ------------------------------------------------------------------------------------------------

STEAL_SHARE = 0.01
OTHER_SHARE = 0.05
"""Of the host's CPU time, what others may take before it is named."""
OUTLIER_SHARE = 0.05


@dataclass(frozen=True)
class Stability:
    """How far the step times of one repeat can be trusted to be those of a long run."""

    verdict: Verdict
    """trending: they change for good; disturbed: something else used the machine; noisy: neither, but they scatter."""
    reasons: tuple[str, ...]
    """What was seen and what to do, most important first; empty for `steady`."""


def stability(
    step_times_s: Sequence[float], activity: HostActivity | None, target: float, burstable: bool = False
) -> Stability | None:
    """The verdict on a repeat; null with too few steps to say. `target`: protocol.target_relative_half_width."""
    if len(step_times_s) < MIN_STEPS:
        return None
    drift = [f"{found.text}; {ADVICE[found.trend]}" for found in trends(step_times_s, burstable)]
    others = disturbances(activity)
    scatter = [] if drift else _scatter(step_times_s, target)
    verdict: Verdict = "trending" if drift else "disturbed" if others else "noisy" if scatter else "steady"
    return Stability(verdict, (*drift, *others, *scatter))


ADVICE: dict[Trend, str] = {
    "warm_up": "raise protocol.max_warmup_s",
    "throttling": "look for heat, power limits and other load, and measure again for longer",
    "burst_credits": "measure for longer, or compare with a type that has no credits",
}


def _scatter(step_times_s: Sequence[float], target: float) -> list[str]:
    said = []
    half = relative_half_width(step_times_s)
    if half > target:
        said.append(
            f"the mean step time is known to {100 * half:.1f} %, not {100 * target:.1f} %: raise protocol.max_measure_s"
        )
    flagged = outliers(step_times_s)
    if flagged > OUTLIER_SHARE * len(step_times_s):
        said.append(f"{flagged} of {len(step_times_s)} steps are outliers: see step_time_s in the run")
    return said


def disturbances(activity: HostActivity | None) -> tuple[str, ...]:
    """What besides the training used or slowed the host, and what to do."""
    if activity is None:
        return ()
    said = []
    if activity.gpu_throttle:
        said.append(f"the GPU slowed down ({', '.join(activity.gpu_throttle)}): check cooling and power supply")
    if activity.cpu_throttle_events:
        said.append(f"the CPU throttled {activity.cpu_throttle_events} time(s) for heat: check cooling")
    if activity.steal_share is not None and activity.steal_share > STEAL_SHARE:
        said.append(
            f"the hypervisor gave {100 * activity.steal_share:.1f} % of the CPU time to others (a noisy neighbour, or "
            "spent CPU credits): measure again, or on another host"
        )
    if activity.other_share is not None and activity.other_share > OTHER_SHARE:
        said.append(
            f"other processes took {100 * activity.other_share:.0f} % of the CPU time: stop them and measure again"
        )
    return tuple(said)
