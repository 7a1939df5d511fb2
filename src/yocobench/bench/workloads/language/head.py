"""The last product of a language model and its loss: whole, or in chunks where the logits would take too much memory.

Whole, the logits of all tokens are held, and their gradient. In chunks of the sequence each chunk's gradients are made
at once, while its logits are there (as in Liger, arXiv 2410.10989, section 3.2): the same three products, nothing
computed twice, one chunk's logits alive. Compiled, on a CPU, that takes no longer (docs/benchmarks.md); it is kept for
where memory is short, since small products leave a GPU idle. torch's own F.linear_cross_entropy has chunks, too, but
not compiled (torch 2.13).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

MAX_LOGITS_BYTES = 512 * 2**20
"""Of one sequence, in fp32; a step takes two to four times as much. By sequence and not by batch, so that the memory of
a step stays a line in the micro-batch: the search for one that fits bounds the rest."""


class LossHead(nn.Linear):
    """Logits, or their mean cross-entropy. One module, so that a sharded weight is gathered for either."""

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__(width, vocab_size, bias=False)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        """x (B, T, d) -> logits (B, T, V); with targets (B, T), the mean loss in nats per token, in fp32 or wider."""
        if targets is None:
            return super().forward(x)
        length = chunk_length(x.shape[1], self.out_features)
        if length == x.shape[1]:
            return F.cross_entropy(_wide(super().forward(x)).flatten(0, 1), targets.flatten())
        loss: Tensor = _Chunked.apply(x, self.weight, targets, length, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
        return loss


def chunk_length(length: int, vocab_size: int) -> int:
    """Tokens of a sequence that go through the head together: all of them, or equal parts (the last may be shorter)."""
    num_chunks = -(-4 * length * vocab_size // MAX_LOGITS_BYTES)
    return -(-length // num_chunks)


class _Chunked(torch.autograd.Function):
    """The mean loss of x (B, T, d) with weight (V, d), `length` tokens of each sequence at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, length: int, with_gradients: bool) -> Tensor:
        losses, x_gradients, weight_gradient = [], [], None
        for inputs, wanted in zip(x.split(length, dim=1), targets.split(length, dim=1), strict=True):
            rows, ids = inputs.flatten(0, 1), wanted.reshape(-1, 1)
            logits = F.linear(rows, weight)
            wide = _wide(logits)
            total = wide.logsumexp(-1, keepdim=True)
            losses.append((total - wide.gather(-1, ids)).sum())
            if with_gradients:
                # Not yet divided by the number of tokens, which could leave nothing of them in fp16. Backward does it.
                hit = torch.arange(weight.shape[0], device=x.device) == ids
                off = (torch.exp(wide - total) - hit.to(wide.dtype)).to(logits.dtype)
                x_gradients.append((off @ weight).view(inputs.shape))
                added = (off.mT @ rows).to(weight.dtype)
                weight_gradient = added if weight_gradient is None else weight_gradient + added
        if with_gradients:
            ctx.save_for_backward(torch.cat(x_gradients, dim=1), weight_gradient)
            ctx.num_tokens, ctx.dtype = targets.numel(), x.dtype
        return torch.stack(losses).sum() / targets.numel()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x_gradient, weight_gradient = ctx.saved_tensors
        scale = gradient / ctx.num_tokens
        return (x_gradient * scale).to(ctx.dtype), weight_gradient * scale, None, None, None


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
