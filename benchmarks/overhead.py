"""What the harness costs: its loop against a bare loop of the same steps, in turn: `python -m benchmarks overhead`.

Both loops train one model in one process, a block of steps at a time, in the order harness, bare, bare, harness: a
drift of the machine falls on both. The bare loop reads the clock before and after a block, nothing else. Figures are
medians over pairs of blocks next to each other, with 95 % intervals (binomial, of order statistics). What the harness
adds is told best by steps that do next to nothing: its microseconds do not depend on the step, and a shared machine's
noise of some per cent of a real step would hide them.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass

import torch
from benchmarks.results import ROOT, Perceptron, Result, cell, without_data
from scipy.stats import binom

from yocobench.bench import measure
from yocobench.bench.trainer import Trace, Trainer, first_step
from yocobench.schema import Protocol, WorkloadConfig

SECONDS = 25.0
BLOCK, IDLE_BLOCK = 8, 100
TARGET = 0.005


def protocol(steps: int) -> Protocol:
    """So many timed steps, whatever their spread."""
    return Protocol(
        repeats=1,
        warmup_steps=3,
        min_steps=steps,
        max_steps=steps,
        max_measure_s=3600,
        target_relative_half_width=1e-9,
        timeout_s=3600,
        seed=0,
    )


class Idle(Perceptron):
    """A step that does next to nothing: what is left is the loops themselves."""

    width = 1


IDLE = without_data(Idle, global_batch_size=1)


@dataclass(frozen=True)
class Pair:
    """Seconds a step, of two blocks next to each other."""

    timed_s: float
    """As the harness reports it."""
    wall_s: float
    """Of its whole loop."""
    bare_s: float


def bare(trainer: Trainer, block: int) -> float:
    """Seconds of a block in the loop that a user would write."""
    workload, model, optimizer = trainer.workload, trainer.model, trainer.optimizer
    gc.collect()  # as before a block of the harness: it empties the caches for both
    start = time.perf_counter()
    for _ in range(block):
        loss = workload.loss(model, next(trainer.batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def harness(trainer: Trainer) -> tuple[float, float]:
    """Seconds that the harness reports for a block, and seconds that its loop took in all."""
    trace = Trace()
    measure._timed(trainer, lambda message: None, trace)
    timed = sum(trace.step_times_s)
    return timed, timed + trace.facts["harness_s"]


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """Median and the 95 % interval that order statistics give it."""
    ordered = sorted(values)
    rank = int(binom.ppf(0.025, len(ordered), 0.5))
    return statistics.median(ordered), ordered[max(0, rank - 1)], ordered[min(len(ordered) - 1, len(ordered) - rank)]


def alternate(workload: WorkloadConfig | None, seconds: float, block: int) -> list[Pair]:
    """Blocks of both loops in turn, for so long."""
    spec = cell(protocol(block), workload)
    trainer, _ = first_step(spec, ROOT, 0, Trace(), time.perf_counter)
    pairs: list[Pair] = []
    gc.collect()
    gc.freeze()  # else most of the seconds go into collections before blocks, and few pairs are left to count
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(pairs) < 4:
        if len(pairs) % 2:
            plain, (timed, wall) = bare(trainer, block), harness(trainer)
        else:
            (timed, wall), plain = harness(trainer), bare(trainer, block)
        pairs.append(Pair(timed / block, wall / block, plain / block))
    gc.unfreeze()
    return pairs[2:]  # the first of each order warmed up


def results() -> list[Result]:
    """The harness's own microseconds, against a real step; then both loops with real steps, as a check."""
    real = alternate(None, SECONDS, BLOCK)
    idle = alternate(IDLE, SECONDS, IDLE_BLOCK)
    bare_s = statistics.median(one.bare_s for one in real)
    rows = []
    for what, name in (("step time, as reported", "timed_s"), ("loop, reading losses included", "wall_s")):
        added = [getattr(one, name) - one.bare_s for one in idle]
        mid, low, high = median_interval(added)
        rows.append(
            Result(
                what=f"what the harness adds to a step: {what}",
                value=f"{1e6 * mid:.0f} us ({1e6 * low:.0f} to {1e6 * high:.0f}, {len(added)} pairs)",
                against=f"step of {1e3 * bare_s:.1f} ms",
                ratio=1 + mid / bare_s,
                target=f"at most {TARGET:+.1%}",
                met=_met(low / bare_s, high / bare_s),
            )
        )
    for what, name in (("step time, as reported", "timed_s"), ("loop, reading losses included", "wall_s")):
        mid, low, high = (x - 1 for x in median_interval([getattr(one, name) / one.bare_s for one in real]))
        rows.append(
            Result(
                what=f"harness against bare loop: {what}",
                value=f"{mid:+.2%} ({low:+.2%} to {high:+.2%}, {len(real)} pairs)",
                against=f"bare step of {1e3 * bare_s:.1f} ms",
                ratio=1 + mid,
                target=f"at most {TARGET:+.1%}",
                met=_met(low, high),
            )
        )
    return rows


def _met(low: float, high: float) -> bool | None:
    """Null while the interval holds the target: the machine was too noisy to say."""
    return True if high <= TARGET else False if low > TARGET else None
