"""The models of the published measurements, written compactly for tracing: shapes and operations, no training recipe.

Every `make_<name>(batch)` returns (module, loss, batch tensors) on the default device, meant to be `meta`. Rewritten in
full: ResNet-50 and its relatives, EfficientNet, BERT, Transformer-XL, WaveGlow, NCF, ViT, MPT, U-Net. Simplified: SSD300
(one head per scale), GNMT (27 tokens a side, attention once per layer), Tacotron 2 (40 decoder steps of some 800: the
step repeats), Transformer-XL's adaptive softmax (head only). Only ratios between devices are asked of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Made = tuple[nn.Module, Callable[[nn.Module, Any], Tensor], Any]


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    x, target = batch
    y = model(x)
    return functional.cross_entropy(y.flatten(0, -2) if y.ndim == 3 else y, target.flatten())


def tokens(batch: int, length: int, vocab: int) -> Tensor:
    return torch.zeros(batch, length, dtype=torch.long)


# --- convolutional ----------------------------------------------------------------------------------------------


def conv_bn(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(cout), *([act(inplace=True)] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Bottleneck(nn.Module):
    def __init__(self, cin: int, width: int, cout: int, stride: int, groups: int, squeeze: bool) -> None:
        super().__init__()
        parts = [conv_bn(cin, width, 1), conv_bn(width, width, 3, stride, groups), conv_bn(width, cout, 1, act=None)]
        self.body = nn.Sequential(*parts, *([SqueezeExcite(cout, cout // 16)] if squeeze else []))
        self.skip = conv_bn(cin, cout, 1, stride, act=None) if cin != cout or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


def resnet_stages(layers: list[int], groups: int = 1, base: int = 64, squeeze: bool = False) -> list[nn.Module]:
    stages: list[nn.Module] = [nn.Sequential(conv_bn(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))]
    cin = 64
    for i, depth in enumerate(layers):
        cout, width = 256 * 2**i, base * groups * 2**i
        blocks = []
        for j in range(depth):
            blocks.append(Bottleneck(cin, width, cout, 2 if i and not j else 1, groups, squeeze))
            cin = cout
        stages.append(nn.Sequential(*blocks))
    return stages


def classifier(model: nn.Module, batch: int, size: int) -> Made:
    return model, cross_entropy, (torch.zeros(batch, 3, size, size), torch.zeros(batch, dtype=torch.long))


def resnet(batch: int, layers: list[int], size: int = 224, **kwargs: Any) -> Made:
    stages = resnet_stages(layers, **kwargs)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]
    return classifier(nn.Sequential(*stages, *head), batch, size)


class MBConv(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        mid = cin * expand
        first = [conv_bn(cin, mid, 1, act=nn.SiLU)] if expand > 1 else []
        rest = [conv_bn(mid, mid, kernel, stride, mid, nn.SiLU), SqueezeExcite(mid, max(1, cin // 4))]
        self.body = nn.Sequential(*first, *rest, conv_bn(mid, cout, 1, act=None))
        self.same = cin == cout and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


def efficientnet(batch: int, width: float, depth: float, size: int) -> Made:
    plan = [(1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1), (6, 192, 4, 5, 2)]
    plan.append((6, 320, 1, 3, 1))
    scaled = lambda c: int(c * width + 4) // 8 * 8  # noqa: E731
    cin = scaled(32)
    blocks: list[nn.Module] = [conv_bn(3, cin, 3, 2, act=nn.SiLU)]
    for expand, channels, repeats, kernel, stride in plan:
        for j in range(int(-(-repeats * depth // 1))):
            blocks.append(MBConv(cin, scaled(channels), kernel, stride if j == 0 else 1, expand))
            cin = scaled(channels)
    last = scaled(1280)
    head = [conv_bn(cin, last, 1, act=nn.SiLU), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 1000)]
    return classifier(nn.Sequential(*blocks, *head), batch, size)


class SSD(nn.Module):
    """ResNet-50 to the third stage, its stride removed, and five more scales (38, 19, 10, 5, 3, 1)."""

    def __init__(self) -> None:
        super().__init__()
        stages = resnet_stages([3, 4, 6])
        stages[3][0].body[1][0].stride = (1, 1)
        stages[3][0].skip[0].stride = (1, 1)
        self.body = nn.Sequential(*stages)
        widths = [1024, 512, 512, 256, 256, 256]
        strides = [2, 2, 2, 1, 1]
        self.extra = nn.ModuleList()
        for a, b, stride in zip(widths, widths[1:], strides, strict=False):
            conv = nn.Conv2d(b // 2, b, 3, stride, 1 if stride == 2 else 0, bias=False)
            last = nn.Sequential(conv, nn.BatchNorm2d(b), nn.ReLU(inplace=True))
            self.extra.append(nn.Sequential(conv_bn(a, b // 2, 1), last))
        self.heads = nn.ModuleList(nn.Conv2d(c, n * 85, 3, padding=1) for c, n in zip(widths, [4, 6, 6, 6, 4, 4], strict=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        found = [self.heads[0](x)]
        for layer, head in zip(self.extra, list(self.heads)[1:], strict=True):
            x = layer(x)
            found.append(head(x))
        return torch.cat([f.flatten(2).flatten(1) for f in found], 1)


def double(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(a, b, 3), conv_bn(b, b, 3))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = [64, 128, 256, 512, 1024]
        self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *widths], widths, strict=False))
        pairs = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.merge = nn.ModuleList(double(a, b) for a, b in pairs)
        self.head = nn.Conv2d(64, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i, layer in enumerate(self.down):
            x = layer(functional.max_pool2d(x, 2) if i else x)
            kept.append(x)
        for up, merge, skip in zip(self.up, self.merge, kept[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return self.head(x)


class WaveNetBlock(nn.Module):
    def __init__(self, half: int, channels: int = 512, layers: int = 8) -> None:
        super().__init__()
        self.start = nn.Conv1d(half, channels, 1)
        self.condition = nn.Conv1d(640, 2 * channels * layers, 1)
        self.dilated = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 3, padding=2**i, dilation=2**i) for i in range(layers))
        self.mix = nn.ModuleList(nn.Conv1d(channels, 2 * channels if i < layers - 1 else channels, 1) for i in range(layers))
        self.end = nn.Conv1d(channels, 2 * half, 1)

    def forward(self, x: Tensor, spect: Tensor) -> Tensor:
        x = self.start(x)
        channels, conditions = x.shape[1], self.condition(spect)
        total = torch.zeros_like(x)
        for i, (dilated, mix) in enumerate(zip(self.dilated, self.mix, strict=True)):
            gate = dilated(x) + conditions[:, i * 2 * channels : (i + 1) * 2 * channels]
            both = mix(gate[:, :channels].tanh() * gate[:, channels:].sigmoid())
            if i < len(self.dilated) - 1:
                x, total = x + both[:, :channels], total + both[:, channels:]
            else:
                total = total + both
        return self.end(total)


class WaveGlow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixes = nn.ModuleList(nn.Conv1d(8, 8, 1, bias=False) for _ in range(12))
        self.blocks = nn.ModuleList(WaveNetBlock(4) for _ in range(12))

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, spect = batch
        for mix, block in zip(self.mixes, self.blocks, strict=True):
            x = mix(x)
            scale, shift = block(x[:, :4], spect).chunk(2, 1)
            x = torch.cat([x[:, :4], scale.exp() * x[:, 4:] + shift], 1)
        return x


def mean_square(model: nn.Module, batch: Any) -> Tensor:
    return model(batch).float().square().mean()


# --- attention --------------------------------------------------------------------------------------------------


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


def bert(batch: int, d: int, layers: int, heads: int, length: int) -> Made:
    return Bert(d, layers, heads), lambda m, b: m(b).float().log_softmax(-1).mean(), tokens(batch, length, 30522)


class RelativeLayer(nn.Module):
    """Transformer-XL: queries of the segment, keys and values of memory and segment, a term by relative position."""

    def __init__(self, d: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.r, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
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


def transformer_xl(batch: int, d: int, layers: int, heads: int, length: int) -> Made:
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


MPT = {"125m": (768, 12, 12), "350m": (1024, 24, 16), "760m": (1536, 24, 12), "1b": (2048, 24, 16), "3b": (2560, 32, 20),
       "7b": (4096, 32, 32), "13b": (5120, 40, 40), "30b": (7168, 48, 56)}  # fmt: skip


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


def mpt(batch: int, size: str, length: int, recompute: bool) -> Made:
    ids = tokens(batch, length, 50368)
    return Gpt(*MPT[size], recompute), cross_entropy, (ids, ids)


# --- recurrent and embeddings -----------------------------------------------------------------------------------


class GNMT(nn.Module):
    def __init__(self, d: int = 1024, vocab: int = 32320) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(vocab, d), nn.Embedding(vocab, d)
        self.encoder = nn.ModuleList([nn.LSTM(d, d, bidirectional=True), nn.LSTM(2 * d, d), nn.LSTM(d, d), nn.LSTM(d, d)])
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
        self.prenet = nn.Sequential(nn.Linear(80, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 256), nn.ReLU(), nn.Dropout())
        self.attend, self.decode = nn.LSTMCell(768, 1024), nn.LSTMCell(1536, 1024)
        self.query, self.location, self.dense = nn.Linear(1024, 128), nn.Conv1d(2, 32, 31, padding=15), nn.Linear(32, 128)
        self.energy, self.memory, self.mel, self.gate = nn.Linear(128, 1), nn.Linear(512, 128), nn.Linear(1536, 80), nn.Linear(1536, 1)

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
        self.mlp = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.head = nn.Linear(128, 1)

    def forward(self, ids: Tensor) -> Tensor:
        user, item = self.users(ids), self.items(ids)
        mlp = self.mlp(torch.cat([user[:, 64:], item[:, 64:]], -1))
        return self.head(torch.cat([user[:, :64] * item[:, :64], mlp], -1))


MAKERS: dict[str, Callable[[int], Made]] = {
    "resnet50": lambda b: resnet(b, [3, 4, 6, 3]),
    "resnet50-32px": lambda b: resnet(b, [3, 4, 6, 3], 32),
    "resnext101": lambda b: resnet(b, [3, 4, 23, 3], groups=32, base=4),
    "se-resnext101": lambda b: resnet(b, [3, 4, 23, 3], groups=32, base=4, squeeze=True),
    "efficientnet-b0": lambda b: efficientnet(b, 1.0, 1.0, 224),
    "efficientnet-b4": lambda b: efficientnet(b, 1.4, 1.8, 380),
    "ssd300": lambda b: (SSD(), mean_square, torch.zeros(b, 3, 300, 300)),
    "unet": lambda b: (UNet(), mean_square, torch.zeros(b, 3, 256, 256)),
    "waveglow": lambda b: (WaveGlow(), mean_square, (torch.zeros(b, 8, 1000), torch.zeros(b, 640, 1000))),
    "bert-base": lambda b: bert(b, 768, 12, 12, 384),
    "bert-large": lambda b: bert(b, 1024, 24, 16, 384),
    "txl-base": lambda b: transformer_xl(b, 512, 16, 8, 192),
    "txl-large": lambda b: transformer_xl(b, 1024, 18, 16, 256),
    "vit-b16": lambda b: classifier(ViT(), b, 224),
    "gnmt": lambda b: (GNMT(), cross_entropy, (torch.zeros(27, b, dtype=torch.long),) * 2),
    "tacotron2": lambda b: (Tacotron(), mean_square, (tokens(b, 100, 148), torch.zeros(b, 40, 80))),
    "ncf": lambda b: (NCF(), mean_square, torch.zeros(b, dtype=torch.long)),
}  # fmt: skip


def make(name: str, batch: int) -> Made:
    """The model of that name with a batch. MPT: `mpt-<size>-<length>[-recompute]`."""
    if name.startswith("mpt-"):
        _, size, length, *rest = name.split("-")
        return mpt(batch, size, int(length), bool(rest))
    return MAKERS[name](batch)
