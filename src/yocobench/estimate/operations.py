"""What one training step does, counted: the result of a trace and the input of the roofline. No torch here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

OperationKind = Literal[
    "matmul",
    "conv",
    "depthwise_conv",
    "attention",
    "recurrent",
    "elementwise",
    "reduction",
    "embedding",
    "accumulation",
    "optimizer",
]
ARITHMETIC: frozenset[OperationKind] = frozenset({"matmul", "conv", "depthwise_conv", "attention", "recurrent"})
"""Kinds whose FLOPs count: two per multiply-add. The others are bound by bytes and count none. `accumulation` adds a
micro-batch's gradient to the last one's: the first of a step has none to add to."""


@dataclass(frozen=True)
class Operation:
    """One kind of kernel of the step and how often it runs."""

    name: str
    kind: OperationKind
    flops: float
    """Of one execution; useful work only (causal attention counts half of the square)."""
    bytes_read: float
    bytes_written: float
    low_precision: bool
    """Does it run in the 16-bit type under autocast? False: fp32 (TF32 where the hardware substitutes it)."""
    shape: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Independent products, rows, columns and inner length, for the achieved rate: (batch, m, n, k)."""
    launches: int = 1
    """Kernels of one execution."""
    serial: int = 1
    """Dependent steps inside one execution (time steps of a recurrent layer)."""
    count: int = 1

    @property
    def bytes_moved(self) -> float:
        """Of one execution."""
        return self.bytes_read + self.bytes_written


@dataclass(frozen=True)
class Trace:
    """One forward and backward pass over a micro-batch, and the optimiser step that follows the last of them."""

    operations: tuple[Operation, ...]
    optimizer: tuple[Operation, ...]
    micro_batch_size: int
    samples_per_item: float
    """Samples (images, tokens) in one item of the batch."""
    num_parameters: int
    parameter_bytes: int
    gradient_bytes: int
    optimizer_state_bytes: int
    peak_activation_bytes: int
    """Most bytes alive at once beside parameters, gradients and optimiser state: batch, saved and passing tensors."""
    peak_fused_activation_bytes: int
    """The same for a compiled step, which does not write out what only elementwise operations read."""
    root_bytes: int
    """Weights outside all blocks (bench/parallel.py): embeddings and head, say."""
    block_bytes: int
    """Weights of the largest block."""

    def peak_bytes(self, compiled: bool) -> int:
        """Most bytes alive at once beside parameters, gradients and optimiser state, of a compiled or an eager step."""
        return self.peak_fused_activation_bytes if compiled else self.peak_activation_bytes

    @property
    def flops(self) -> float:
        """Forward and backward FLOPs of the micro-batch."""
        return sum(op.flops * op.count for op in self.operations)


def merge(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """The same work with equal operations counted once, in order of first appearance."""
    counts: dict[Operation, int] = {}
    for op in operations:
        one = op if op.count == 1 else replace(op, count=1)
        counts[one] = counts.get(one, 0) + op.count
    return tuple(replace(op, count=count) for op, count in counts.items())
