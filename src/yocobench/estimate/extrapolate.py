"""From measured subsets to the full job: a rate, checked on the largest subset measured.

One rate for all sizes; but where the subsets' rates rise with their size (caches filling, loaders warming), a ceiling
is fitted, rate(n) = ceiling x n / (n + half), by least squares with relative weights. Set-up is no part of it. What
step times show is named in bench/stability.py. Pure: no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Extrapolation:
    """Time of a job from its subsets. All `est_` when printed."""

    samples_per_second: float
    half_samples: float
    """Samples at which half of the final rate is reached; 0: no saturation seen."""
    relative_error: float | None
    """|predicted / measured - 1| on the largest measured subset, fitted without it; None with fewer than two."""

    def est_seconds(self, samples: float) -> float:
        """Time of a job of that many samples, set-up left out."""
        return (samples + self.half_samples) / self.samples_per_second


def fit(points: Sequence[Point]) -> Extrapolation:
    """The extrapolation from measured subsets. Raises ValueError when there is none, or one with no time."""
    good = sorted((p for p in points if p.samples > 0 and p.seconds > 0), key=lambda p: p.samples)
    if not good:
        raise ValueError("no measured subset to extrapolate from")
    error = None
    if len({p.samples for p in good}) > 1:
        largest = good[-1]
        rest = _fit([p for p in good if p.samples < largest.samples])
        error = abs(rest.est_seconds(largest.samples) / largest.seconds - 1)
    return replace(_fit(good), relative_error=error)


def _fit(points: Sequence[Point]) -> Extrapolation:
    rates = [p.samples / p.seconds for p in points]
    if len({p.samples for p in points}) < 3 or not _rises(points, rates):
        rate = sum(p.samples for p in points) / sum(p.seconds for p in points)
        return Extrapolation(rate, 0.0, None)
    # seconds = (samples + half) / ceiling: a straight line, errors relative to each measurement
    design = np.array([[p.samples / p.seconds, 1.0 / p.seconds] for p in points])
    (slope, intercept), _ = optimize.nnls(design, np.ones(len(points)))
    if slope <= 0:
        return Extrapolation(rates[-1], 0.0, None)
    return Extrapolation(float(1 / slope), float(intercept / slope), None)


def _rises(points: Sequence[Point], rates: Sequence[float]) -> bool:
    by_size = [rate for _, rate in sorted(zip((p.samples for p in points), rates, strict=True))]
    return by_size[-1] / by_size[0] - 1 > SATURATES and by_size[-1] >= max(by_size) * (1 - SATURATES)
