"""The detector's network: a backbone, 3x3 convolutions, and a box and a class head on one scale.

MobileNetV2 follows Sandler et al. 2018 (arXiv 1801.04381, table 2), ResNet-50 He et al. 2015 (arXiv 1512.03385,
table 1) with the stride on the 3x3 convolution. Not covered: pretrained weights; training starts from noise.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from yocobench.bench.workloads.detection.layers import DepthwiseConv, norm_activation
from yocobench.bench.workloads.detection.winograd import Conv3x3

Backbone = Literal["mobilenet-v2", "resnet-50"]

MOBILENET_STAGES = (
    # expansion, channels, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
RESNET_STAGES = (
    (64, 3, 1),
    (128, 4, 2),
    (256, 6, 2),
    (512, 3, 2),
)  # channels (a quarter of the output), blocks, stride
NECKS: dict[str, tuple[int, ...]] = {"mobilenet-v2": (512, 256), "resnet-50": (1024, 512, 256)}
CLASS_PRIOR = 0.01
"""Score of every class before training: else the thousands of empty cells drown the few full ones (1708.02002)."""


def scaled(channels: int, width: float) -> int:
    """`channels` times the width multiplier, to the nearest multiple of 8, at least 8."""
    return max(8, int(channels * width + 4) // 8 * 8)


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int, groups: int) -> nn.Conv2d:
    """Without bias, padded to keep the size at stride 1, in the fastest form there is."""
    if groups > 1:
        return DepthwiseConv(channels_out, stride)
    if stride == 1 and kernel == 3:
        return Conv3x3(channels_in, channels_out, bias=False)
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless `activation` is None, an activation; padded to keep the size at stride 1.

    `groups` is 1, or the number of channels (depthwise).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU6,
    ) -> None:
        conv = _convolution(channels_in, channels_out, kernel, stride, groups)
        layers: list[nn.Module] = [conv, nn.BatchNorm2d(channels_out)]
        if activation is not None:
            # Not in place: autograd would copy the input first, and read and write it once more.
            layers.append(activation())
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """All layers; norm and ReLU6 in one where a compiled CPU step makes that the faster form."""
        activation = self[2] if len(self) == 3 else None
        fusible = activation is None or isinstance(activation, nn.ReLU6)
        if not (fusible and self.training and x.device.type == "cpu" and torch.compiler.is_compiling()):
            out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return out
        norm = self[1]
        assert isinstance(norm, nn.BatchNorm2d)
        return norm_activation(self[0](x), norm, relu6=activation is not None)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1x1, depthwise 3x3, narrow by 1x1 without activation."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        widen = [ConvNorm(channels_in, hidden, 1)] if expansion > 1 else []
        self.body = nn.Sequential(
            *widen,
            ConvNorm(hidden, hidden, 3, stride, groups=hidden),
            ConvNorm(hidden, channels_out, 1, activation=None),
        )
        self.skip = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """The block, plus its input where the shapes agree."""
        out: Tensor = self.body(x)
        return x + out if self.skip else out


class Bottleneck(nn.Module):
    """ResNet's block: narrow by 1x1, 3x3, widen by 1x1 to four times `channels`."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        channels_out = 4 * channels
        self.body = nn.Sequential(
            ConvNorm(channels_in, channels, 1, activation=nn.ReLU),
            ConvNorm(channels, channels, 3, stride, activation=nn.ReLU),
            ConvNorm(channels, channels_out, 1, activation=None),
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else ConvNorm(channels_in, channels_out, 1, stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """The block plus its (projected) input, rectified."""
        return torch.relu(self.body(x) + self.shortcut(x))


class _Strides:
    """Hands out a backbone's strides until `limit` is reached, then 1: later stages keep the map's size."""

    def __init__(self, limit: int) -> None:
        self.limit, self.reached = limit, 1

    def take(self, stride: int) -> int:
        """The stride to use where the paper has `stride`."""
        if self.reached * stride > self.limit:
            return 1
        self.reached *= stride
        return stride


def mobilenet_v2(width: float, output_stride: int) -> tuple[nn.Sequential, int]:
    """The convolutional part of MobileNetV2 and its output channels.

    Below width 1 the last 1x1 layer is narrowed too (the paper keeps its 1280 channels): the 3x3 convolution behind
    it would otherwise cost several times the backbone.
    """
    strides = _Strides(output_stride)
    channels = scaled(32, width)
    layers: list[nn.Module] = [ConvNorm(3, channels, 3, strides.take(2))]
    for expansion, base, blocks, stride in MOBILENET_STAGES:
        for block in range(blocks):
            channels_out = scaled(base, width)
            step = strides.take(stride) if block == 0 else 1
            layers.append(InvertedResidual(channels, channels_out, step, expansion))
            channels = channels_out
    last = scaled(1280, width)
    layers.append(ConvNorm(channels, last, 1))
    return nn.Sequential(*layers), last


def resnet_50(width: float, output_stride: int) -> tuple[nn.Sequential, int]:
    """The convolutional part of ResNet-50 and its output channels."""
    strides = _Strides(output_stride)
    channels = scaled(64, width)
    layers: list[nn.Module] = [ConvNorm(3, channels, 7, strides.take(2), activation=nn.ReLU)]
    layers.append(nn.MaxPool2d(3, strides.take(2), padding=1))
    for base, blocks, stride in RESNET_STAGES:
        for block in range(blocks):
            inner = scaled(base, width)
            layers.append(Bottleneck(channels, inner, strides.take(stride) if block == 0 else 1))
            channels = 4 * inner
    return nn.Sequential(*layers), channels


BACKBONES = {"mobilenet-v2": mobilenet_v2, "resnet-50": resnet_50}


class BoxHead(nn.Conv2d):
    """A box for each class from a cell's features: the class's own plus the mean of all classes' own.

    A class's own is trained by its own objects only, few of 80 classes; the mean is trained by all. It is taken of the
    weights, not of the boxes, which would be the same sum: there are thousands of cells.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, 4 * num_classes, 1)
        self.num_classes = num_classes

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to raw boxes (B, H, W, classes, 4)."""
        assert self.bias is not None
        weight, bias = (own.unflatten(0, (self.num_classes, 4)) for own in (self.weight, self.bias))
        weight, bias = ((own + own.mean(0, keepdim=True)).flatten(0, 1) for own in (weight, bias))
        boxes = nn.functional.conv2d(features, weight, bias)
        by_class: Tensor = boxes.permute(0, 2, 3, 1).unflatten(-1, (self.num_classes, 4))
        return by_class


class Detector(nn.Module):
    """Images to raw boxes, one for each class and cell, and class logits.

    The 3x3 convolutions carry a bias and no norm, as the plan's model has them: 9.405 M parameters at width 1 with
    80 classes.
    """

    def __init__(self, backbone: Backbone, width: float, output_stride: int, num_classes: int) -> None:
        super().__init__()
        self.backbone, channels = BACKBONES[backbone](width, output_stride)
        layers: list[nn.Module] = []
        for base in NECKS[backbone]:
            channels_out = scaled(base, width)
            layers += [Conv3x3(channels, channels_out), nn.ReLU(inplace=True)]
            channels = channels_out
        self.neck = nn.Sequential(*layers)
        self.box_head = BoxHead(channels, num_classes)
        self.class_head = nn.Conv2d(channels, num_classes, 1)
        self._initialise()

    def _initialise(self) -> None:
        """He's normal initialisation, over fan-out in the backbone; heads small, scores at CLASS_PRIOR."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                mode: Literal["fan_in", "fan_out"] = "fan_in" if module.bias is not None else "fan_out"
                nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head in (self.box_head, self.class_head):
            nn.init.normal_(head.weight, std=0.01)
        assert self.class_head.bias is not None
        nn.init.constant_(self.class_head.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S), bytes, to raw boxes (B, H, W, classes, 4) and logits (B, H, W, classes)."""
        features = self.neck(self.backbone(images.float() / 127.5 - 1))
        return self.box_head(features), self.class_head(features).permute(0, 2, 3, 1)


def forward_flops(model: nn.Module, image_size_px: int) -> tuple[int, int]:
    """FLOPs of one image's forward pass in all convolutions, and the first convolution's share.

    Two per multiply-add; norms, activations and the loss are left out, as in torch's flop counter. `model` must be on
    the meta device; nothing is computed.
    """
    counts: list[int] = []

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        counts.append(2 * output.numel() * module.weight[0].numel())

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model(torch.zeros(1, 3, image_size_px, image_size_px, dtype=torch.uint8, device="meta"))
    for hook in hooks:
        hook.remove()
    return sum(counts), counts[0]
