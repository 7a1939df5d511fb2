"""Memory that a layer takes on a CPU and a trace on the meta device does not see: 3x3 convolutions by Winograd.

On the meta device such a layer runs torch's direct convolution, which keeps nothing but its input. A trace does not
know which device it is for: a GPU that trains in fp32 is planned with as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from yocobench.bench.workloads.detection.winograd import POINTS, TILE, Conv3x3, pays

FP32_BYTES = 4


def of_layer(layer: Conv3x3, shape: tuple[int, ...]) -> tuple[int, int]:
    """Bytes kept from forward to backward, and those that pass in backward, for images (B, C, H, W) in fp32.

    Kept: the input's combinations and the weights'. Passing: those of the output's gradient, the weights' before they
    are taken together, and the input's twice.
    """
    batch, _, height, width = shape
    if not pays(batch, layer.in_channels, layer.out_channels, height, width):
        return 0, 0
    each = FP32_BYTES * POINTS**2
    tiles = batch * math.ceil(height / TILE) * math.ceil(width / TILE)
    weights = each * layer.in_channels * layer.out_channels
    of_input, of_output = each * tiles * layer.in_channels, each * tiles * layer.out_channels
    return of_input + weights, of_output + weights + 2 * of_input


@contextmanager
def counted(module: nn.Module, hold: Callable[[float], None]) -> Iterator[None]:
    """While active, what the layers of `module` keep goes to `hold`, and once the most that passes in any of them."""
    most = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        nonlocal most
        assert isinstance(layer, Conv3x3)
        kept, passing = of_layer(layer, tuple(inputs[0].shape))
        hold(kept + max(0, passing - most))
        most = max(most, passing)

    hooks = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, Conv3x3)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
