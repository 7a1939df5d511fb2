"""A traced step counts what closed formulas count, on the meta device."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from yocobench.estimate.trace import trace_module


def traced(module, loss, *shape, low=False, batch=None, optimizer=None):
    with torch.device("meta"):
        made, example = module(), torch.zeros(*shape) if batch is None else batch()
    return trace_module(made, loss, example, shape[0] if shape else 1, low, optimizer and optimizer(made))


def square(module, batch):
    return module(batch).square().mean()


def test_two_linear_layers_cost_six_flops_per_weight_and_row_less_the_gradient_of_the_input():
    found = traced(lambda: nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, bias=False)), square, 3, 8)
    # forward 2 x 3 x (8x16 + 16x4); weight gradients the same; input gradient of the second layer only
    assert found.flops == 2 * 3 * (128 + 64) * 2 + 2 * 3 * 64
    assert found.num_parameters == 192
    assert found.parameter_bytes == found.gradient_bytes == 768
    assert found.optimizer_state_bytes == 2 * 768


def test_grouped_convolutions_count_only_the_channels_of_their_group():
    found = traced(lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), square, 2, 8, 5, 5)
    # 2 x 5 x 5 outputs x 8 channels x 9 taps x 2 FLOPs, forward and weight gradient (the input needs none)
    assert found.flops == 2 * (2 * 25 * 8 * 9 * 2)
    assert {op.kind for op in found.operations if op.flops} == {"depthwise_conv"}
    dense = traced(lambda: nn.Conv2d(8, 4, 3, padding=1, groups=2, bias=False), square, 2, 8, 5, 5)
    assert dense.flops == 2 * (2 * 25 * 4 * 4 * 9 * 2)


def test_transposed_convolutions_count_input_positions():
    found = traced(lambda: nn.ConvTranspose2d(6, 4, 2, stride=2, bias=False), square, 1, 6, 3, 3)
    assert found.flops == 2 * (9 * 6 * 4 * 4 * 2)


class Attend(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return functional.scaled_dot_product_attention(x * self.scale, x, x, is_causal=self.causal)


def test_causal_attention_counts_half_of_the_square_and_keeps_none_of_it():
    shape = (2, 4, 64, 16)
    full = traced(lambda: Attend(False), square, *shape)
    half = traced(lambda: Attend(True), square, *shape)
    # two products of 64 x 64 x 16 in each of 8 heads, forward; twice that backward
    assert full.flops == 3 * 2 * (2 * 8 * 64 * 64 * 16)
    assert half.flops == full.flops / 2
    square_bytes = 8 * 64 * 64 * 4
    assert full.peak_activation_bytes < 8 * 64 * 16 * 4 * 12 + square_bytes


def test_multi_head_attention_of_torch_is_seen_as_attention():
    found = traced(lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0), square, 2, 16, 32)
    rows = 2 * 16
    weights = 3 * 32 * 32 + 32 * 32 + 2 * 32 * 64
    attention = 3 * 2 * (2 * 2 * 16 * 16 * 32)
    # the gradient of the input projection's own input is not asked for
    assert found.flops == 6 * rows * weights - 2 * rows * 3 * 32 * 32 + attention


def test_a_recurrent_layer_counts_its_products_and_its_time_steps():
    found = traced(lambda: nn.LSTM(8, 16, 2), lambda m, b: m(b)[0].square().mean(), 5, 3, 8)
    weights = 4 * 16 * (8 + 16) + 4 * 16 * (16 + 16)
    assert found.flops == 3 * 2 * 5 * 3 * weights
    assert {op.serial for op in found.operations if op.kind == "recurrent"} == {5}


def test_flops_agree_with_the_profiler_of_the_host():
    def made():
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))

    found = traced(made, square, 2, 3, 8, 8)
    module, x = made(), torch.zeros(2, 3, 8, 8)
    with torch.profiler.profile(with_flops=True) as profile:
        module(x)
    forward = sum(event.flops for event in profile.key_averages() if "conv2d" in event.key or "addmm" in event.key)
    first_gradient = 2 * 2 * 36 * 8 * 27  # the images need none
    assert found.flops == 3 * forward - first_gradient


def test_autocast_halves_the_bytes_of_products_and_casts_each_weight_once():
    wide = traced(lambda: nn.Linear(256, 256, bias=False), square, 64, 256)
    low = traced(lambda: nn.Linear(256, 256, bias=False), square, 64, 256, low=True)
    mm = {op.name: op for op in wide.operations if op.kind == "matmul"}["mm"]
    mm_low = {op.name: op for op in low.operations if op.kind == "matmul"}["mm"]
    assert mm_low.bytes_moved == mm.bytes_moved / 2
    casts = [op for op in low.operations if op.name == "cast" and op.bytes_read == 256 * 256 * 4]
    assert [(op.count, op.bytes_written) for op in casts] == [(1, 256 * 256 * 2)]


class Casts(TorchDispatchMode):
    """Values that autocast itself copies to another type."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.numel += args[0].numel()
        return func(*args, **(kwargs or {}))


def test_images_stay_16_bit_through_batch_norm_as_under_autocast():
    def made():
        layers = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, bias=False)]
        return nn.Sequential(*layers, nn.BatchNorm2d(4), nn.ReLU(inplace=True))

    def mean(module, batch):
        return module(batch).mean()

    found = traced(made, mean, 2, 3, 10, 10, low=True)
    module = made()
    with Casts() as real, torch.autocast("cpu", torch.bfloat16):
        loss = mean(module, torch.zeros(2, 3, 10, 10))
    with real:
        loss.backward()
    weights = 8 * 27 + 4 * 72
    assert real.numel == 600 + 2 * weights  # the images, each weight, and its gradient back
    casts = [op for op in found.operations if op.name == "cast"]
    assert sum(op.count * op.bytes_moved for op in casts) == 6 * real.numel
    (norm,) = [op for op in found.operations if op.name == "native_batch_norm" and op.bytes_read > 2048]
    assert norm.bytes_written == 2 * 2 * 8 * 64 + 4 * 2 * 8  # the images in 16 bits, their statistics not
    (relu,) = [op for op in found.operations if op.name == "relu"]
    assert relu.bytes_moved == 2 * 2 * 2 * 8 * 64


def test_a_gradient_is_added_to_the_last_micro_batchs_only():
    found = traced(lambda: nn.Linear(16, 4, bias=False), square, 2, 16)
    (added,) = [op for op in found.operations if op.kind == "accumulation"]
    assert (added.bytes_read, added.bytes_written) == (2 * 256, 256)
    low = traced(lambda: nn.Linear(16, 4, bias=False), square, 2, 16, low=True)
    assert [op.bytes_written for op in low.operations if op.name == "cast"].count(256.0) == 1  # the gradient
    (again,) = [op for op in low.operations if op.kind == "accumulation"]
    assert (again.bytes_read, again.bytes_written) == (2 * 256, 256)


def test_recomputed_layers_are_counted_twice_forward():
    from torch.utils.checkpoint import checkpoint

    def plain(module, batch):
        return module(batch).square().mean()

    def again(module, batch):
        return checkpoint(module, batch, use_reentrant=False).square().mean()

    def build():
        return nn.Sequential(nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 8, bias=False), nn.Tanh())

    assert traced(build, again, 4, 8).flops - traced(build, plain, 4, 8).flops == 2 * 2 * 4 * 64


def test_momentum_keeps_one_copy_and_plain_sgd_none():
    def sgd(momentum):
        return lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=momentum)

    with_momentum = traced(lambda: nn.Linear(8, 8, bias=False), square, 2, 8, optimizer=sgd(0.9))
    without = traced(lambda: nn.Linear(8, 8, bias=False), square, 2, 8, optimizer=sgd(0.0))
    assert (with_momentum.optimizer_state_bytes, without.optimizer_state_bytes) == (256, 0)
    (update,) = [op for op in with_momentum.optimizer if op.name == "optimizer_step"]
    assert (update.bytes_read, update.bytes_written) == (3 * 256, 2 * 256)


def test_a_loss_that_depends_on_values_is_refused_with_its_name():
    with pytest.raises(ValueError, match="Linear cannot be traced on the meta device"):
        traced(lambda: nn.Linear(4, 4), lambda m, b: m(b)[m(b) > 0].sum(), 2, 4)
