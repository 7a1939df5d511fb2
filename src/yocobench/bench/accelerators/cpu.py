"""CPU: fp32, or bf16 autocast where the cores have matrix tiles (AMX)."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from yocobench.bench.accelerators.base import MAX_GRADIENT_NORM, default_threads, map_tensors
from yocobench.schema import AcceleratorKind, Precision


class Device:
    """All physical cores of this host."""

    kind: AcceleratorKind = "cpu"
    group_backend = "gloo"
    reduces_gradients = False
    compiling_steps = 1
    compile_backend = "inductor"

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def prepare(self, threads: int | None) -> int:
        """One thread for each physical core that is this process's."""
        torch.set_num_threads(threads or default_threads())
        return torch.get_num_threads()

    def synchronize(self) -> None:
        """CPU work is done when the call returns."""

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """bf16 autocast, or nothing for fp32. Raises ValueError for a precision that a CPU does not train in."""
        if precision == "bf16":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        if precision == "fp32":
            return nullcontext()
        raise ValueError(f"precision {precision!r} is not for a CPU; known: bf16, fp32")

    def feed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """As they come: a thread would take its time from the cores that train."""
        return batches

    def to_device(self, batch: Any) -> Any:
        """Already there."""
        return map_tensors(batch, lambda tensor: tensor)

    def backward(self, loss: Tensor, precision: Precision) -> None:
        """Plain backward: bf16 has fp32's range."""
        loss.backward()

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Clip, step, zero."""
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def skipped_steps(self) -> int:
        """None: no loss is scaled here."""
        return 0

    def compile_mode(self, flops_per_pass: float | None, num_passes: int) -> str | None:
        """The compiler's own."""
        return None

    def compile_s(self) -> float | None:
        """It has no compiler of its own."""
        return None

    def reset_peak_memory(self) -> None:
        """The kernel keeps the peak of the process; a repeat is a process of its own."""

    def peak_memory_bytes(self) -> int:
        """Largest resident set of this process so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB

    def available_memory_bytes(self) -> int:
        """What the kernel would give without swapping."""
        return int(psutil.virtual_memory().available)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Allocation failures of Python and of torch's CPU allocator."""
        return isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError) and "can't allocate memory" in str(error).lower()
        )
