"""Convolutional models of the published measurements, for tracing only; published_models.py says how."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    x, target = batch
    y = model(x)
    return functional.cross_entropy(y.flatten(0, -2) if y.ndim == 3 else y, target.flatten())


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


def classifier(model: nn.Module, batch: int, size: int) -> Any:
    return model, cross_entropy, (torch.zeros(batch, 3, size, size), torch.zeros(batch, dtype=torch.long))


def resnet(batch: int, layers: list[int], size: int = 224, **kwargs: Any) -> Any:
    stages = resnet_stages(layers, **kwargs)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]
    return classifier(nn.Sequential(*stages, *head), batch, size)


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
        self.heads = nn.ModuleList(
            nn.Conv2d(c, n * 85, 3, padding=1) for c, n in zip(widths, [4, 6, 6, 6, 4, 4], strict=True)
        )

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
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, 3, padding=2**i, dilation=2**i) for i in range(layers)
        )
        self.mix = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels if i < layers - 1 else channels, 1) for i in range(layers)
        )
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
