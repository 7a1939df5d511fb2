"""The detector's CPU layers against torch's own: values, gradients and running statistics."""

import copy

import pytest
import torch
from torch import Tensor, nn

from yocobench.bench.workloads.detection.layers import DepthwiseConv, norm_activation


def gradients(layer: nn.Module, x: Tensor, out_grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient by the input and gradient by the weight."""
    x = x.clone().requires_grad_()
    out = layer(x)
    out.backward(out_grad)
    assert x.grad is not None
    assert isinstance(layer.weight, Tensor)
    assert layer.weight.grad is not None
    return out.detach(), x.grad, layer.weight.grad


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_depthwise_convolution_and_its_gradients_are_torchs(side: int, stride: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv(5, stride).to(dtype)
    plain = nn.Conv2d(5, 5, 3, stride, 1, groups=5, bias=False).to(dtype)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
    out_grad = torch.randn_like(plain(x))
    for mine, theirs in zip(gradients(ours, x, out_grad), gradients(plain, x, out_grad), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_depthwise_convolution_under_autocast_is_bf16_as_torchs_is() -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv(8, 2)
    plain = nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 8, 10, 10).contiguous(memory_format=torch.channels_last)
    out_grad = torch.randn(2, 8, 5, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine, theirs = gradients(ours, x, out_grad), gradients(plain, x, out_grad)
    assert mine[0].dtype == theirs[0].dtype == torch.bfloat16
    assert mine[2].dtype == torch.float32
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("relu6", [False, True])
def test_batch_norm_as_sums_is_torchs_batch_norm_with_its_running_statistics(relu6: bool) -> None:
    torch.manual_seed(0)
    ours = nn.BatchNorm2d(4).double()
    nn.init.uniform_(ours.weight, 0.5, 3)
    nn.init.uniform_(ours.bias, -1, 3)
    plain = copy.deepcopy(ours)
    values = (torch.randn(3, 4, 5, 5) * 2 + 40).double()  # far from 0: naive sums of squares would lose digits
    mine, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    for _ in range(2):  # the second time the running mean has moved
        out = norm_activation(mine, ours, relu6)
        expected = nn.functional.relu6(plain(theirs)) if relu6 else plain(theirs)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
        out_grad = torch.randn_like(expected)
        out.backward(out_grad)
        expected.backward(out_grad)
    assert mine.grad is not None
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.bias.grad, plain.bias.grad, rtol=1e-4, atol=1e-4)
    for name, value in plain.named_buffers():
        torch.testing.assert_close(dict(ours.named_buffers())[name], value, rtol=1e-5, atol=1e-5)
