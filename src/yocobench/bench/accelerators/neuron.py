"""AWS Trainium through torch-neuronx (torch_xla): one NeuronCore, lazily traced steps, marked at their end.

The stack comes with the Neuron image (torch 2.9, Neuron SDK 2.28 to 2.31), never from PyPI, whose torch-neuronx is a
placeholder. Training through XLA is unsupported by AWS since Neuron 2.30 (aws-neuron-sdk notice, 2026-05-20).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psutil
import torch
import torch_xla.core.xla_model as xm
from torch import Tensor, nn

from yocobench.bench.accelerators.base import MAX_GRADIENT_NORM, map_tensors
from yocobench.schema import AcceleratorKind, Precision


class Device:
    """The NeuronCore that torch_xla gives this process."""

    kind: AcceleratorKind = "neuron"
    group_backend = "xla"
    reduces_gradients = True

    def __init__(self) -> None:
        self.device = xm.xla_device()

    def prepare(self, threads: int | None) -> int:
        """CPU threads by physical core; the device needs no flags."""
        torch.set_num_threads(threads or psutil.cpu_count(logical=False) or 1)
        return torch.get_num_threads()

    def synchronize(self) -> None:
        """Run what was traced and wait for it."""
        xm.mark_step()
        xm.wait_device_ops()

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """bf16 by autocast on the XLA device."""
        if precision == "bf16":
            return torch.autocast("xla", dtype=torch.bfloat16)
        if precision == "fp32":
            return nullcontext()
        raise ValueError(f"precision {precision!r} is not for Trainium; known: bf16, fp32")

    def feed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """As they come."""
        return batches

    def to_device(self, batch: Any) -> Any:
        """Copied to the device."""
        return map_tensors(batch, lambda tensor: tensor.to(self.device))

    def backward(self, loss: Tensor, precision: Precision) -> None:
        """Plain backward: bf16 has fp32's range."""
        loss.backward()

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Clip, step, zero, and end the traced graph so that the compiler sees one step."""
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        xm.optimizer_step(optimizer)
        optimizer.zero_grad(set_to_none=True)
        xm.mark_step()

    def skipped_steps(self) -> int:
        """None: no loss is scaled here."""
        return 0

    def compile_mode(self, flops_per_pass: float | None, num_passes: int) -> str | None:
        """The compiler's own."""
        return None

    def reset_peak_memory(self) -> None:
        """torch_xla keeps no peak to reset."""

    def peak_memory_bytes(self) -> int:
        """In use now, as torch_xla tells it: it keeps no peak."""
        info = xm.get_memory_info(self.device)
        return int(info.get("bytes_used", 0))

    def available_memory_bytes(self) -> int:
        """Free on the device now."""
        info = xm.get_memory_info(self.device)
        return int(info["bytes_limit"] - info["bytes_used"])

    def is_out_of_memory(self, error: BaseException) -> bool:
        """The runtime reports it as RESOURCE_EXHAUSTED."""
        return isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
