"""A plain Llama-like decoder: pre-norm, causal multi-head attention with rotary positions, SwiGLU, no biases."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from yocobench.bench.workloads.language.attention import SelfAttention
from yocobench.bench.workloads.language.head import LossHead
from yocobench.bench.workloads.language.layers import RMSNorm, SelfLayer, embedding


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a model; FLOPs as in YocoShape."""

    width: int
    num_layers: int
    num_heads: int
    ffn_width: int
    vocab_size: int

    def num_matmul_parameters(self) -> int:
        """L (4 d^2 + 3 d f) + d V."""
        d = self.width
        return self.num_layers * (4 * d * d + 3 * d * self.ffn_width) + d * self.vocab_size

    def num_parameters(self) -> int:
        """All weights: with the embedding table and the gains (two a layer, one at the end)."""
        return self.num_matmul_parameters() + self.width * (self.vocab_size + 2 * self.num_layers + 1)

    def train_flops_per_token(self, sequence_length: int) -> float:
        """6 N + 12 L d (T+1)/2: a query works on (T+1)/2 keys on average."""
        return 6 * self.num_matmul_parameters() + 12 * self.num_layers * self.width * (sequence_length + 1) / 2


class Decoder(nn.Module):
    """The whole model."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = embedding(shape.vocab_size, shape.width)
        self.layers = nn.ModuleList(
            SelfLayer(shape.width, shape.ffn_width, SelfAttention(shape.width, shape.num_heads, window=None))
            for _ in range(shape.num_layers)
        )
        self.norm = RMSNorm(shape.width)
        self.head = LossHead(shape.width, shape.vocab_size)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """Token ids (B, T) -> logits (B, T, V); with targets (B, T), the mean loss instead (one graph to compile)."""
        x = self.embed(ids) * self.shape.width**0.5
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.head(self.norm(x), targets)
        return out
