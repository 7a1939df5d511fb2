"""Loss curves of each precision against fp32, on the same data and seeds: `python -m benchmarks precision`.

Both Yocos as the study configures them, on its smoke subset (`python -m yocobench.dataset text`, then `images`), with
a smaller global batch: a CPU without bf16 units takes several times as long in bf16. The steps are cut into the parts
of selection/equal_work.py; of each part its mean loss is set against fp32's of the same seed. Shown: the largest
deviation of a part over the seeds, the same of the mean over the seeds, which is what the gate judges, and how far
apart fp32 runs of two seeds lie.

A model can carry any rounding far: what fp32 itself does when its weights change by one rounding after the first step,
at most in NUDGES draws, is shown beside, and no precision is held to less than that.
"""

from __future__ import annotations

import time
from itertools import combinations
from typing import Any

import numpy as np
import torch
from benchmarks.results import ROOT, Result
from numpy.typing import NDArray
from torch import nn

from yocobench import config
from yocobench.bench import hardware
from yocobench.bench.fit import at
from yocobench.bench.trainer import Trace, first_step
from yocobench.plan import plan_cell
from yocobench.schema import AcceleratorKind, CellSpec, Precision
from yocobench.selection.equal_work import FLOOR, PARTS

ITEMS = {"yoco-lm": 1, "yoco-det": 4}
"""Items in a step."""
STEPS = 30
SEEDS = (0, 1)
NUDGES = (1, 2, 3, 4, 5)
"""Seeds of the draws."""
PRECISIONS: dict[AcceleratorKind, tuple[Precision, ...]] = {"cpu": ("bf16",), "cuda": ("tf32", "bf16", "fp16")}


def cell(name: str) -> CellSpec:
    """The study's cell of this machine, in small and not compiled."""
    study = config.study([])
    workload = config.workload(name).model_copy(
        update={"global_batch_size": ITEMS[name], "micro_batch_size": ITEMS[name], "compile": False}
    )
    (subset,) = config.subsets(["smoke"])
    planned = plan_cell(study, workload, subset, config.instance("local"), hardware.detect(), ROOT)
    return at(planned.spec, ITEMS[name])


def curve(spec: CellSpec, seed: int, nudged: int | None = None) -> NDArray[Any]:
    """Mean training loss of each part. `nudged`: draw by which weights change by a rounding after the first step."""
    trainer, first = first_step(spec, ROOT, seed + 1, Trace(), time.perf_counter)  # not 0, which would evaluate
    try:
        if nudged is not None:
            nudge(trainer.model, nudged)
        losses = [float(first), *(float(trainer.step()[2]) for _ in range(STEPS - 1))]
    finally:
        trainer.close()
    return np.array([part.mean() for part in np.array_split(np.array(losses), PARTS)])


def nudge(model: nn.Module, seed: int) -> None:
    """Multiply every weight by 1 + U(-1, 1) times fp32's rounding."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            drawn = 2 * torch.rand(weight.shape, generator=generator) - 1
            weight.mul_(1 + torch.finfo(torch.float32).eps * drawn.to(weight.device))


def results() -> list[Result]:
    """A row for each workload and precision."""
    rows = []
    for name in ITEMS:
        spec = cell(name)
        full = spec.model_copy(update={"precision": "fp32"})
        reference = np.array([curve(full, seed) for seed in SEEDS])
        nudged = np.array([[curve(full, seed, draw) for seed in SEEDS] for draw in NUDGES])
        for precision in PRECISIONS.get(spec.kind, ()):
            found = [curve(spec.model_copy(update={"precision": precision}), seed) for seed in SEEDS]
            rows.append(row(name, precision, np.array(found), reference, nudged))
    return rows


def deviation(found: NDArray[Any], reference: NDArray[Any]) -> float:
    """Largest relative deviation of a part, of the mean over the seeds; both (seeds, parts)."""
    return float(np.abs(found.mean(axis=0) / reference.mean(axis=0) - 1).max())


def row(name: str, precision: Precision, found: NDArray[Any], reference: NDArray[Any], nudged: NDArray[Any]) -> Result:
    """What became of `precision`; curves are (seeds, parts), `nudged` (draws, seeds, parts)."""
    mean, rounding = deviation(found, reference), max(deviation(one, reference) for one in nudged)
    each = float(np.abs(found / reference - 1).max())
    apart = max(float(np.abs(a / b - 1).max()) for a, b in combinations(reference, 2))
    band = max(FLOOR, rounding)
    return Result(
        what=f"{name}: loss in {precision} against fp32, {STEPS} steps in {PARTS} parts, {len(SEEDS)} seeds",
        value=f"{mean:.2%} off at most (mean over seeds), {each:.2%} (one seed)",
        against=f"fp32: a rounding of its weights {rounding:.2%}, two seeds {apart:.1%} apart",
        ratio=float((found.mean(axis=0) / reference.mean(axis=0))[-1]),
        target=f"within {band:.2%}",
        met=mean <= band,
    )
