"""YOCO, "You Only Cache Once": a decoder whose second half attends to one key-value cache made by its first half.

    x = sqrt(d) E[ids]
    first half, self-decoder:    x = x + Mix_l(norm(x)),  x = x + FFN_l(norm(x))
    K, V = from norm(x), once, with fewer heads than the queries (GQA)
    second half, cross-decoder:  x = x + Wo_l Attn(norm(x) Wq_l, K, V),  x = x + FFN_l(norm(x))
    logits = norm(x) U

Sources: arXiv 2405.05254 (NeurIPS 2024), equations 1 to 3; github.com/microsoft/unilm, folder YOCO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from yocobench.bench.workloads.language.attention import CrossAttention, SelfAttention, SharedKeysValues, expand_heads
from yocobench.bench.workloads.language.blocks import blocks_pay
from yocobench.bench.workloads.language.head import LossHead
from yocobench.bench.workloads.language.layers import RMSNorm, SelfLayer, SwiGLU, embedding
from yocobench.bench.workloads.language.retention import GatedRetention

Mixer = Literal["gated-retention", "sliding-window"]


@dataclass(frozen=True)
class YocoShape:
    """Sizes of a model. FLOPs count a multiply and an add as two, and useful work only: no masked half of a block."""

    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    ffn_width: int
    vocab_size: int
    mixer: Mixer
    retention_head_dim: int
    chunk: int
    """Tokens in a chunk of gated retention."""
    window: int
    """Keys that a query sees in sliding-window attention, its own included."""

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.width // self.num_heads

    def num_matmul_parameters(self) -> int:
        """Weights that take part in a matrix product: all but the embedding table and the norms' gains.

        (L/2)(A + 3 d f) + (L/2)(2 d^2 + 3 d f) + 2 d kv dh + d V, where A = 5 d^2 + d h_r or 4 d^2.
        """
        d, half, ffn = self.width, self.num_layers // 2, 3 * self.width * self.ffn_width
        retention = 5 * d * d + d * (d // self.retention_head_dim)
        mixer = retention if self.mixer == "gated-retention" else 4 * d * d
        shared = 2 * d * self.num_kv_heads * self.head_dim
        return half * (mixer + ffn) + half * (2 * d * d + ffn) + shared + d * self.vocab_size

    def num_parameters(self) -> int:
        """All weights: with the embedding table and the gains (two a layer, one before K and V, one at the end)."""
        return self.num_matmul_parameters() + self.width * (self.vocab_size + 2 * self.num_layers + 2)

    def train_flops_per_token(self, sequence_length: int) -> float:
        """6 N + (L/2) 12 d (K_cross + K_self): K is the mean number of keys that a query works on, causally.

        K_cross = (T+1)/2. K_self = C/2 + dk for chunkwise retention (half a chunk and the state), and
        W - W(W-1)/(2T) for a window of W <= T.
        """
        t, w = sequence_length, min(self.window, sequence_length)
        chunk = min(self.chunk, t)
        keys_self = (
            chunk / 2 + self.retention_head_dim if self.mixer == "gated-retention" else w - w * (w - 1) / (2 * t)
        )
        scores = self.num_layers // 2 * 12 * self.width * ((t + 1) / 2 + keys_self)
        return 6 * self.num_matmul_parameters() + scores


class CrossLayer(nn.Module):
    """Cross attention over the shared K and V, and a feed-forward."""

    def __init__(self, width: int, ffn_width: int, num_heads: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(width), CrossAttention(width, num_heads)
        self.ffn_norm, self.ffn = RMSNorm(width), SwiGLU(width, ffn_width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, n, d) over K and V (B, h, T, dh) -> (B, n, d)."""
        x = x + self.attention(self.attention_norm(x), keys, values)
        out: Tensor = x + self.ffn(self.ffn_norm(x))
        return out


@dataclass(frozen=True)
class Cache:
    """All that decoding needs of the `length` tokens so far."""

    length: int
    states: tuple[Any, ...]
    """Per self-decoder layer: a retention state, or the keys and values of the window. Size independent of length."""
    keys: Tensor
    values: Tensor
    """The one cache that grows: (B, kv, length, dh), for all cross-decoder layers."""


class Yoco(nn.Module):
    """The whole model. `forward` trains; `prefill` and `step` decode."""

    def __init__(self, shape: YocoShape) -> None:
        super().__init__()
        self.shape = shape
        width, ffn, half = shape.width, shape.ffn_width, range(shape.num_layers // 2)
        self.embed = embedding(shape.vocab_size, width)
        self.self_decoder: Any = nn.ModuleList(SelfLayer(width, ffn, _mixer(shape)) for _ in half)
        self.kv_norm = RMSNorm(width)
        self.shared = SharedKeysValues(width, shape.head_dim, shape.num_kv_heads)
        self.cross_decoder = nn.ModuleList(CrossLayer(width, ffn, shape.num_heads) for _ in half)
        self.norm = RMSNorm(width)
        self.head = LossHead(width, shape.vocab_size)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """Token ids (B, T) -> logits (B, T, V); with targets (B, T), the mean loss instead (one graph to compile)."""
        x = self._embed(ids)
        for layer in self.self_decoder:
            x = layer(x)
        keys, values = self.shared(self.kv_norm(x))
        return self._cross(x, keys, values, targets)

    @torch.no_grad()
    def prefill(self, ids: Tensor) -> tuple[Tensor, Cache]:
        """Logits (B, V) after the prompt ids (B, T). The cross-decoder runs on the last token only: YOCO's saving."""
        x, states = self._embed(ids), []
        for layer in self.self_decoder:
            x, state = layer.prefill(x)
            states.append(state)
        keys, values = self.shared(self.kv_norm(x))
        logits = self._cross(x[:, -1:], keys, values)[:, 0]
        return logits, Cache(ids.shape[1], tuple(states), keys, values)

    @torch.no_grad()
    def step(self, ids: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Logits (B, V) after one more token ids (B,), and the cache with it in."""
        x, states = self._embed(ids[:, None]), []
        for layer, state in zip(self.self_decoder, cache.states, strict=True):
            x, new = layer.step(x, cache.length, state)
            states.append(new)
        key, value = self.shared(self.kv_norm(x), cache.length)
        keys, values = torch.cat((cache.keys, key), dim=2), torch.cat((cache.values, value), dim=2)
        return self._cross(x, keys, values)[:, 0], Cache(cache.length + 1, tuple(states), keys, values)

    def _embed(self, ids: Tensor) -> Tensor:
        x: Tensor = self.embed(ids) * self.shape.width**0.5
        return x

    def _cross(self, x: Tensor, keys: Tensor, values: Tensor, targets: Tensor | None = None) -> Tensor:
        if x.shape[1] < keys.shape[2] or not blocks_pay(keys):
            keys, values = expand_heads(keys, self.shape.num_heads), expand_heads(values, self.shape.num_heads)
        for layer in self.cross_decoder:
            x = layer(x, keys, values)
        out: Tensor = self.head(self.norm(x), targets)
        return out


def _mixer(shape: YocoShape) -> GatedRetention | SelfAttention:
    if shape.mixer == "gated-retention":
        return GatedRetention(shape.width, shape.retention_head_dim, shape.chunk)
    return SelfAttention(shape.width, shape.num_heads, shape.window)
