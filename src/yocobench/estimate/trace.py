"""One training step of any module, counted on the meta device: no weight is allocated, nothing is computed.

FLOPs are those of products (matrix, convolution, attention, recurrent), two per multiply-add. Bytes are what each
operation reads and writes, eager. torch's flop_counter serves what the table here does not know; the table exists for
what it gets wrong: grouped convolutions backward, attention on CPU (counted 0) and causal attention (counted full).

Not covered: models whose loss depends on values (`nonzero`, boolean indexing, `.item()`): meta tensors have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from yocobench.bench.parallel import blocks
from yocobench.bench.workloads.base import Workload
from yocobench.estimate import workspace
from yocobench.estimate.alive import Alive, is_condensed, key_of
from yocobench.estimate.fused import FusedLayers
from yocobench.estimate.operations import Operation, OperationKind, Trace, merge
from yocobench.paths import first_line

FLOAT32_UNDER_AUTOCAST = (
    "softmax", "layer_norm", "group_norm", "rms_norm", "nll_loss", "loss", "exp", "log", "pow", "rsqrt", "cumsum",
    "sum", "prod", "norm", "reciprocal", "cosine", "cdist", "erfinv",
)  # fmt: skip
"""Parts of operation names that autocast runs in fp32 (torch.amp, list of CUDA ops that autocast to float32)."""
REDUCTIONS = ("sum", "mean", "norm", "softmax", "max", "min", "amax", "cumsum", "argmax", "var", "nll_loss", "pool")
EMBEDDINGS = ("embedding", "index_select", "gather", "scatter", "index_put", "index.")
FREE = ("empty", "new_empty", "lift_fresh", "_unsafe_view", "detach", "alias", "scalar_tensor", "_reshape_alias")
FOREACH_CHUNK = 60
"""Tensors that one multi-tensor kernel of a fused optimiser takes (torch/csrc multi_tensor_apply: 110, 64 or 48)."""


def trace_workload(workload: Workload, micro_batch_size: int, low_precision: bool) -> Trace:
    """The step of a workload at a micro-batch. Raises ValueError when the model cannot run on the meta device."""
    with torch.device("meta"):
        module = workload.build()
        if not isinstance(module, nn.Module):
            raise ValueError(f"build() gives {type(module).__name__}; it must give a torch.nn.Module")
        batch = workload.example_batch(micro_batch_size)
    optimizer = workload.optimizer(module)
    return trace_module(
        module, workload.loss, batch, micro_batch_size, low_precision, optimizer, workload.samples_per_item()
    )


def trace_module(
    module: nn.Module,
    loss_fn: Callable[[nn.Module, Any], Tensor],
    batch: Any,
    micro_batch_size: int,
    low_precision: bool,
    optimizer: torch.optim.Optimizer | None = None,
    samples_per_item: float = 1.0,
    clip_gradients: bool = True,
) -> Trace:
    """The step of a module that lives on the meta device, with its batch. `optimizer`: AdamW when None.

    Raises ValueError when an operation has no meta implementation or depends on values.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = optimizer or torch.optim.AdamW(parameters)
    module.train()
    try:
        _run(module, loss_fn, batch, _Counter(low_precision))  # once, so that gradients exist
        optimizer.step()
        counter = _Counter(low_precision, {key_of(p.grad) for p in parameters if p.grad is not None})
        with nullcontext() if low_precision else workspace.counted(module, counter.alive.hold):
            _run(module, loss_fn, batch, counter)
    except (NotImplementedError, RuntimeError) as error:
        name = type(module).__name__
        raise ValueError(f"{name} cannot be traced on the meta device: {first_line(error)}") from error
    gradients = [p.grad for p in parameters if p.grad is not None]
    root_bytes, block_bytes = _groups(module)
    batch_bytes = sum(t.nbytes for t in tree_leaves(batch) if isinstance(t, Tensor))
    return Trace(
        operations=merge(counter.operations),
        optimizer=merge(_optimizer_operations(parameters, optimizer, clip_gradients)),
        micro_batch_size=micro_batch_size,
        samples_per_item=samples_per_item,
        num_parameters=sum(p.numel() for p in module.parameters()),
        parameter_bytes=sum(t.nbytes for t in (*module.parameters(), *module.buffers())),
        gradient_bytes=sum(g.nbytes for g in gradients),
        optimizer_state_bytes=_state_bytes(optimizer),
        peak_activation_bytes=int(counter.alive.eager.peak_bytes) + batch_bytes,
        peak_fused_activation_bytes=int(counter.alive.fused.peak_bytes) + batch_bytes,
        root_bytes=root_bytes,
        block_bytes=block_bytes,
    )


def _groups(module: nn.Module) -> tuple[int, int]:
    """Bytes of the weights that sharding gathers at once: those outside all blocks, and the largest block's."""
    held = [{id(p): p.nbytes for p in block.parameters()} for block in blocks(module)]
    inside = {key for block in held for key in block}
    root = sum(p.nbytes for p in module.parameters() if id(p) not in inside)
    return root, max((sum(block.values()) for block in held), default=0)


def _run(module: nn.Module, loss_fn: Callable[[nn.Module, Any], Tensor], batch: Any, counter: _Counter) -> None:
    with torch.device("meta"), FusedLayers(counter.record, 2 if counter.low else 4), counter:
        loss = loss_fn(module, batch)
        if not isinstance(loss, Tensor):
            raise ValueError(f"loss() gives {type(loss).__name__}; it must give a tensor, the micro-batch's mean loss")
        loss.backward()


class _Counter(TorchDispatchMode):
    """Counts every operation below autograd, and the bytes alive, with autocast's dtypes imposed on an fp32 run.

    Autocast itself does not know the meta device; a tensor's effective type is kept by storage instead.
    """

    def __init__(self, low_precision: bool, gradients: Set[int] = frozenset()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.low = low_precision
        self.gradients = gradients
        self.operations: list[Operation] = []
        self.alive = Alive()
        self._cast: set[int] = set()

    def record(self, operation: Operation) -> None:
        self.operations.append(operation)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        name = func.name().removeprefix("aten::")
        before = {key_of(t) for t in inputs}
        is_view = not func._schema.is_mutable and bool(outputs) and all(key_of(t) in before for t in outputs)
        product = _product(func, name, args, kwargs, result)
        low = self.low and (product is not None or self._promotes_low(name, inputs))
        written = product is not None or is_condensed(inputs, outputs)
        for place, tensor in enumerate(outputs):
            if key_of(tensor) not in before:  # written in place: alive before the step, or known already
                self.alive.add(tensor, low and not (place and "batch_norm" in name), written)  # statistics, gains: fp32
        if product is not None or _kind(name) == "reduction":
            self.alive.write(inputs)
        if not is_view and not name.startswith(FREE) and outputs:
            self._count(func, name, product, inputs, outputs)
        return result

    def _promotes_low(self, name: str, inputs: list[Tensor]) -> bool:
        """An elementwise result is 16-bit when all its floating inputs of any size are."""
        every = [t for t in inputs if t.is_floating_point()]
        floats = [t for t in every if t.ndim > 0] or every  # beside a tensor a number has no say
        if "batch_norm" in name:  # on no list of autocast's: statistics and gains stay fp32, the images do not
            return bool(floats) and self.alive.is_low(floats[0])
        if any(part in name for part in FLOAT32_UNDER_AUTOCAST):
            return False
        return bool(floats) and all(self.alive.is_low(t) for t in floats)

    def _bytes(self, tensor: Tensor) -> float:
        """What reading the tensor once costs; an expanded one costs its storage."""
        size = min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
        return size * (0.5 if self.alive.is_low(tensor) else 1.0)

    def _count(
        self,
        func: Any,
        name: str,
        product: tuple[OperationKind, float, tuple[int, int, int, int], int] | None,
        inputs: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        if product is not None:
            kind, flops, shape, launches = product
            if self.low:
                self._cast_inputs(inputs)
            half = 0.5 if self.low else 1.0
            read = sum(min(t.nbytes, t.untyped_storage().nbytes()) * half for t in inputs if t.is_floating_point())
            written = sum(t.nbytes * half for t in outputs)
            self.record(Operation(name, kind, flops, read, written, self.low, shape, launches))
            return
        kind = _kind(name)
        if name == "add_.Tensor" and key_of(inputs[0]) in self.gradients:
            kind = "accumulation"
            if self.alive.is_low(inputs[1]):  # of a weight's 16-bit copy: autograd makes an fp32 gradient of it first
                size = float(inputs[1].nbytes)
                self.record(Operation("cast", "elementwise", 0.0, size / 2, size, True))
        read, written = sum(map(self._bytes, inputs)), sum(map(self._bytes, outputs))
        if kind == "accumulation":
            read = float(sum(t.nbytes for t in inputs))
        if func._schema.is_mutable and name.startswith(("zero_", "fill_", "copy_")):
            read = sum(map(self._bytes, inputs[1:]))
        if name.startswith("embedding.") or name == "embedding":
            read = written + inputs[1].nbytes  # only the rows that are looked up
        self.record(Operation(name, kind, 0.0, read, written, self.low))

    def _cast_inputs(self, inputs: list[Tensor]) -> None:
        """Autocast's copies: an fp32 input of a product is cast; a weight's copy is kept until the step ends."""
        for tensor in inputs:
            if tensor.dtype != torch.float32 or self.alive.is_low(tensor):
                continue
            weight = tensor not in self.alive
            if weight and key_of(tensor) in self._cast:
                continue
            if weight:
                self._cast.add(key_of(tensor))
                self.alive.hold(tensor.nbytes / 2)
            self.record(Operation("cast", "elementwise", 0.0, tensor.nbytes, tensor.nbytes / 2, True))


def _kind(name: str) -> OperationKind:
    if any(part in name for part in EMBEDDINGS):
        return "embedding"
    return "reduction" if any(part in name for part in REDUCTIONS) else "elementwise"


def _product(
    func: Any, name: str, args: Any, kwargs: Any, result: Any
) -> tuple[OperationKind, float, tuple[int, int, int, int], int] | None:
    """(kind, FLOPs, (batch, m, n, k), kernels) of an operation that multiplies; None for any other."""
    if name in ("mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot"):
        left, right = args[-2:] if name in ("mm", "bmm", "mv", "dot") else args[1:3]
        batch = left.shape[0] if name in ("bmm", "baddbmm") else 1
        inner = left.shape[-1]
        m = left.shape[-2] if left.ndim > 1 else 1
        n = right.shape[-1] if right.ndim > 1 else 1
        return "matmul", 2.0 * batch * m * n * inner, (batch, m, n, inner), 1
    if name == "convolution":
        return _convolution(args[0].shape, args[1].shape, result.shape, args[6], args[8], 1)
    if name == "convolution_backward":
        gradients = int(args[10][0]) + int(args[10][1])
        return _convolution(args[1].shape, args[2].shape, args[0].shape, args[7], args[9], gradients)
    formula = flop_registry.get(func.overloadpacket)
    if formula is None:
        return None
    return "matmul", float(formula(*args, **(kwargs or {}), out_val=result)), (1, 1, 1, 1), 1


def _convolution(
    x: Any, weight: Any, y: Any, transposed: bool, groups: int, passes: int
) -> tuple[OperationKind, float, tuple[int, int, int, int], int]:
    """Two FLOPs per output element, input channel of its group and kernel tap; each gradient costs the same."""
    dense, taps = (x, math.prod(weight[2:])) if transposed else (y, math.prod(weight[2:]))
    inner = weight[1] * taps
    flops = 2.0 * math.prod(dense) * inner * passes
    rows = dense[0] * math.prod(dense[2:])
    columns = max(1, dense[1] // groups)
    kind: OperationKind = "depthwise_conv" if groups > 1 and weight[1] == 1 else "conv"
    return kind, flops, (groups, rows, columns, inner), max(1, passes)


def _state_bytes(optimizer: torch.optim.Optimizer) -> int:
    return sum(
        value.nbytes
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.numel() > 1
    )


def _optimizer_operations(
    parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, clip: bool
) -> list[Operation]:
    """A fused update: parameters, gradients and state read once, parameters and state written; clipping before it."""
    size = float(sum(p.nbytes for p in parameters))
    state = float(_state_bytes(optimizer))
    kernels = math.ceil(len(parameters) / FOREACH_CHUNK)
    update = Operation("optimizer_step", "optimizer", 0.0, 2 * size + state, size + state, False, launches=kernels)
    if not clip:
        return [update]
    norm = Operation("gradient_norm", "optimizer", 0.0, size, 0.0, False, launches=2 * kernels)
    scale = Operation("gradient_scale", "optimizer", 0.0, size, size, False, launches=kernels)
    return [norm, scale, update]
