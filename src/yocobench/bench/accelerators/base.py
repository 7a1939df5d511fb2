"""The seam for devices: one module per kind of accelerator under bench/accelerators/, with a class `Device`."""

from __future__ import annotations

import copy
import dataclasses
import numbers
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from yocobench.bench import physical
from yocobench.schema import AcceleratorKind, Precision

MAX_GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm in every workload, inside the timed step (as the YOCO recipe does)."""


PLAIN = (str, bytes, numbers.Number, np.ndarray, np.generic, type(None))
"""What a batch may hold beside tensors: it stays as it is."""


def map_tensors(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting of mappings, lists, tuples and dataclasses with every tensor changed.

    Raises ValueError for any other object: its tensors would stay where they are, which only an accelerator would show.
    """
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        changed = {key: map_tensors(value, change) for key, value in batch.items()}
        if isinstance(batch, dict) or not isinstance(batch, MutableMapping):
            return changed
        like = copy.copy(batch)  # a class of its own, such as transformers' BatchEncoding
        like.update(changed)
        return like
    if isinstance(batch, list | tuple):
        values = [map_tensors(value, change) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch) if field.init}
        return dataclasses.replace(batch, **{name: map_tensors(value, change) for name, value in fields.items()})
    if isinstance(batch, PLAIN):
        return batch
    raise ValueError(
        f"batches() gives {type(batch).__module__}.{type(batch).__qualname__}; a batch is made of tensors in dicts, "
        "lists, tuples or dataclasses: docs/your-model.md"
    )


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
