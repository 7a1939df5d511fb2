"""AWS Trainium: one NeuronCore a process, by the back end that the installed stack has.

- PyTorch/XLA (`torch_xla`, all of Trn1): steps are traced lazily and run as one graph when they are marked. The stack
  comes with the Neuron image (docs/accelerators.md), never from PyPI, whose torch-neuronx is a placeholder.
- Native (`device="neuron"`, torch-neuronx 2.14 and later, Trn2 and Trn3): an ordinary device behind torch.accelerator.

One graph holds forward, backward, gradient averaging, clipping and optimiser. It is compiled twice: the second step
finds optimiser state that the first one made. Both count as the first step (`compiling_steps`).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from yocobench.bench.accelerators.base import (
    MAX_GRADIENT_NORM,
    Accelerator,
    default_threads,
    local_rank,
    map_tensors,
)
from yocobench.schema import AcceleratorKind, Precision


def has_native() -> bool:
    """Whether torch itself knows the device `neuron`: torch-neuronx registers it as PrivateUse1 when torch starts."""
    return bool(torch._C._get_privateuse1_backend_name() == "neuron" and torch.accelerator.is_available())


def Device() -> Accelerator:  # noqa: N802 (what open_device looks for)
    """The NeuronCore that is this process's. Raises ValueError where neither back end is installed."""
    if has_native():
        return NativeDevice()
    if importlib.util.find_spec("torch_xla") is None:
        raise ValueError(
            f"torch {torch.__version__} has no Neuron back end: neither torch_xla nor device 'neuron'; "
            "start from the image that docs/accelerators.md names"
        )
    return XlaDevice()


def _world_size() -> int:
    """Processes that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def clip(model: nn.Module) -> None:
    """As nn.utils.clip_grad_norm_, in plain products: a lazy back end hands the norm operator back to the host."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([(gradient * gradient).sum() for gradient in gradients]).sum().sqrt()
    scale = (MAX_GRADIENT_NORM / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale)


class _Neuron:
    """What both back ends share."""

    kind: AcceleratorKind = "neuron"
    device: torch.device
    compiling_steps = 2
    compile_backend = "neuron"
    compile_options: Mapping[str, Any] = MappingProxyType({})
    """Of torch.compile, which only the native back end is asked for."""

    def prepare(self, threads: int | None) -> int:
        """CPU threads by physical core; the device needs no flags."""
        torch.set_num_threads(threads or default_threads())
        return torch.get_num_threads()

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """bf16 by autocast. Raises ValueError for a precision that is not for Trainium."""
        if precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
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

    def skipped_steps(self) -> int:
        """None: there is no loss scaling."""
        return 0

    def compile_mode(self, flops_per_pass: float | None, num_passes: int) -> str | None:
        """The compiler's own: it has no other."""
        return None

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Neuron's runtime and torch_xla say RESOURCE_EXHAUSTED, the native back end torch's own class."""
        return isinstance(error, torch.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        )


class XlaDevice(_Neuron):
    """Through torch_xla. Nothing in a step may read a value on the host: that would cut the graph in two."""

    group_backend = "xla"
    reduces_gradients = True

    def __init__(self) -> None:
        import torch_xla.core.xla_model as xm
        import torch_xla.debug.metrics as counters
        from torch_xla import runtime

        if "TORCHELASTIC_RUN_ID" in os.environ:
            import torch_xla.distributed.xla_backend  # noqa: F401 (registers the group's back end)
        self._xm, self._counters, self._runtime = xm, counters, runtime
        self.device = xm.xla_device()

    def prepare(self, threads: int | None) -> int:
        """As above. Raises ValueError where torch_xla would train each process alone, without a word."""
        started, known = _world_size(), self._runtime.world_size()
        if known != started:
            raise ValueError(
                f"{started} processes were started, torch_xla knows of {known} (PJRT_DEVICE="
                f"{os.environ.get('PJRT_DEVICE')}): their gradients would not be averaged; torch-neuronx tells it, on "
                "the image that docs/accelerators.md names; elsewhere set workload.processes=1"
            )
        return super().prepare(threads)

    def synchronize(self) -> None:
        """Wait for the step that was marked."""
        self._xm.wait_device_ops()

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Average over the processes, clip, step, zero, and mark the end: the compiler sees one step as one graph."""
        if _world_size() > 1:
            # Not pinned, as torch.distributed's own all_reduce: XLA compiles no graph that has both kinds.
            self._xm.reduce_gradients(optimizer, pin_layout=False)
        clip(model)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self._xm.mark_step()

    def compile_s(self) -> float | None:
        """Seconds of compilation so far, as torch_xla counts them; from Neuron's cache on disk they are few."""
        data = self._counters.metric_data("CompileTime")
        return data[1] * 1e-9 if data else 0.0  # (samples, sum in ns, ...)

    def reset_peak_memory(self) -> None:
        """torch_xla's peak is that of the process: it cannot be reset."""

    def peak_memory_bytes(self) -> int | None:
        """Since the process started: between steps the activations are gone, so what is in use then says little."""
        info = self._memory()
        return max(info["bytes_used"], info.get("peak_bytes_used", 0)) if info else None

    def available_memory_bytes(self) -> int | None:
        """Free on the device now."""
        info = self._memory()
        return info["bytes_limit"] - info["bytes_used"] if info.get("bytes_limit") else None

    def _memory(self) -> dict[str, int]:
        """Empty where the runtime keeps no such count: on PJRT's CPU asking for it is an error."""
        try:
            return dict(self._xm.get_memory_info(self.device))
        except RuntimeError as error:
            if "UNIMPLEMENTED" not in str(error):
                raise
            return {}


class NativeDevice(_Neuron):
    """Through torch.accelerator, as TorchNeuron's documentation has it (2026-10-14); not tried on such a machine."""

    group_backend = "neuron"
    reduces_gradients = False

    def __init__(self) -> None:
        self.device = torch.device("neuron", local_rank())

    def prepare(self, threads: int | None) -> int:
        """This process's core, then the threads."""
        torch.accelerator.set_device_index(local_rank())
        return super().prepare(threads)

    def synchronize(self) -> None:
        """Wait for the device's queue."""
        torch.accelerator.synchronize(self.device)

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Clip, step, zero."""
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def compile_s(self) -> float | None:
        """Counted by bench/compiling.py: this back end compiles through torch.compile."""
        return None

    def reset_peak_memory(self) -> None:
        """Start the allocator's count anew."""
        torch.accelerator.reset_peak_memory_stats(self.device)

    def peak_memory_bytes(self) -> int:
        """Allocated by torch at the peak."""
        return int(torch.accelerator.max_memory_allocated(self.device))

    def available_memory_bytes(self) -> int:
        """Free on the device now."""
        return int(torch.accelerator.get_memory_info(self.device)[0])
