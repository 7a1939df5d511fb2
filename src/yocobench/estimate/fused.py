"""Stand-ins, on the meta device, for layers that run as one kernel on every device but decompose on meta.

Scaled dot product attention there becomes matrix products over the whole square and loses `is_causal`; an LSTM
becomes one kernel a gate and time step. The stand-ins give the right shapes, and report the fused cost to `record`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from yocobench.estimate.operations import Operation

Record = Callable[[Operation], None]
GATES = {torch.lstm: 4, torch.gru: 3, torch.rnn_tanh: 1, torch.rnn_relu: 1}


class FusedLayers(TorchFunctionMode):
    """While active, attention and recurrent layers run as the stand-ins."""

    def __init__(self, record: Record, element_bytes: int) -> None:
        super().__init__()
        self.record = record
        self.element_bytes = element_bytes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is self._original:
            return self._attention(*args, **kwargs)
        if func in GATES and isinstance(args[3], bool):
            return self._recurrent(GATES[func], *args)
        return func(*args, **kwargs)

    def __enter__(self) -> FusedLayers:
        # By name too: torch's multi-head attention and recomputation in backward call it where no mode is active.
        self._original = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = self._attention
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        functional.scaled_dot_product_attention = self._original
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        result: Tensor = _Attention.apply(self.record, self.element_bytes, is_causal, query, key, value)  # type: ignore[no-untyped-call]
        return result

    def _recurrent(  # torch's own signature
        self,
        gates: int,
        x: Tensor,
        state: Any,
        weights: list[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        hidden = state[0] if isinstance(state, tuple | list) else state
        size = (gates, hidden.shape[2], num_layers, 2 if bidirectional else 1, batch_first)
        output: Tensor = _Recurrent.apply(self.record, self.element_bytes, size, x, *weights)  # type: ignore[no-untyped-call]
        states = tuple(torch.empty_like(hidden) for _ in range(2 if gates == 4 else 1))
        return (output, *states)


class _Attention(torch.autograd.Function):
    """Flash-style attention: q, k, v and the output pass through memory, the square of scores does not."""

    @staticmethod
    def forward(ctx: Any, record: Record, size: int, causal: bool, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output = q.new_empty((*q.shape[:-1], v.shape[-1]))
        ctx.save_for_backward(q, k, v, output)
        heads = q.shape[:-2].numel()
        area = heads * q.shape[-2] * k.shape[-2] * (0.5 if causal else 1.0)
        shape = (heads, q.shape[-2], k.shape[-2], q.shape[-1])
        flops = 2.0 * area * (q.shape[-1] + v.shape[-1])
        ctx.report = record, size, flops, shape
        read, written = (q.numel() + k.numel() + v.numel()) * size, output.numel() * size
        record(Operation("attention", "attention", flops, read, written, size == 2, shape))
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        q, k, v, output = ctx.saved_tensors
        record, size, flops, shape = ctx.report
        inputs = (q.numel() + k.numel() + v.numel()) * size
        # Four products for the gradients; the scores are computed once more on the device, which is time, not useful
        # work: flop_counter and the closed formulas both leave that out here.
        read = inputs + 2.0 * output.numel() * size
        record(Operation("attention_backward", "attention", 2 * flops, read, inputs, size == 2, shape, launches=3))
        return None, None, None, torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


class _Recurrent(torch.autograd.Function):
    """A stack of LSTM, GRU or RNN layers as cuDNN and oneDNN run it: input products at once, time steps in turn."""

    @staticmethod
    def forward(ctx: Any, record: Record, size: int, shape: Any, x: Tensor, *weights: Tensor) -> Tensor:
        gates, hidden, num_layers, directions, batch_first = shape
        steps, batch = (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])
        lead = (batch, steps) if batch_first else (steps, batch)
        output = x.new_empty((*lead, hidden * directions))
        ctx.saved = [x.new_empty((num_layers * directions, steps, batch, hidden * (gates + 1)))]
        ctx.save_for_backward(x, output, *weights)
        ctx.report = record, size, shape, steps, batch
        _report(record, size, shape, steps, batch, x.shape[2], "forward", 1)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, _, *weights = ctx.saved_tensors
        record, size, shape, steps, batch = ctx.report
        _report(record, size, shape, steps, batch, x.shape[2], "backward", 2)
        return None, None, None, torch.empty_like(x), *[torch.empty_like(w) for w in weights]


def _report(record: Record, size: int, shape: Any, steps: int, batch: int, width: int, name: str, passes: int) -> None:
    gates, hidden, num_layers, directions, _ = shape
    for layer in range(num_layers):
        inner = width if layer == 0 else hidden * directions
        rows, columns = steps * batch, gates * hidden
        for _ in range(directions):
            flops = 2.0 * rows * columns * inner * passes
            moved = (rows * inner + inner * columns) * size * passes
            product = (1, rows, columns, inner)
            record(Operation(f"rnn_input_{name}", "matmul", flops, moved, rows * columns * size, size == 2, product))
            flops = 2.0 * rows * columns * hidden * passes
            # The recurrent weights stay in cache between steps on a GPU of today; they are read once a step.
            moved = steps * (hidden * columns + batch * (hidden + columns)) * size * passes
            written = rows * (gates + 1) * hidden * size * passes
            product = (1, batch, columns, hidden)
            record(
                Operation(f"rnn_steps_{name}", "recurrent", flops, moved, written, size == 2, product, 2 * steps, steps)
            )
