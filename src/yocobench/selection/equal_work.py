"""The equal-work gate: is a run of lower precision still the same training? Judged by its loss curve.

Each repeat is set against the reference precision's (fp32) of the same number: same workload, data, protocol and seed,
so the same initial weights and batches, on any machine. The steps that all these runs timed, counted from the first of
training, are cut into PARTS equal parts; in each, a run is its mean loss, and a pair the difference of two. The mean
difference may be t(n - 1) s / sqrt(n) over n pairs of deviation s, the 99 % interval of a paired comparison (Student's
t): equal work is turned away in at most 1 % of cases a part. Too good a curve is as suspect as a bad one, as in the
reference convergence points of MLPerf.

No band is narrower than FLOOR: sums in another order, and the statistics of another micro-batch, move a sound run by
about a per cent. FLOOR is a choice, not a fact. So is WIDEST: pairs that scatter more widely than that cannot tell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

PARTS = 5
MIN_STEPS = 20
"""Fewer common steps show no curve."""
LEVEL = 0.99
FLOOR = 0.02
"""Half the least width of the band, as a share of the reference's mean loss."""
WIDEST = 0.10
"""Half the greatest width of a band that can show work to be equal, likewise."""


class Run(NamedTuple):
    """The loss curve of a repeat."""

    repeat: int
    """Of the same number: the same seed."""
    warmup_steps: int
    """Taken before the first one of `losses`; they differ from run to run."""
    losses: tuple[float, ...]
    """By timed step."""


def judge(found: Sequence[Run], reference: Sequence[Run]) -> tuple[bool | None, str]:
    """Is it equal work, and if not, where it leaves the band.

    None where that cannot be told: fewer than two pairs, or fewer than MIN_STEPS steps in common, or pairs that differ
    so unequally that the band is wider than WIDEST.
    """
    long = [[one for one in runs if len(one.losses) >= MIN_STEPS] for runs in (found, reference)]
    seeds = sorted(set.intersection(*({one.repeat for one in runs} for runs in long)))
    mine, theirs = ([one for one in runs if one.repeat in seeds] for runs in long)
    if len(seeds) < 2:
        return None, ""
    first = max(one.warmup_steps for one in (*mine, *theirs))
    common = min(one.warmup_steps + len(one.losses) for one in (*mine, *theirs)) - first
    if common < MIN_STEPS:
        return None, ""
    edges = [first + round(common * i / PARTS) for i in range(PARTS + 1)]
    of_fp32 = _means(theirs, seeds, edges)
    off, level = _means(mine, seeds, edges) - of_fp32, of_fp32.mean(axis=0)
    t = float(stdtrit(len(seeds) - 1, (1 + LEVEL) / 2))
    spread = t * off.std(axis=0, ddof=1) / math.sqrt(len(seeds))
    half, mean = np.maximum(spread, FLOOR * np.abs(level)), off.mean(axis=0)
    for i in range(PARTS):
        if not abs(mean[i]) <= half[i]:  # not: a loss that is no number leaves it too
            return False, (
                f"diverged, not equal work: over steps {edges[i] + 1} to {edges[i + 1]} after the first its loss is "
                f"{level[i] + mean[i]:.4g}, fp32's {level[i]:.4g} in {len(seeds)} pairs of equal seed, which differ by "
                f"more than the band of {half[i]:.4g}"
            )
    return (True if np.all(half <= WIDEST * np.abs(level)) else None), ""


def _means(runs: Sequence[Run], seeds: Sequence[int], edges: Sequence[int]) -> NDArray[np.float64]:
    """Mean loss (seeds, parts); of several runs of one seed, their mean."""

    def parts(run: Run) -> list[float]:
        here = [edge - run.warmup_steps for edge in edges]
        return [float(np.mean(run.losses[a:b])) for a, b in itertools.pairwise(here)]

    return np.array([np.mean([parts(one) for one in runs if one.repeat == seed], axis=0) for seed in seeds])
