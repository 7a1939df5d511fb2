"""Attention, recurrent and embedding models of the published measurements, for tracing only."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.models_images import cross_entropy
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# --- attention --------------------------------------------------------------------------------------------------


def tokens(batch: int, length: int, vocab: int) -> Tensor:
    return torch.zeros(batch, length, dtype=torch.long)


class Layer(nn.Module):
    """A transformer layer; `flash`: one fused attention kernel, otherwise products and softmax as written in 2020."""

    def __init__(self, d: int, heads: int, inner: int, flash: bool, causal: bool = False, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads, self.flash, self.causal, self.dropout = heads, flash, causal, dropout
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, inner), nn.Linear(inner, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, -1))
        if self.flash:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = (q @ k.transpose(-1, -2)) / 8.0
            y = functional.dropout(scores.softmax(-1), self.dropout) @ v
        x = x + functional.dropout(self.out(y.transpose(1, 2).reshape(b, t, d)), self.dropout)
        return x + functional.dropout(self.down(functional.gelu(self.up(self.norm2(x)))), self.dropout)


class Bert(nn.Module):
    def __init__(self, d: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(30522, d)
        self.layers = nn.Sequential(*(Layer(d, heads, 4 * d, flash=False) for _ in range(layers)))
        self.head = nn.Linear(d, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(ids))).transpose(1, 2)


def bert(batch: int, d: int, layers: int, heads: int, length: int) -> Any:
    return Bert(d, layers, heads), lambda m, b: m(b).float().log_softmax(-1).mean(), tokens(batch, length, 30522)


class MaskedBert(Bert):
    """Pre-training as Hugging Face writes it: a score for each word of the vocabulary at every position."""

    def __init__(self, d: int, layers: int, heads: int) -> None:
        super().__init__(d, layers, heads)
        self.head = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.LayerNorm(d), nn.Linear(d, 30522))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(ids)))


def masked_bert(batch: int, d: int, layers: int, heads: int, length: int) -> Any:
    ids = tokens(batch, length, 30522)
    return MaskedBert(d, layers, heads), cross_entropy, (ids, ids)


class RelativeLayer(nn.Module):
    """Transformer-XL: queries of the segment, keys and values of memory and segment, a term by relative position."""

    def __init__(self, d: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.r, self.out = (
            nn.Linear(d, 3 * d, bias=False),
            nn.Linear(d, d, bias=False),
            nn.Linear(d, d, bias=False),
        )
        self.up, self.down = nn.Linear(d, inner), nn.Linear(inner, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(torch.cat([memory, x], 1)).chunk(3, -1)
        split = lambda y: y.reshape(y.shape[0], y.shape[1], self.heads, -1).transpose(1, 2)  # noqa: E731
        q, k, v, r = split(q[:, -t:]), split(k), split(v), split(self.r(position))
        content = (q + 1) @ k.transpose(-1, -2)
        where = (q + 1) @ r.expand(b, -1, -1, -1).transpose(-1, -2)
        scores = ((content + functional.pad(where, (1, 0))[..., 1:]) * 0.125).masked_fill(self._mask(content), -1e4)
        y = functional.dropout(scores.softmax(-1), 0.1) @ v
        x = self.norm1(x + functional.dropout(self.out(y.transpose(1, 2).reshape(b, t, d)), 0.1))
        y = self.down(functional.dropout(self.up(x).relu(), 0.1))
        return self.norm2(x + functional.dropout(y, 0.1))

    def _mask(self, scores: Tensor) -> Tensor:
        return torch.zeros(scores.shape[-2:], dtype=torch.bool)


class TransformerXL(nn.Module):
    def __init__(self, d: int, layers: int, heads: int, inner: int, length: int) -> None:
        super().__init__()
        self.length, self.embed = length, nn.Embedding(20000, d)
        self.layers = nn.ModuleList(RelativeLayer(d, heads, inner) for _ in range(layers))
        self.head = nn.Linear(d, 20003)

    def forward(self, ids: Tensor) -> Tensor:
        x = functional.dropout(self.embed(ids), 0.1)
        position = torch.zeros(1, 2 * self.length, x.shape[-1])
        for layer in self.layers:
            x = layer(x, torch.zeros_like(x), position)
        return self.head(x)


def transformer_xl(batch: int, d: int, layers: int, heads: int, length: int) -> Any:
    ids = tokens(batch, length, 20000)
    return TransformerXL(d, layers, heads, 4 * d, length), cross_entropy, (ids, ids)


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 768, 16, 16)
        self.layers = nn.Sequential(*(Layer(768, 12, 3072, flash=True, dropout=0.0) for _ in range(12)))
        self.head = nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


MPT = {"125m": (768, 12, 12), "350m": (1024, 24, 16), "760m": (1536, 24, 12), "1b": (2048, 24, 16),
       "3b": (2560, 32, 20), "7b": (4096, 32, 32), "13b": (5120, 40, 40), "30b": (7168, 48, 56)}  # fmt: skip


class Gpt(nn.Module):
    def __init__(self, d: int, layers: int, heads: int, recompute: bool) -> None:
        super().__init__()
        self.recompute, self.embed = recompute, nn.Embedding(50368, d)
        self.layers = nn.ModuleList(Layer(d, heads, 4 * d, flash=True, causal=True, dropout=0.0) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 50368, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False, preserve_rng_state=False) if self.recompute else layer(x)
        return self.head(self.norm(x))


def mpt(batch: int, size: str, length: int, recompute: bool) -> Any:
    ids = tokens(batch, length, 50368)
    return Gpt(*MPT[size], recompute), cross_entropy, (ids, ids)


# --- recurrent and embeddings -----------------------------------------------------------------------------------


class GNMT(nn.Module):
    def __init__(self, d: int = 1024, vocab: int = 32320) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(vocab, d), nn.Embedding(vocab, d)
        self.encoder = nn.ModuleList(
            [nn.LSTM(d, d, bidirectional=True), nn.LSTM(2 * d, d), nn.LSTM(d, d), nn.LSTM(d, d)]
        )
        self.decoder = nn.ModuleList([nn.LSTM(d, d), nn.LSTM(2 * d, d), nn.LSTM(2 * d, d), nn.LSTM(2 * d, d)])
        self.query, self.key, self.head = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False), nn.Linear(d, vocab)

    def forward(self, ids: Tensor) -> Tensor:
        x, y = self.source(ids), self.target(ids)
        for layer in self.encoder:
            x = functional.dropout(layer(x)[0], 0.2)
        y = self.decoder[0](y)[0]
        keys, queries = self.key(x).transpose(0, 1), self.query(y).transpose(0, 1)
        energy = (queries[:, :, None] + keys[:, None]).tanh().sum(-1)  # Bahdanau: one hidden vector per pair
        context = (energy.softmax(-1) @ x.transpose(0, 1)).transpose(0, 1)
        for layer in list(self.decoder)[1:]:
            y = layer(torch.cat([functional.dropout(y, 0.2), context], -1))[0]
        return self.head(y)


class Tacotron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(148, 512)
        convs = [nn.Sequential(nn.Conv1d(512, 512, 5, padding=2), nn.BatchNorm1d(512), nn.ReLU()) for _ in range(3)]
        self.convs, self.encoder = nn.Sequential(*convs), nn.LSTM(512, 256, bidirectional=True, batch_first=True)
        self.prenet = nn.Sequential(
            nn.Linear(80, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 256), nn.ReLU(), nn.Dropout()
        )
        self.attend, self.decode = nn.LSTMCell(768, 1024), nn.LSTMCell(1536, 1024)
        self.query, self.location, self.dense = (
            nn.Linear(1024, 128),
            nn.Conv1d(2, 32, 31, padding=15),
            nn.Linear(32, 128),
        )
        self.energy, self.memory, self.mel, self.gate = (
            nn.Linear(128, 1),
            nn.Linear(512, 128),
            nn.Linear(1536, 80),
            nn.Linear(1536, 1),
        )

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        ids, frames = batch
        memory = self.encoder(self.convs(self.embed(ids).transpose(1, 2)).transpose(1, 2))[0]
        keys, size = self.memory(memory), ids.shape[0]
        h1 = c1 = h2 = c2 = torch.zeros(size, 1024)
        context, weights = torch.zeros(size, 512), torch.zeros(size, 2, ids.shape[1])
        found = []
        for frame in self.prenet(frames).unbind(1):
            h1, c1 = self.attend(torch.cat([frame, context], -1), (h1, c1))
            place = self.dense(self.location(weights).transpose(1, 2))
            energy = self.energy((self.query(h1)[:, None] + place + keys).tanh()).squeeze(-1)
            attention = energy.softmax(-1)
            context = torch.bmm(attention[:, None], memory)[:, 0]
            weights = torch.stack([attention, weights[:, 1] + attention], 1)
            h2, c2 = self.decode(torch.cat([h1, context], -1), (h2, c2))
            both = torch.cat([h2, context], -1)
            found.append(torch.cat([self.mel(both), self.gate(both)], -1))
        return torch.stack(found, 1)


class NCF(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(138493, 192), nn.Embedding(26744, 192)
        self.mlp = nn.Sequential(
            nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU()
        )
        self.head = nn.Linear(128, 1)

    def forward(self, ids: Tensor) -> Tensor:
        user, item = self.users(ids), self.items(ids)
        mlp = self.mlp(torch.cat([user[:, 64:], item[:, 64:]], -1))
        return self.head(torch.cat([user[:, :64] * item[:, :64], mlp], -1))
