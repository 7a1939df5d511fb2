"""The pieces that every decoder here shares: RMSNorm, SwiGLU, the layer of both, rotary positions.

Formulas as in YOCO (arXiv 2405.05254, section 2) and Microsoft's code (github.com/microsoft/unilm, folder YOCO).
All projections are bias-free. q, k, v (and gates) come out of one matrix product, and so do gate and up.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

NORM_EPS = 1e-5
ROPE_THETA = 10_000.0


class RMSNorm(nn.Module):
    """x / rms(x) times a gain that starts at 1, over the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return F.rms_norm(x, self.gain.shape, self.gain, NORM_EPS)


class SwiGLU(nn.Module):
    """(silu(x Wg) * (x W1)) W2, with Wg and W1 fused: 3 d f weights."""

    def __init__(self, width: int, ffn_width: int) -> None:
        super().__init__()
        self.gate_up = linear(width, 2 * ffn_width)
        self.down = linear(ffn_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class SelfLayer(nn.Module):
    """A mixer of tokens and a feed-forward, each pre-normed and added.

    A mixer has forward(x), and for decoding prefill(x) -> (out, state) and step(x, position, state) -> (out, state).
    """

    def __init__(self, width: int, ffn_width: int, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer_norm = RMSNorm(width)
        self.mixer: Any = mixer
        self.ffn_norm, self.ffn = RMSNorm(width), SwiGLU(width, ffn_width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        return self._finish(x, self.mixer(self.mixer_norm(x)))

    def prefill(self, x: Tensor) -> tuple[Tensor, Any]:
        """forward, and the mixer's state."""
        mixed, state = self.mixer.prefill(self.mixer_norm(x))
        return self._finish(x, mixed), state

    def step(self, x: Tensor, position: int, state: Any) -> tuple[Tensor, Any]:
        """One token (B, 1, d), and the mixer's next state."""
        mixed, state = self.mixer.step(self.mixer_norm(x), position, state)
        return self._finish(x, mixed), state

    def _finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + mixed
        out: Tensor = x + self.ffn(self.ffn_norm(x))
        return out


def linear(num_inputs: int, num_outputs: int) -> nn.Linear:
    """Bias-free; torch's default, U(+-1/sqrt(inputs)), is the initialisation that YOCO uses."""
    return nn.Linear(num_inputs, num_outputs, bias=False)


def embedding(vocab_size: int, width: int) -> nn.Embedding:
    """Rows drawn from N(0, 1/d), so that sqrt(d) E[ids] has unit variance."""
    table = nn.Embedding(vocab_size, width)
    nn.init.normal_(table.weight, std=width**-0.5)
    return table


def rope_tables(head_dim: int, start: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, (length, head_dim / 2) each, for positions start .. start + length - 1.

    Inverse frequencies are theta^-linspace(0, 1, head_dim / 2), both ends included, as YOCO has them (Llama's stop
    one short of the end). Computed on the fly: cheaper than a buffer to keep, and any position works.
    """
    exponents = torch.linspace(0, 1, head_dim // 2, device=like.device, dtype=torch.float32)
    positions = torch.arange(start, start + length, device=like.device, dtype=torch.float32)
    angles = positions[:, None] * torch.exp(-math.log(ROPE_THETA) * exponents)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions for x (..., T, head_dim), in the half-split layout: dimension i turns with i + head_dim / 2.

    YOCO's code pairs neighbours; that is the same model up to a permutation of weight rows, and strides by 2.
    """
    cos, sin = tables
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, h dh) -> (B, h, T, dh)."""
    return torch.unflatten(x, -1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, h, T, dh) -> (B, T, h dh)."""
    return x.transpose(1, 2).flatten(-2)
