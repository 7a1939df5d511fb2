"""A 3x3 convolution in fp32 on a CPU with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Each 4x4 tile of the output comes from a 6x6 tile of the input. Of both, 36 linear combinations are formed, which turn
the convolution into 36 independent products of matrices (tiles x channels in, channels in x channels out): 36
multiplications for 16 values instead of 144 (Lavin & Gray 2015, arXiv 1509.09308, section 4.3, whose matrices these
are). cuDNN trains in fp32 this way; oneDNN 3 has no such kernel. Values differ from a direct sum's in the sixth
digit: relative to float64 their error is 3e-6, a direct sum's 1e-6 (448 channels, 12x12).

Both gradients are 36 products as well, between the transposes of the same combinations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from torch import Tensor, nn

TILE, POINTS = 4, 6
"""Sides of a tile of the output and of the input."""
OF_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
OF_WEIGHT = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TO_OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
MIN_CHANNELS = 48
"""Of in x out / (in + out): fewer do not pay for the combinations. Against oneDNN's kernels, forward and backward are
1.8 times as fast with 448 to 176 channels, 1.4 with 176 to 88, 1.05 with 64 to 64 (one Zen 3 core, 2026-11-30)."""
MIN_TILES = 32
"""Fewer do not pay for the weights' combinations: 448 to 176 channels, 36 tiles 1.2 times as fast, 18 tiles 0.8."""


def pays(batch: int, channels_in: int, channels_out: int, height: int, width: int) -> bool:
    """Is it faster than oneDNN's direct convolution?"""
    tiles = batch * math.ceil(height / TILE) * math.ceil(width / TILE)
    return tiles >= MIN_TILES and channels_in * channels_out >= MIN_CHANNELS * (channels_in + channels_out)


def _both_sides(matrix: tuple[tuple[float, ...], ...], values: Tensor, transposed: bool = False) -> Tensor:
    """M d M^T over the first two axes of `values`, rows and columns: (M's rows squared, ..., last axis)."""
    m = torch.tensor(matrix, dtype=values.dtype)
    m = m.t() if transposed else m
    size, side = m.shape
    rows = (m @ values.reshape(side, -1)).view(size, side, -1)
    return torch.matmul(m, rows).view(size**2, -1, values.shape[-1])


def _of_input(x: Tensor) -> Tensor:
    """(B, C, H, W) to (36, tiles, C)."""
    height, width = x.shape[2:]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1 + -width % TILE, 1, 1 + -height % TILE))
    return _both_sides(OF_INPUT, padded.unfold(1, POINTS, TILE).unfold(2, POINTS, TILE).permute(4, 5, 0, 1, 2, 3))


def _to_images(tiles: Tensor, top: int, height: int, width: int) -> Tensor:
    """(4, 4, B, down, across, C) to (B, C, H, W), from that row and column on."""
    rows = tiles.permute(2, 3, 0, 4, 1, 5).flatten(3, 4).flatten(1, 2)
    images = rows[:, top : top + height, top : top + width].permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)


def _overlapping(tiles: Tensor, axis: int) -> Tensor:
    """Tiles of 6 that overlap the next by 2, as tiles of 4, one more. `axis`: place in a tile; 3 after it: the tile."""
    first, second = tiles.split((TILE, POINTS - TILE), axis)
    later = [0, 0] * (tiles.ndim - axis - 4)  # F.pad counts from the last axis
    return F.pad(first, (*later, 0, 1)) + F.pad(second, (*later, 1, 0, 0, 0, 0, 0, 0, 2 * TILE - POINTS))


class _Winograd(torch.autograd.Function):
    """Keeps the combinations of input and weight for backward, rather than form them again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        batch, _, height, width = ctx.shape = x.shape
        points = _of_input(x)
        by_weight = _both_sides(OF_WEIGHT, weight.permute(2, 3, 0, 1))
        ctx.save_for_backward(points, by_weight)
        tiles = _both_sides(TO_OUTPUT, torch.bmm(points, by_weight.transpose(1, 2)).unflatten(0, (POINTS, POINTS)))
        grid = (TILE, TILE, batch, math.ceil(height / TILE), math.ceil(width / TILE), weight.shape[0])
        return _to_images(tiles.view(grid), 0, height, width)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        points, by_weight = ctx.saved_tensors
        batch, channels_in, height, width = ctx.shape
        down, across = math.ceil(height / TILE), math.ceil(width / TILE)
        padded = F.pad(grad.permute(0, 2, 3, 1), (0, 0, 0, -width % TILE, 0, -height % TILE))
        tiles = padded.unflatten(2, (across, TILE)).unflatten(1, (down, TILE)).permute(2, 4, 0, 1, 3, 5)
        products = _both_sides(TO_OUTPUT, tiles, transposed=True)
        by_points = torch.bmm(products.transpose(1, 2), points).unflatten(0, (POINTS, POINTS))
        weight_grad = _both_sides(OF_WEIGHT, by_points, transposed=True).view(3, 3, -1, channels_in)
        by_tile = torch.bmm(products, by_weight).unflatten(0, (POINTS, POINTS))
        inputs = _both_sides(OF_INPUT, by_tile, transposed=True)
        inputs = inputs.view(POINTS, POINTS, batch, down, across, channels_in)
        summed = _overlapping(_overlapping(inputs, 0), 1)
        return _to_images(summed, 1, height, width), weight_grad.permute(2, 3, 0, 1)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """F.conv2d(x, weight, padding=1) of images (B, C, H, W) in fp32 or fp64; the result is in channels-last memory."""
    out: Tensor = _Winograd.apply(x, weight)  # type: ignore[no-untyped-call]
    return out


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution at stride 1, padded by 1: this way where it pays, torch's elsewhere."""

    def __init__(self, channels_in: int, channels_out: int, bias: bool = True) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """As nn.Conv2d, autocast included."""
        in_fp32 = x.dtype == self.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        batch, _, height, width = x.shape
        channels_out, channels_in = self.weight.shape[:2]
        if x.device.type != "cpu" or not in_fp32 or not pays(batch, channels_in, channels_out, height, width):
            return super().forward(x)
        out = convolve(x, self.weight)
        return out if self.bias is None else out + self.bias[None, :, None, None]
