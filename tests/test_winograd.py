"""The 3x3 convolution by Winograd's minimal filtering, and the box head, against what they stand for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from torch import Tensor, nn

from yocobench.bench.workloads.detection.model import BoxHead
from yocobench.bench.workloads.detection.winograd import Conv3x3, convolve, pays


def outcome(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, and the gradients of its squares' sum by the input and every weight."""
    x = x.clone().requires_grad_()
    out = layer(x)
    return [out.detach(), *torch.autograd.grad(out.float().square().sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize(("height", "width"), [(4, 4), (12, 8), (7, 10), (5, 3), (1, 2)])
def test_values_and_gradients_are_those_of_a_direct_convolution(height: int, width: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, height, width, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    x.requires_grad_()
    weight.requires_grad_()
    ours, torchs = convolve(x, weight), F.conv2d(x, weight, padding=1)
    torch.testing.assert_close(ours, torchs, rtol=1e-10, atol=1e-10)
    out_grad = torch.randn_like(torchs)
    mine, theirs = (torch.autograd.grad(out, (x, weight), out_grad) for out in (ours, torchs))
    for gradient, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)


def test_an_image_of_ones_under_a_filter_of_ones_counts_the_neighbours() -> None:
    counted = convolve(torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 3))
    # By hand: 9 inside, 6 at an edge, 4 in a corner.
    expected = torch.tensor([[4.0, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]])
    torch.testing.assert_close(counted[0, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_layer_is_torchs_in_fp32_to_five_digits(bias: bool, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    ours = Conv3x3(96, 112, bias=bias)
    plain = nn.Conv2d(96, 112, 3, padding=1, bias=bias)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(4, 96, 10, 9).contiguous(memory_format=layout)
    assert pays(4, 112, 96, 10, 9)
    assert not torch.equal(ours(x), plain(x))  # else torch's own would have run
    for mine, theirs in zip(outcome(ours, x), outcome(plain, x), strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm()


def test_it_is_used_where_it_pays() -> None:
    # In x out / (in + out) is 126 for 448 and 176 channels, 59 for 176 and 88, 32 for 64 and 64; 48 are needed.
    assert pays(16, 448, 176, 12, 12)
    assert pays(16, 176, 88, 12, 12)
    assert not pays(16, 64, 64, 12, 12)
    # 12 x 12 are 9 tiles an image, 7 x 7 are 4; 32 are needed.
    assert not pays(3, 448, 176, 12, 12)
    assert pays(4, 448, 176, 12, 12)
    assert not pays(7, 1280, 512, 7, 7)
    assert pays(8, 1280, 512, 7, 7)


def test_bf16_is_left_to_torch() -> None:
    torch.manual_seed(0)
    ours = Conv3x3(96, 96)
    plain = nn.Conv2d(96, 96, 3, padding=1)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(4, 96, 12, 12).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine, theirs = ours(x), plain(x)
    assert mine.dtype == torch.bfloat16
    assert torch.equal(mine, theirs)


def test_each_class_has_its_own_box_plus_the_mean_of_all() -> None:
    torch.manual_seed(0)
    head = BoxHead(5, 3).double()
    features = torch.randn(2, 5, 4, 6, dtype=torch.float64)

    class Plain(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            boxes = super().forward(x).permute(0, 2, 3, 1).unflatten(-1, (3, 4))
            return boxes + boxes.mean(dim=-2, keepdim=True)

    plain = Plain(5, 12, 1).double()
    plain.load_state_dict(head.state_dict())
    assert head(features).shape == (2, 4, 6, 3, 4)
    for mine, theirs in zip(outcome(head, features), outcome(plain, features), strict=True):
        torch.testing.assert_close(mine, theirs)
