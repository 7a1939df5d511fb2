"""Softmax attention: over a sliding window in blocks, causal over everything, and YOCO's cross attention.

Scores are scaled by head_dim^-1/2. Sources as in layers.py; the window follows equation 8 of arXiv 2405.05254.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from yocobench.bench.workloads.language.blocks import blocked_causal_attention, blocks_pay
from yocobench.bench.workloads.language.layers import linear, merge_heads, rope_tables, rotate, split_heads

MAX_BLOCK = 256
"""Largest block of queries: wider windows take several blocks of keys, so that less of each is masked out."""


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Query i over keys 0..i: (B, h, T, dh) each, heads already expanded."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def sliding_window_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Query i over keys i - window < j <= i: (B, h, T, dh) each.

    Blocks of b queries against the blocks of keys that they can see: no T x T scores are ever made. All blocks go
    in one batched matrix product.
    """
    length = q.shape[2]
    if window >= length:
        return causal_attention(q, k, v)
    block = min(window, MAX_BLOCK)
    num_earlier = -(-(window - 1) // block)
    pad = -length % block
    q = torch.unflatten(F.pad(q, (0, 0, 0, pad)), 2, (-1, block))
    num_blocks = q.shape[2]
    keys, values = (_windows(x, num_earlier, num_blocks, block, pad) for x in (k, v))

    query_at = torch.arange(num_blocks * block, device=q.device).view(num_blocks, block, 1)
    first_key = (torch.arange(num_blocks, device=q.device) - num_earlier).view(num_blocks, 1, 1) * block
    key_at = first_key + torch.arange((num_earlier + 1) * block, device=q.device)
    allowed = (key_at <= query_at) & (key_at > query_at - window) & (key_at >= 0)

    scores = (q / math.sqrt(q.shape[-1])) @ keys.mT
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).masked_fill(~allowed, -torch.inf)
    attended = scores.softmax(-1).to(values.dtype) @ values
    return attended.flatten(2, 3)[:, :, :length]


def _windows(x: Tensor, num_earlier: int, num_blocks: int, block: int, pad: int) -> Tensor:
    """(B, h, T, dh) -> (B, h, blocks, (num_earlier + 1) block, dh): each block after those that precede it."""
    blocks = torch.unflatten(F.pad(x, (0, 0, num_earlier * block, pad)), 2, (-1, block))
    return torch.cat([blocks[:, :, shift : shift + num_blocks] for shift in range(num_earlier + 1)], dim=3)


class SelfAttention(nn.Module):
    """Causal attention with its own q, k and v: 4 d^2 weights. `window` null: over everything before."""

    def __init__(self, width: int, num_heads: int, window: int | None) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.window = num_heads, width // num_heads, window
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        return self._attend(*self._project(x, 0))

    def prefill(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """forward, and the keys and values that the next token can see."""
        q, k, v = self._project(x, 0)
        return self._attend(q, k, v), self._keep(k, v)

    def step(self, x: Tensor, position: int, cache: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One token x (B, 1, d) at `position`: output (B, 1, d) and the rolled cache."""
        q, k, v = self._project(x, position)
        k, v = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
        out: Tensor = self.out(merge_heads(F.scaled_dot_product_attention(q, k, v)))
        return out, self._keep(k, v)

    def _project(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(part, self.num_heads) for part in self.qkv(x).chunk(3, dim=-1))
        tables = rope_tables(self.head_dim, start, x.shape[1], x)
        return rotate(q, tables), rotate(k, tables), v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        window = self.window or q.shape[2]
        out: Tensor = self.out(merge_heads(sliding_window_attention(q, k, v, window)))
        return out

    def _keep(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        start = 0 if self.window is None else max(0, k.shape[2] - (self.window - 1))
        return k[:, :, start:], v[:, :, start:]


class SharedKeysValues(nn.Module):
    """The one cache of the cross-decoder: K and V of `num_kv_heads` heads, 2 d kv dh weights."""

    def __init__(self, width: int, head_dim: int, num_kv_heads: int) -> None:
        super().__init__()
        self.num_kv_heads, self.head_dim = num_kv_heads, head_dim
        self.kv = linear(width, 2 * num_kv_heads * head_dim)

    def forward(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """(B, T, d) at positions start.. -> K and V, (B, kv, T, dh) each."""
        k, v = (split_heads(part, self.num_kv_heads) for part in self.kv(x).chunk(2, dim=-1))
        return rotate(k, rope_tables(self.head_dim, start, x.shape[1], x)), v


def expand_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, kv, T, dh) -> (B, h, T, dh): query head i reads key-value head i // (h / kv). Once for all layers."""
    return x.repeat_interleave(num_heads // x.shape[1], dim=1)


class CrossAttention(nn.Module):
    """Queries of its own over keys and values that it is given: 2 d^2 weights."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, width // num_heads
        self.q = linear(width, width)
        self.out = linear(width, width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The last tokens x (B, n, d) over all T keys (B, h, T, dh), causally: n is T (training) or 1 (decoding).

        Heads of keys and values are expanded, but for training where blocks_pay() says that blocks are faster.
        """
        start = keys.shape[2] - x.shape[1]
        assert start == 0 or x.shape[1] == 1, (keys.shape, x.shape)
        q = rotate(split_heads(self.q(x), self.num_heads), rope_tables(self.head_dim, start, x.shape[1], x))
        if start > 0:
            attended = F.scaled_dot_product_attention(q, keys, values)
        else:
            attended = (blocked_causal_attention if blocks_pay(keys) else causal_attention)(q, keys, values)
        out: Tensor = self.out(merge_heads(attended))
        return out
