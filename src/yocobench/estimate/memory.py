"""Bytes that a training step needs, from two traces: what stays, and what grows with the micro-batch.

Checked against measured peaks by benchmarks/memory.py. Not covered: fragmentation of a caching allocator, what a
library reserves, and up to 200 MiB more while torch.compile first compiles; HEADROOM and RUNTIME_BYTES stand for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yocobench.bench.fit import HEADROOM, next_smaller
from yocobench.bench.measurement import Detected
from yocobench.schema import AcceleratorKind, Instance, Precision

if TYPE_CHECKING:
    from yocobench.estimate.operations import Trace

UNSEEN_SHARE = 0.93
"""Of the nominal memory, what a guest sees at least (2 to 7 % less: vantage-sh/ec2instances.info, 2025-12)."""
RUNTIME_BYTES: dict[AcceleratorKind, int] = {"cpu": 460 * 2**20, "cuda": 700 * 2**20, "neuron": 700 * 2**20}
"""What a process holds beside its model. CPU: interpreter, torch, loader and what torch.compile keeps, 380 to 530 MiB
(eager 330 to 390; seen on 2026-11-23, torch 2.13); near the middle, where one of the eight cases in docs/benchmarks.md
is off by more than a tenth. Accelerators: one device context, 500 to 800 MiB on CUDA."""
TRACED_BATCHES = (2, 512)
"""The peak is a convex function of the micro-batch, so between these the line through them is an upper bound. Not 1,
where batch norm has nothing to normalise over."""


@dataclass(frozen=True)
class MemoryNeed:
    """peak = fixed + per_item x micro-batch, in bytes of the device that trains."""

    fixed_bytes: float
    """Parameters, gradients, optimiser state, 16-bit copies of the weights."""
    per_item_bytes: float
    gathered_bytes: float = 0.0
    """Of a model spread over devices, what each holds beside its share of the fixed part."""

    def sharded(self, count: int) -> MemoryNeed:
        """The need of one of `count` devices that the model is spread over."""
        return MemoryNeed(self.fixed_bytes / count + self.gathered_bytes, self.per_item_bytes)

    def peak_bytes(self, micro_batch_size: int) -> int:
        """Most bytes alive at once in a step at that micro-batch, without the runtime's own."""
        return int(self.fixed_bytes + self.per_item_bytes * micro_batch_size)


def is_low(precision: Precision) -> bool:
    """Does this precision run products in 16 bits under autocast?"""
    return precision in ("fp16", "bf16")


def kind_of(instance: Instance, detected: Detected) -> AcceleratorKind:
    """What trains on it; of a host that is read (`detect`), its own."""
    return detected.kind if instance.detect or instance.chip is None else instance.chip.kind


def usable_bytes(instance: Instance, detected: Detected) -> int | None:
    """Memory of one device that trains: an accelerator's (or one NeuronCore's part of it), or what the guest sees.

    Of a host that is read (`detect`), its own. null: the catalogue does not say.
    """
    shape = instance.hardware
    if instance.detect:
        if detected.accelerator_memory_bytes is None:
            return detected.memory_bytes
        return (
            detected.accelerator_memory_bytes
            * detected.accelerator_count
            // (detected.neuron_cores or detected.accelerator_count)
        )
    if shape is None:
        return None
    if shape.accelerator_memory_gib is not None:
        share = shape.accelerator_count / (shape.neuron_cores or shape.accelerator_count)
        return int(shape.accelerator_memory_gib * share * 2**30)
    seen = instance.observed.memory_visible_mib if instance.observed else None
    return int(seen * 2**20) if seen else int(shape.memory_gib * UNSEEN_SHARE * 2**30)


def from_traces(small: Trace, large: Trace, compiled: bool) -> MemoryNeed:
    """The line through two traces of the same model.

    fully_shard keeps the weights outside all blocks whole from the first use to the step's end, beside their gradients;
    of blocks, weights and gradients of one, the weights of the next, and what is being reduced. torch's
    FSDPMemTracker (torch 2.13, four models over 8 devices, 2026-11-24) saw 3 to 22 % less than these sums.
    """
    assert large.micro_batch_size > small.micro_batch_size
    least, most = small.peak_bytes(compiled), large.peak_bytes(compiled)
    per_item = max(0.0, (most - least) / (large.micro_batch_size - small.micro_batch_size))
    passing = max(0.0, least - per_item * small.micro_batch_size)
    fixed = small.parameter_bytes + small.gradient_bytes + small.optimizer_state_bytes + passing
    return MemoryNeed(fixed, per_item, gathered_bytes=2 * (small.root_bytes + 2 * small.block_bytes))


def splits(global_batch_size: int) -> list[int]:
    """Micro-batches to try, each the largest proper divisor of the one before: the batch's halves, and so down to 1."""
    sizes = [global_batch_size]
    while sizes[-1] > 1:
        sizes.append(next_smaller(sizes[-1]))
    return sizes


def budget_bytes(available_bytes: float, kind: AcceleratorKind) -> float:
    """What a step may take of all that a device has: headroom and the runtime's own memory are taken off."""
    return available_bytes * (1 - HEADROOM) - RUNTIME_BYTES[kind]


def device_bytes(step_bytes: float, kind: AcceleratorKind) -> float:
    """All that a device must have for a step that takes so much: budget_bytes() turned round."""
    return (step_bytes + RUNTIME_BYTES[kind]) / (1 - HEADROOM)


def largest_fit(line: MemoryNeed, global_batch_size: int, available_bytes: float, kind: AcceleratorKind) -> int | None:
    """The largest of the global batch's splits() that fits; None when not even one item does.

    `available_bytes` is all that the device has (the guest's memory, or one accelerator's).
    """
    budget = budget_bytes(available_bytes, kind)
    return next((size for size in splits(global_batch_size) if line.peak_bytes(size) <= budget), None)
