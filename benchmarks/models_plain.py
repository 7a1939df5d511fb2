"""Image models without batch norm of the published measurements, for tracing only: nearly all of them is arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from benchmarks.models_images import classifier
from torch import Tensor, nn

VGG11 = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
"""Channels of the convolutions; 0: half the size."""


def vgg(batch: int, stages: Sequence[int]) -> Any:
    layers: list[nn.Module] = []
    cin = 3
    for channels in stages:
        if channels:
            layers += [nn.Conv2d(cin, channels, 3, padding=1), nn.ReLU(inplace=True)]
            cin = channels
        else:
            layers.append(nn.MaxPool2d(2))
    return classifier(nn.Sequential(*layers, nn.Flatten(), *_wide(512 * 49)), batch, 224)


def _wide(size: int) -> list[nn.Module]:
    hidden = [nn.Linear(size, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096), nn.ReLU(inplace=True)]
    return [*hidden, nn.Linear(4096, 1000)]


def _rectified(cin: int, cout: int, kernel: int, stride: int = 1, pad: int | None = None) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2 if pad is None else pad)
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def alexnet(batch: int) -> Any:
    """Of 2012, its convolutions in one group."""
    layers = [
        _rectified(3, 96, 11, 4, pad=2), nn.MaxPool2d(3, 2), _rectified(96, 256, 5), nn.MaxPool2d(3, 2),
        _rectified(256, 384, 3), _rectified(384, 384, 3), _rectified(384, 256, 3), nn.MaxPool2d(3, 2),
    ]  # fmt: skip
    return classifier(nn.Sequential(*layers, nn.Flatten(), *_wide(256 * 36)), batch, 224)


class Inception(nn.Module):
    """Four branches: 1x1, 3x3 and 5x5 behind a narrow 1x1, pooled."""

    def __init__(self, cin: int, one: int, to3: int, three: int, to5: int, five: int, pooled: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([
            _rectified(cin, one, 1),
            nn.Sequential(_rectified(cin, to3, 1), _rectified(to3, three, 3)),
            nn.Sequential(_rectified(cin, to5, 1), _rectified(to5, five, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), _rectified(cin, pooled, 1)),
        ])  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


INCEPTIONS = (
    (192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64), (),
    (480, 192, 96, 208, 16, 48, 64), (512, 160, 112, 224, 24, 64, 64), (512, 128, 128, 256, 24, 64, 64),
    (512, 112, 144, 288, 32, 64, 64), (528, 256, 160, 320, 32, 128, 128), (),
    (832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128),
)  # fmt: skip
"""Channels of GoogLeNet's blocks; empty: half the size."""


def googlenet(batch: int) -> Any:
    """Without its two side exits."""
    half = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)  # noqa: E731
    stem = [_rectified(3, 64, 7, 2), half(), _rectified(64, 64, 1), _rectified(64, 192, 3), half()]
    blocks = [Inception(*sizes) if sizes else half() for sizes in INCEPTIONS]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000)]
    return classifier(nn.Sequential(*stem, *blocks, *head), batch, 224)
