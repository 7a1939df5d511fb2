"""From measured subsets to the full job: a fixed part plus a rate, checked on the largest subset measured.

t(n) = fixed + n / rate, fitted by least squares with relative weights over the smaller subsets; where the rate rises
towards a ceiling with the subset's size (caches filling, loaders warming), rate(n) = ceiling x n / (n + half). What
step times show is named in bench/stability.py. Pure: no torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

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

    def est_seconds(self, samples: float) -> float:
        """Time of a job of that many samples, the fixed part once."""
        return self.fixed_s + (samples + self.half_samples) / self.samples_per_second


def fit(points: Sequence[Point]) -> Extrapolation:
    """The extrapolation from measured subsets. Raises ValueError when there is none, or one with no time."""
    good = sorted((p for p in points if p.samples > 0 and p.seconds > 0), key=lambda p: p.samples)
    if not good:
        raise ValueError("no measured subset to extrapolate from")
    error = None
    if len({p.samples for p in good}) > 1:
        largest = good[-1]
        rest = _fit([p for p in good if p.samples < largest.samples])
        predicted = rest.est_seconds(largest.samples) - rest.fixed_s
        error = abs(predicted / largest.seconds - 1)
    whole = _fit(good)
    return Extrapolation(whole.fixed_s, whole.samples_per_second, whole.half_samples, error)


def _fit(points: Sequence[Point]) -> Extrapolation:
    fixed = statistics.median(p.one_off_s for p in points)
    rates = [p.samples / p.seconds for p in points]
    if len({p.samples for p in points}) < 3 or not _rises(points, rates):
        rate = sum(p.samples for p in points) / sum(p.seconds for p in points)
        return Extrapolation(fixed, rate, 0.0, None)
    # seconds = (samples + half) / ceiling: a straight line, errors relative to each measurement
    design = np.array([[p.samples / p.seconds, 1.0 / p.seconds] for p in points])
    (slope, intercept), _ = optimize.nnls(design, np.ones(len(points)))
    if slope <= 0:
        return Extrapolation(fixed, rates[-1], 0.0, None)
    return Extrapolation(fixed, float(1 / slope), float(intercept / slope), None)


def _rises(points: Sequence[Point], rates: Sequence[float]) -> bool:
    by_size = [rate for _, rate in sorted(zip((p.samples for p in points), rates, strict=True))]
    return by_size[-1] / by_size[0] - 1 > SATURATES and by_size[-1] >= max(by_size) * (1 - SATURATES)
