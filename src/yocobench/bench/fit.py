"""The micro-batch that fits, found by trying: a real step, with half the items after each that ran out of memory.

Each try is a process of its own (launchers/local.py): on a CPU the kernel may kill it without a word, and a process
that failed to allocate holds memory that the next try would miss. The global batch stays the same by accumulation.
"""

from __future__ import annotations

import math

from yocobench.bench.measurement import RepeatResult
from yocobench.schema import CellSpec

HEADROOM = 0.10
"""Share of the memory that a fit leaves free: for fragmentation, and for steps larger than the first."""


def is_tight(used_bytes: int, available_bytes: int) -> bool:
    """Does a first step that took so much of what was available leave less than the headroom?"""
    return used_bytes > (1 - HEADROOM) * available_bytes


def ran_out_at_once(result: RepeatResult) -> bool:
    """Memory was gone before the first step was done: fewer items at a time may fit."""
    return result.outcome == "out_of_memory" and result.first_step_s is None


def smaller(spec: CellSpec) -> CellSpec | None:
    """The same work with the next smaller micro-batch that divides it; null below 1."""
    return at(spec, next_smaller(spec.micro_batch_size)) if spec.micro_batch_size > 1 else None


def next_smaller(micro_batch_size: int) -> int:
    """The largest proper divisor: half where it is even, 1 of a prime."""
    assert micro_batch_size > 1
    smallest = next((n for n in range(2, math.isqrt(micro_batch_size) + 1) if micro_batch_size % n == 0), None)
    return micro_batch_size // smallest if smallest else 1


def at(spec: CellSpec, micro_batch_size: int) -> CellSpec:
    """The same work with that micro-batch, which divides each process's share of the global batch."""
    accumulation, left = divmod(spec.workload.global_batch_size, micro_batch_size * spec.processes)
    assert left == 0, (spec.workload.global_batch_size, micro_batch_size, spec.processes)
    return spec.model_copy(update={"micro_batch_size": micro_batch_size, "accumulation_steps": accumulation})


def with_tries(result: RepeatResult, failed: list[RepeatResult]) -> RepeatResult:
    """What came of a search: the last try, with those before it among its warnings.

    One that ended with micro-batch 1 is `does_not_fit`, with the bytes that it had and took.
    """
    said = tuple(f"micro-batch {one.micro_batch_size}: {one.reason}; tried with fewer" for one in failed)
    result = result.model_copy(update={"warnings": (*said, *result.warnings)})
    if not ran_out_at_once(result) or result.micro_batch_size != 1:
        return result
    reason = f"not even micro-batch 1 fits: {result.reason}"
    if result.peak_memory_bytes is not None:
        reason += f"; {result.peak_memory_bytes:,} bytes were in use"
    if result.available_memory_bytes is not None:
        reason += f"; {result.available_memory_bytes:,} bytes were available before the model was built"
    return result.model_copy(update={"outcome": "does_not_fit", "reason": reason})
