"""More image models of published measurements, for tracing only; most are built on depthwise convolutions."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.models_images import SqueezeExcite, classifier, conv_bn
from torch import Tensor, nn
from torch.nn import functional

MOBILENET_V2 = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
                (6, 160, 3, 2, 3), (6, 320, 1, 1, 3)]  # fmt: skip
MNASNET = [(1, 16, 1, 1, 3), (3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5), (6, 96, 2, 1, 3),
           (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]  # fmt: skip
EFFICIENTNET = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
                (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]  # fmt: skip
"""Expansion, channels, repeats, stride, kernel of each stage."""


class InvertedResidual(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expand: int, act: Any, squeeze: bool) -> None:
        super().__init__()
        mid = cin * expand
        first = [conv_bn(cin, mid, 1, act=act)] if expand > 1 else []
        weighed = [SqueezeExcite(mid, max(1, cin // 4))] if squeeze else []
        depthwise = conv_bn(mid, mid, kernel, stride, mid, act)
        self.body = nn.Sequential(*first, depthwise, *weighed, conv_bn(mid, cout, 1, act=None))
        self.same = cin == cout and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


def scaled(channels: float) -> int:
    """The nearest multiple of 8, not under nine tenths."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def mobile(
    batch: int,
    stages: list[tuple[int, int, int, int, int]],
    width: float,
    act: Any,
    depth: float = 1.0,
    size: int = 224,
    squeeze: bool = False,
) -> Any:
    """MobileNetV2, MNASNet-B1 or EfficientNet at a width and a depth."""
    cin = scaled(32 * width)
    layers: list[nn.Module] = [conv_bn(3, cin, 3, 2, act=act)]
    for expand, channels, repeats, stride, kernel in stages:
        cout = scaled(channels * width)
        for j in range(math.ceil(repeats * depth)):
            layers.append(InvertedResidual(cin, cout, kernel, 1 if j else stride, expand, act, squeeze))
            cin = cout
    last = max(1280, scaled(1280 * width))
    head = [conv_bn(cin, last, 1, act=act), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 1000)]
    return classifier(nn.Sequential(*layers, *head), batch, size)


def efficientnet(batch: int, width: float, depth: float, size: int) -> Any:
    """EfficientNet at the width, depth and size of a variant."""
    return mobile(batch, EFFICIENTNET, width, nn.SiLU, depth, size, squeeze=True)


class Basic(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(cin, cout, 3, stride), conv_bn(cout, cout, 3, act=None))
        self.skip = conv_bn(cin, cout, 1, stride, act=None) if cin != cout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


def basic_resnet(batch: int, layers: list[int]) -> Any:
    """ResNet-18 and -34."""
    stages: list[nn.Module] = [conv_bn(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    cin = 64
    for i, depth in enumerate(layers):
        for j in range(depth):
            stages.append(Basic(cin, 64 * 2**i, 2 if i and not j else 1))
            cin = 64 * 2**i
    return classifier(nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)), batch, 224)
