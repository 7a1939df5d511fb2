"""CPU: fp32, or bf16 autocast where the cores have matrix tiles (AMX)."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from yocobench.bench import physical
from yocobench.bench.accelerators.base import MAX_GRADIENT_NORM, default_threads, local_rank, local_size, map_tensors
from yocobench.schema import AcceleratorKind, Precision

CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (
    (CGROUP / "memory.max", CGROUP / "memory.current", CGROUP / "memory.stat"),
    (CGROUP / "memory/memory.limit_in_bytes", CGROUP / "memory/memory.usage_in_bytes", CGROUP / "memory/memory.stat"),
)
"""Limit, use and its parts of the container, as cgroups v2 and v1 tell them inside it."""
PAGE_CACHE = {"inactive_file", "active_file"}
"""Parts of the use that the kernel gives back before it refuses memory: files that were read, a dataset's above all."""
OUT_OF_MEMORY = ("can't allocate memory", "std::bad_alloc")
# Parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let the C library keep what a step frees for the next step; False where it is not glibc.

    It would give large blocks back to the kernel, which clears every page anew: 154,000 page faults and 13 % of a step
    of yoco-lm tiny on one core of an EPYC (2026-11-23). The peak stays, what is in use between peaks does not shrink.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


class Device:
    """All physical cores of this host."""

    kind: AcceleratorKind = "cpu"
    group_backend = "gloo"
    reduces_gradients = False
    compiling_steps = 1
    compile_backend = "inductor"
    compile_options: Mapping[str, Any] = MappingProxyType({"realize_reads_threshold": 8})
    """What reads up to 8 values is computed again where it is used, not written and read back (torch's default: 4).

    Batch norm and ReLU6 of a detector, forward and backward, take 0.72 of their time so; a language model's step takes
    the same time (yoco-lm, Transformer; one Zen 3 core, 2026-11-30).
    """

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def prepare(self, threads: int | None) -> int:
        """One thread for each physical core that is this process's, and memory that is kept."""
        keep_freed_memory()
        torch.set_num_threads(threads or default_threads())
        physical.spread(torch.get_num_threads(), local_rank(), local_size())
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
        """Linux forgets the peak when it is asked to (proc(5), clear_refs); elsewhere a repeat is its own process."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def peak_memory_bytes(self) -> int:
        """Largest resident set of this process since then.

        Not from getrusage where it can be helped: on Linux a process inherits that figure from the one that started it.
        """
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB

    def available_memory_bytes(self) -> int:
        """What the kernel would give without swapping, within the container's and the process's own limits.

        Of several training processes on this box: an equal part of what they have together.
        """
        left = [int(psutil.virtual_memory().available) // local_size()]
        for limit, used, parts in CGROUP_FILES:
            with contextlib.suppress(OSError, ValueError):  # no such controller here, or "max"
                unused = int(limit.read_text()) - int(used.read_text())
                pairs = (line.split() for line in parts.read_text().splitlines())
                left.append((unused + sum(int(size) for name, size in pairs if name in PAGE_CACHE)) // local_size())
        address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if address_space != resource.RLIM_INFINITY:
            left.append(address_space - psutil.Process().memory_info().vms)
        return max(0, min(left))

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Allocation failures of Python, of torch's CPU allocator and of the C++ below it."""
        return isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)
        )
