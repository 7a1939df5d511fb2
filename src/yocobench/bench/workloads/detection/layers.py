"""The backbone's layers as they run fastest on a CPU: depthwise convolution, and batch norm with its activation.

Both compute what torch's own layers compute (tests/test_detection_layers.py: values and gradients); only the way
differs. Other devices keep torch's own. Measured on 2026-11-23 (docs/benchmarks.md, "Detector").
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from torch import Tensor, nn


class _Depthwise(torch.autograd.Function):
    """A 3x3 depthwise convolution, padded by 1, whose input gradient is a forward convolution too.

    oneDNN's backward-data kernel for depthwise convolutions is the slowest kernel of a MobileNet's step: with bf16 at
    stride 2 it takes 30 times as long as the forward kernel on the gradient spread over the input's grid, with the
    weights turned by 180 degrees, which is the same sum. fp32 at stride 2 is the exception: there it is kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, 1, 1, x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        keep_kernel = ctx.stride > 1 and x.dtype == torch.float32
        by_input, by_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            x,
            weight,
            None,
            [ctx.stride, ctx.stride],
            [1, 1],
            [1, 1],
            False,
            [0, 0],
            x.shape[1],
            [keep_kernel, True, False],
        )
        if not keep_kernel:
            if ctx.stride > 1:
                spread = torch.empty_like(x, memory_format=torch.channels_last).zero_()
                spread[:, :, :: ctx.stride, :: ctx.stride] = grad
                grad = spread
            by_input = F.conv2d(grad, weight.flip(2, 3), None, 1, 1, 1, x.shape[1])
        return by_input, by_weight, None


class DepthwiseConv(nn.Conv2d):
    """One 3x3 filter for each channel, padded by 1, without bias."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """As nn.Conv2d, autocast included."""
        if x.device.type != "cpu":
            return super().forward(x)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            low = torch.get_autocast_dtype("cpu")
            x, weight = x.to(low), weight.to(low)
        stride = self.stride[0]
        assert isinstance(stride, int)
        out: Tensor = _Depthwise.apply(x, weight, stride)  # type: ignore[no-untyped-call]
        return out


def _per_channel(values: Tensor) -> Tensor:
    return values[None, :, None, None]


def _sums(x: Tensor) -> Tensor:
    """Of each channel (C,) over images and pixels (B, C, H, W), rows first: a row stays in the cache.

    Inductor sums one group of eight channels after the other, over all pixels: in channels-last memory that reads half
    a cache line here and the other half when it is long gone.
    """
    return x.sum(3).sum((0, 2))


class _NormActivation(torch.autograd.Function):
    """Batch norm by the batch's own statistics, then optionally ReLU6, written as plain sums for inductor.

    torch's decomposition uses Welford's recurrence, which inductor's CPU code runs at a tenth of the speed of a sum.
    Sums of squares about `shift` (the running mean, near the batch's) lose no digits. ReLU6's input is computed
    again in backward instead of kept.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor, eps: float, relu6: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_values = x.numel() // x.shape[1]
        about = x.float() - _per_channel(shift)
        offset = _sums(about) / num_values
        variance = (_sums(about.square()) / num_values - offset.square()).clamp(min=0)
        mean, scale = shift + offset, (variance + eps).rsqrt()
        out = (x.float() - _per_channel(mean)) * _per_channel(scale) * _per_channel(weight) + _per_channel(bias)
        if relu6:
            out = out.clamp(0, 6)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        ctx.relu6 = relu6
        ctx.mark_non_differentiable(mean, variance)
        return out.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, scale = ctx.saved_tensors
        num_values = x.numel() // x.shape[1]
        normed = (x.float() - _per_channel(mean)) * _per_channel(scale)
        by_out = grad.float()
        if ctx.relu6:
            out = normed * _per_channel(weight) + _per_channel(bias)
            by_out = torch.where((out > 0) & (out < 6), by_out, 0.0)
        by_bias, by_weight = _sums(by_out), _sums(by_out * normed)
        centred = by_out - _per_channel(by_bias / num_values) - normed * _per_channel(by_weight / num_values)
        by_x = centred * _per_channel(scale * weight)
        return by_x.to(x.dtype), by_weight, by_bias, None, None, None


def norm_activation(x: Tensor, norm: nn.BatchNorm2d, relu6: bool) -> Tensor:
    """`norm` in training mode, its running statistics updated, then ReLU6 where asked. To be compiled."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    out: Tensor
    shift = norm.running_mean.clone()
    args = (x, norm.weight, norm.bias, shift, norm.eps, relu6)
    out, mean, variance = _NormActivation.apply(*args)  # type: ignore[no-untyped-call]
    num_values = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (num_values / (num_values - 1)), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    return out
