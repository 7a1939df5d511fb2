"""NVIDIA GPU: bf16 autocast on Ampere and later, fp16 with loss scaling on Volta and Turing, TF32 where it exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from yocobench.bench.accelerators.base import MAX_GRADIENT_NORM, default_threads, local_rank, map_tensors
from yocobench.bench.prefetch import Prefetcher
from yocobench.schema import AcceleratorKind, Precision

GRAPHS_UP_TO_FLOPS = 1e12
"""A compiled pass with less work than this is over sooner than its few hundred kernels can be launched one by one (some
5 us each): 1e12 FLOP are about 40 ms of a T4 and 2 ms of an H100."""
OUT_OF_MEMORY = ("out of memory", "_STATUS_ALLOC_FAILED", "_DEVICE_ALLOCATION_FAILED")
"""The words of the driver, Triton and NCCL, then of cuBLAS and its like (pytorch#128601), then of cuDNN since 9.0."""
FIRST_SCALE = 2.0**12
"""Of fp16 gradients. torch's own 2^16 makes small models skip their first steps; it doubles every 2000 good steps."""


def compile_mode(flops_per_pass: float | None, num_passes: int) -> str | None:
    """torch.compile's mode for a micro-batch of so much work: CUDA graphs where launching is what takes the time.

    Not with gradient accumulation: gradients would lie in the memory that the next pass of the graph overwrites.
    Unknown work: no graphs.
    """
    small = flops_per_pass is not None and flops_per_pass < GRAPHS_UP_TO_FLOPS
    return "reduce-overhead" if small and num_passes == 1 else None


def runs_on(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether a part of torch's code runs on a chip of that compute capability.

    `sm_75` is machine code: for chips of its own generation, 7.5 and up. `compute_90` is compiled anew by the driver:
    for all chips from 9.0 up.
    """
    kind, _, number = architecture.partition("_")
    built = divmod(int(number.rstrip("af")), 10)
    return built <= capability and (kind == "compute" or built[0] == capability[0])


def scaled_step(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer, model: nn.Module) -> Tensor:
    """Unscale, clip, step, zero; the norm of the gradients before clipping, on the device.

    A norm that is not finite means that the step was left out. Nothing here waits for the device: a fused optimiser
    decides there whether to step.
    """
    scaler.unscale_(optimizer)
    norm: Any = nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of a sharded model: a DTensor
    return whole


class Device:
    """The GPU of this host that is this process's: the first, of one process."""

    kind: AcceleratorKind = "cuda"
    group_backend = "nccl"
    reduces_gradients = False
    compiling_steps = 1
    compile_backend = "inductor"
    compile_options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise ValueError(f"torch {torch.__version__} sees no CUDA device; check nvidia-smi and the torch build")
        self.device = torch.device("cuda", local_rank())
        capability = torch.cuda.get_device_capability(self.device)
        architectures = [one for one in torch.cuda.get_arch_list() if "_" in one]  # a ROCm build's have names: gfx90a
        if architectures and not any(runs_on(one, capability) for one in architectures):
            raise ValueError(
                f"torch {torch.__version__} has no code for a {torch.cuda.get_device_name(self.device)} (compute "
                f"capability {capability[0]}.{capability[1]}), only for {', '.join(architectures)}; install another "
                "build: https://pytorch.org/get-started (a V100 needs one for CUDA 12.6, of torch 2.14 or earlier)"
            )
        self._scaler = torch.amp.GradScaler("cuda", enabled=False)
        self._skipped: Tensor | int = 0

    def prepare(self, threads: int | None) -> int:
        """Let cuDNN look for its fastest convolutions, free what a model before held; CPU threads by physical core."""
        torch.cuda.set_device(self.device)
        torch.cuda.empty_cache()
        torch.backends.cudnn.benchmark = True
        torch.set_num_threads(threads or default_threads())
        return torch.get_num_threads()

    def synchronize(self) -> None:
        """Wait for all streams."""
        torch.cuda.synchronize(self.device)

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """The context that a precision asks for. Raises ValueError for bf16 on a chip that only emulates it.

        fp32 is what the other precisions are held against, so it stays exact; products that the others leave in fp32
        run in TF32 where the chip has it (Ampere and later).
        """
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
        if precision in ("fp32", "tf32"):
            return nullcontext()
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ValueError(f"{torch.cuda.get_device_name()} has no bf16; use precision fp16")
        if precision == "fp16" and not self._scaler.is_enabled():
            self._scaler = torch.amp.GradScaler("cuda", init_scale=FIRST_SCALE)
        return torch.autocast("cuda", dtype=torch.float16 if precision == "fp16" else torch.bfloat16)

    def feed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Pinned on a thread, two ahead."""
        return Prefetcher(batches, lambda batch: map_tensors(batch, Tensor.pin_memory))

    def to_device(self, batch: Any) -> Any:
        """Copied from pinned memory without waiting; the step's kernels queue behind the copy."""
        return map_tensors(batch, lambda t: t.to(self.device, non_blocking=True))

    def backward(self, loss: Tensor, precision: Precision) -> None:
        """Scaled for fp16."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Unscale, clip, step, zero."""
        norm = scaled_step(self._scaler, optimizer, model)
        if self._scaler.is_enabled():
            self._skipped = self._skipped + ~norm.isfinite()

    def skipped_steps(self) -> int:
        """Counted on the device; read here."""
        return int(self._skipped)

    def compile_mode(self, flops_per_pass: float | None, num_passes: int) -> str | None:
        """CUDA graphs for small models."""
        return compile_mode(flops_per_pass, num_passes)

    def compile_s(self) -> float | None:
        """It has no compiler of its own."""
        return None

    def reset_peak_memory(self) -> None:
        """Start torch's own count anew."""
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory_bytes(self) -> int:
        """Allocated by torch at the peak."""
        return int(torch.cuda.max_memory_allocated(self.device))

    def available_memory_bytes(self) -> int:
        """Free on the device now."""
        return int(torch.cuda.mem_get_info(self.device)[0])

    def is_out_of_memory(self, error: BaseException) -> bool:
        """torch's own class; what CUDA's libraries and graphs allocate beside torch is told in words only."""
        return isinstance(error, torch.cuda.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
        )
