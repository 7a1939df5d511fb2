"""From measured subsets to the full job: a fixed part plus a rate, checked on the largest subset measured.

t(n) = fixed + n / rate, fitted by least squares with relative weights over the smaller subsets; where the rate rises
towards a ceiling with the subset's size (caches filling, loaders warming), rate(n) = ceiling x n / (n + half). Step
times are searched for warm-up, throttling and spent burst credits, which are named, not averaged away. Pure: no torch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize

Trend = Literal["warm_up", "throttling", "burst_credits"]
MIN_STEPS = 12
"""Fewer steps show no trend."""
SHARE = 0.04
"""Changes of the step time below this share are not named."""
SURE = 3.0
"""A change must exceed this many standard errors."""
SATURATES = 0.03
"""The ceiling is fitted when the rates of the subsets differ by more than this share, in rising order."""


@dataclass(frozen=True)
class Point:
    """A measured subset."""

    samples: float
    """Trained in the measured run, warm-up left out."""
    seconds: float
    one_off_s: float = 0.0
    """Set-up of that run, timed apart."""


@dataclass(frozen=True)
class Extrapolation:
    """Time of a job from its subsets. All `est_` when printed."""

    fixed_s: float
    samples_per_second: float
    half_samples: float
    """Samples at which half of the final rate is reached; 0: no saturation seen."""
    relative_error: float | None
    """|predicted / measured - 1| on the largest measured subset, fitted without it; None with fewer than two."""
    checked_on_samples: float | None

    def est_seconds(self, samples: float) -> float:
        """Time of a job of that many samples, the fixed part once."""
        return self.fixed_s + (samples + self.half_samples) / self.samples_per_second


def fit(points: Sequence[Point]) -> Extrapolation:
    """The extrapolation from measured subsets. Raises ValueError when there is none, or one with no time."""
    good = sorted((p for p in points if p.samples > 0 and p.seconds > 0), key=lambda p: p.samples)
    if not good:
        raise ValueError("no measured subset to extrapolate from")
    error = checked = None
    sizes = {p.samples for p in good}
    if len(sizes) > 1:
        largest = good[-1]
        rest = _fit([p for p in good if p.samples < largest.samples])
        predicted = rest.est_seconds(largest.samples) - rest.fixed_s
        error, checked = abs(predicted / largest.seconds - 1), largest.samples
    whole = _fit(good)
    return Extrapolation(whole.fixed_s, whole.samples_per_second, whole.half_samples, error, checked)


def _fit(points: Sequence[Point]) -> Extrapolation:
    fixed = statistics.median(p.one_off_s for p in points)
    rates = [p.samples / p.seconds for p in points]
    if len({p.samples for p in points}) < 3 or not _rises(points, rates):
        rate = sum(p.samples for p in points) / sum(p.seconds for p in points)
        return Extrapolation(fixed, rate, 0.0, None, None)
    # seconds = (samples + half) / ceiling: a straight line, errors relative to each measurement
    design = np.array([[p.samples / p.seconds, 1.0 / p.seconds] for p in points])
    (slope, intercept), _ = optimize.nnls(design, np.ones(len(points)))
    if slope <= 0:
        return Extrapolation(fixed, rates[-1], 0.0, None, None)
    return Extrapolation(fixed, float(1 / slope), float(intercept / slope), None, None)


def _rises(points: Sequence[Point], rates: Sequence[float]) -> bool:
    by_size = [rate for _, rate in sorted(zip((p.samples for p in points), rates, strict=True))]
    return by_size[-1] / by_size[0] - 1 > SATURATES and by_size[-1] >= max(by_size) * (1 - SATURATES)


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

    warm_up: the first quarter is slower than the last half. throttling: the last quarter is slower than the second.
    burst_credits: the same on a burstable type, where the cause is known.
    """
    times = np.asarray(step_times_s, dtype=float)
    if len(times) < MIN_STEPS:
        return ()
    quarter = len(times) // 4
    found = []
    first, second, half, last = times[:quarter], times[quarter : 2 * quarter], times[-2 * quarter :], times[-quarter:]
    change = _changed(half, first)
    if change is not None and change > 0:
        text = f"the first {quarter} steps took {change:.0%} longer than later ones: warm-up was too short"
        found.append(Found("warm_up", change, quarter, text))
    change = _changed(second, last)
    if change is not None and change > 0:
        at = _break(times)
        if burstable:
            text = (
                f"from step {at} on, steps took {change:.0%} longer: CPU credits ran out; the job will run at that rate"
            )
            found.append(Found("burst_credits", change, at, text))
        else:
            text = f"from step {at} on, steps took {change:.0%} longer: the device throttles or has a busy neighbour"
            found.append(Found("throttling", change, at, text))
    return tuple(found)


def _changed(before: np.ndarray, after: np.ndarray) -> float | None:
    """Relative change of the median, when it is large and beyond noise; None otherwise."""
    low, high = float(np.median(before)), float(np.median(after))
    noise = math.hypot(_median_error(before), _median_error(after))
    change = high / low - 1
    return change if abs(change) > SHARE and abs(high - low) > SURE * noise else None


def _median_error(values: np.ndarray) -> float:
    """Standard error of the median: 1.2533 x 1.4826 x MAD / sqrt(n)."""
    deviation = float(np.median(np.abs(values - np.median(values))))
    return 1.2533 * 1.4826 * deviation / math.sqrt(len(values))


def _break(times: np.ndarray) -> int:
    """The step that splits the times best into an earlier and a later level (least squares)."""
    edges = range(3, len(times) - 3)
    cost = [times[:i].var() * i + times[i:].var() * (len(times) - i) for i in edges]
    return int(edges[int(np.argmin(cost))])
