"""The seam for devices: one module per kind of accelerator under bench/accelerators/, with a class `Device`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from yocobench.bench import physical
from yocobench.schema import AcceleratorKind, Precision

MAX_GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm in every workload, inside the timed step (as the YOCO recipe does)."""


def map_tensors(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting of dicts, lists and tuples with every tensor changed."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, dict):
        return {key: map_tensors(value, change) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(map_tensors(value, change) for value in batch)
    return batch


def local_rank() -> int:
    """Which of this box's training processes this one is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_size() -> int:
    """How many training processes this box has."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def default_threads() -> int:
    """One thread for each physical core that may be used, shared between this box's training processes.

    SMT siblings share the vector units that training saturates.
    """
    return max(1, physical.usable() // local_size())


class Accelerator(Protocol):
    """What the measuring loop asks of a device."""

    kind: AcceleratorKind
    device: torch.device
    group_backend: str
    """Of torch.distributed, for several processes."""
    reduces_gradients: bool
    """`step` itself averages them over the processes."""
    compiling_steps: int
    """Steps that the device compiles in before it runs the same code again: together they are the first step."""
    compile_backend: str
    """Of torch.compile."""
    compile_options: Mapping[str, Any]
    """Of that backend, where no mode is asked for."""

    def prepare(self, threads: int | None) -> int:
        """Set threads and flags; returns the number of CPU threads in use."""

    def synchronize(self) -> None:
        """Return when all work handed to the device is done."""

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """Context in which forward and loss run."""

    def feed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, made ready for `to_device` ahead of time where that pays."""

    def to_device(self, batch: Any) -> Any:
        """The batch, on the device."""

    def backward(self, loss: Tensor, precision: Precision) -> None:
        """Backward pass; scales the loss where fp16 needs it."""

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Clip gradients to norm 1, step, zero gradients. Inside the timed region."""

    def skipped_steps(self) -> int:
        """Optimiser steps that loss scaling left out so far. Waits for the device: never inside the clock."""

    def compile_mode(self, flops_per_pass: float | None, num_passes: int) -> str | None:
        """torch.compile's `mode` for `num_passes` micro-batches a step, of so many useful FLOPs each; null: its own."""

    def compile_s(self) -> float | None:
        """Seconds that the device's own compiler took so far; null: it has none, or torch.compile drives it."""

    def reset_peak_memory(self) -> None:
        """Start counting peak memory anew."""

    def peak_memory_bytes(self) -> int | None:
        """Peak since the reset: resident set for a CPU, allocated for an accelerator; null: it does not say."""

    def available_memory_bytes(self) -> int | None:
        """What a run may use, before headroom; null: it does not say."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Is this exception the device's way of saying so?"""
