"""The equal-work gate: is a run of lower precision still the same training? Judged by its loss curve.

The band is that of one more run of the reference precision (fp32): cells of the same workload, dataset, protocol and
seeds, on any machine. The steps that all runs have are cut into PARTS equal parts; in each, a run is its mean loss, and
the band is the prediction interval of a further run from the n reference runs, mean +- t(n - 1) s sqrt(1 + 1/n) (Hahn
and Meeker, Statistical Intervals, 1991), at 99 % a part: equal work is turned away in at most 5 % of cases, and in
fewer, since what is compared is the mean over the repeats, which have the seeds of the reference. That a lower
precision must stay within the reference's own spread from run to run is the criterion of Micikevicius et al. ("FP8
formats for deep learning", 2022); too good a curve is as suspect as a bad one, as in MLPerf's reference convergence
points.

No band is narrower than FLOOR: equal seeds make reference runs of one machine all but equal, while rounding and the
statistics of another micro-batch move a sound run by about a per cent. FLOOR is a choice, not a fact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

PARTS = 5
MIN_STEPS = 20
"""Fewer common steps show no curve."""
LEVEL = 0.99
FLOOR = 0.02
"""Half the least width of the band, as a share of the reference's mean loss."""

Curve = Sequence[float]


def judge(losses: Sequence[Curve], reference: Sequence[Curve]) -> tuple[bool | None, str]:
    """Is it equal work, and if not, where it leaves the band.

    None where that cannot be told: fewer than two reference runs, or fewer than MIN_STEPS steps in common.
    """
    curves = [*losses, *reference]
    common = min((len(curve) for curve in curves), default=0)
    if not losses or len(reference) < 2 or common < MIN_STEPS:
        return None, ""
    edges = [round(common * i / PARTS) for i in range(PARTS + 1)]
    runs = _means(reference, edges)
    n, mean = len(runs), runs.mean(axis=0)
    t = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    half = np.maximum(t * runs.std(axis=0, ddof=1) * math.sqrt(1 + 1 / n), FLOOR * np.abs(mean))
    found = _means(losses, edges).mean(axis=0)
    for i in range(PARTS):
        if not abs(found[i] - mean[i]) <= half[i]:  # not: a loss that is no number leaves it too
            low, high = mean[i] - half[i], mean[i] + half[i]
            return False, (
                f"diverged, not equal work: over timed steps {edges[i] + 1} to {edges[i + 1]} its loss is "
                f"{found[i]:.4g}, outside {low:.4g} to {high:.4g}, the band of {n} runs in fp32"
            )
    return True, ""


def _means(curves: Sequence[Curve], edges: Sequence[int]) -> NDArray[np.float64]:
    """Mean loss of each run in each part."""
    return np.array([[np.mean(curve[a:b]) for a, b in itertools.pairwise(edges)] for curve in curves])
