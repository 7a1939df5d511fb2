"""What loading its images costs the detector's training, on this CPU or on a GPU.

    python -m benchmarks.feeding                                  # the two-core size: four minutes, mostly compiling
    python -m benchmarks.feeding --size plan --batch 16
    python -m benchmarks.feeding --kind cuda --size plan --batch 256 --steps 100 --peak-tflops 989

Blocks of steps take turns: fed, from the files of data/images through workers as in training, and at hand, on one batch
that is there already. What the workers had ready is thrown away before a fed block, or the other block's time would
have loaded it. Steps are those of the measured process (bench/trainer.py), their clock is the wall, rates are medians
over the blocks, and a wait is the share of the fed steps spent in it. MFU is useful FLOPs over time as a share of
--peak-tflops. On a CPU the workers take cores from the training, so that "at hand" is not what faster loading would
give. Accelerators: written for them, tried on none.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import time
from pathlib import Path
from typing import get_args

import torch
from benchmarks import results
from benchmarks.detector import BATCH, SIZES
from benchmarks.trainer import precision_of

from yocobench import config
from yocobench.bench.trainer import Trace, Trainer, first_step
from yocobench.bench.workloads.detection.loader import default_workers
from yocobench.paths import relative
from yocobench.schema import AcceleratorKind, CellSpec
from yocobench.selection.report import table

DATA = Path("data/images")
READY_PER_WORKER, READY_BESIDE = 2, 4
"""Batches that wait: each worker's own, then those of the thread that feeds an accelerator, with one in its hands."""


@dataclasses.dataclass
class Fed:
    """What was seen, a value a block."""

    batch: int
    fed_s: list[float] = dataclasses.field(default_factory=list)
    """Mean step time."""
    at_hand_s: list[float] = dataclasses.field(default_factory=list)
    wait_share: list[float] = dataclasses.field(default_factory=list)
    """Of the fed steps."""

    @property
    def images_per_second(self) -> tuple[float, float]:
        """Fed and at hand."""
        return self.batch / statistics.median(self.fed_s), self.batch / statistics.median(self.at_hand_s)

    @property
    def ratio(self) -> float:
        """Of the rates, fed over at hand; the median over the pairs of blocks that follow each other."""
        return statistics.median(b / a for a, b in zip(self.fed_s, self.at_hand_s, strict=True))


def order(kind: AcceleratorKind, size: str, batch: int) -> CellSpec:
    """A work order for the detector at that size, compiled, in the precision that the device trains in."""
    workload = config.workload("yoco-det")
    fields = {"global_batch_size": batch, "args": {**workload.args, **SIZES[size]}}
    data = {"dataset_path": str(DATA), "kind": kind, "accelerator_count": 0 if kind == "cpu" else 1}
    return results.cell(results.COUNTED_HERE, workload.model_copy(update=fields), precision=precision_of(kind), **data)


def block(trainer: Trainer, steps: int) -> tuple[float, float]:
    """Mean seconds of a step, and of its wait for a batch."""
    taken = [trainer.step()[:2] for _ in range(steps)]
    return statistics.fmean(one for one, _ in taken), statistics.fmean(waited for _, waited in taken)


def in_turn(trainer: Trainer, blocks: int, steps: int, workers: int) -> Fed:
    """Blocks of both kinds, one after the other. Leaves the trainer fed."""
    fed, loaded = Fed(trainer.spec.workload.global_batch_size), trainer.batches
    trainer.batches = itertools.repeat(next(loaded))
    block(trainer, 2)
    for _ in range(blocks):
        trainer.batches = loaded
        for _ in range(READY_PER_WORKER * workers + READY_BESIDE):
            next(loaded)
        seconds, waited = block(trainer, steps)
        fed.fed_s.append(seconds)
        fed.wait_share.append(waited / seconds)
        trainer.batches = itertools.repeat(next(loaded))
        fed.at_hand_s.append(block(trainer, steps)[0])
    trainer.batches = loaded
    return fed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=get_args(AcceleratorKind), default="cpu")
    parser.add_argument("--size", choices=SIZES, default="two-core")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="of a block")
    parser.add_argument("--peak-tflops", type=float, help="the datasheet's, dense, of that precision")
    options = parser.parse_args()
    spec, trace = order(options.kind, options.size, options.batch), Trace()
    try:
        trainer, _ = first_step(spec, results.ROOT, 1, trace, time.perf_counter)  # repeat 1: no evaluation
    except ValueError as error:  # no data yet, no such device
        parser.error(relative(error))
    workers = default_workers()
    fed = in_turn(trainer, options.blocks, options.steps, workers)
    trainer.close()
    flops = trace.facts["flops_per_sample"]
    rows = []
    for name, rate in zip(("fed", "at hand"), fed.images_per_second, strict=True):
        rows.append([name, f"{rate:,.1f}", results.share_of_peak(rate * flops, options.peak_tflops)])
    how = f"{spec.precision}, {'compiled' if trace.facts['compiled'] else 'eager'}, {workers} worker(s)"
    print(f"{options.size}, batch {options.batch}, {how}, torch {torch.__version__}")
    print(table(["batches", "images/s", "MFU"], rows))
    waits = 100 * statistics.median(fed.wait_share)
    print(f"fed over at hand: {fed.ratio:.2f}; waits for images: {waits:.1f} % of a step")
    for line in trace.warnings:
        print(f"mind: {line}")


if __name__ == "__main__":
    main()
