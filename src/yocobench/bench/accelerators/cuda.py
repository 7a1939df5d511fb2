"""NVIDIA GPU: bf16 autocast on Ampere and later, fp16 with loss scaling on Volta and Turing, TF32 where it exists."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from yocobench.bench.accelerators.base import MAX_GRADIENT_NORM, map_tensors
from yocobench.schema import AcceleratorKind, Precision


class Device:
    """The first GPU of this host."""

    kind: AcceleratorKind = "cuda"

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} sees no CUDA device; check nvidia-smi and the torch build")
        self.device = torch.device("cuda", 0)
        self._scaler = torch.amp.GradScaler("cuda", enabled=False)

    def prepare(self, threads: int | None) -> int:
        """TF32 for the products that stay in fp32; CPU threads by physical core."""
        torch.cuda.set_device(self.device)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        torch.set_num_threads(threads or psutil.cpu_count(logical=False) or 1)
        return torch.get_num_threads()

    def synchronize(self) -> None:
        """Wait for all streams."""
        torch.cuda.synchronize(self.device)

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """The context that a precision asks for. Raises ValueError for bf16 on a chip that only emulates it."""
        if precision in ("fp32", "tf32"):
            return nullcontext()
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ValueError(f"{torch.cuda.get_device_name()} has no bf16; use precision fp16")
        if precision == "fp16" and not self._scaler.is_enabled():
            self._scaler = torch.amp.GradScaler("cuda", init_scale=2.0**12)
        return torch.autocast("cuda", dtype=torch.float16 if precision == "fp16" else torch.bfloat16)

    def to_device(self, batch: Any) -> Any:
        """Copied from pinned memory without waiting; the step's kernels queue behind the copy."""
        return map_tensors(batch, lambda t: t.pin_memory().to(self.device, non_blocking=True))

    def backward(self, loss: Tensor, precision: Precision) -> None:
        """Scaled for fp16."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Unscale, clip, step, zero."""
        self._scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        self._scaler.step(optimizer)
        self._scaler.update()
        optimizer.zero_grad(set_to_none=True)

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
        """torch raises its own class."""
        return isinstance(error, torch.cuda.OutOfMemoryError)
