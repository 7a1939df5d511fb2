"""Bytes of a training step, and the micro-batch that fits."""

import pytest
import torch
from torch import nn

from plan_cases import TOY
from yocobench import config
from yocobench.bench.workloads.base import Workload
from yocobench.bench.workloads.detection.winograd import Conv3x3
from yocobench.estimate import estimator, memory, workspace
from yocobench.estimate.calibration import Calibration
from yocobench.estimate.memory import HEADROOM, RUNTIME_BYTES, MemoryNeed
from yocobench.estimate.trace import trace_module, trace_workload

GIB = 2**30


class Chain(Workload):
    """Two linear layers of 1024 with a sigmoid between: 2 Mi parameters."""

    def build(self):
        return nn.Sequential(nn.Linear(1024, 1024, bias=False), nn.Sigmoid(), nn.Linear(1024, 1024, bias=False))

    def loss(self, model, batch):
        return model(batch).sum()

    def batches(self, data, num_items, batch_size, seed):
        while True:
            yield torch.zeros(batch_size, 1024)

    def example_batch(self, batch_size):
        return torch.zeros(batch_size, 1024)

    def samples_per_item(self):
        return 1


class LongChain(Chain):
    """Two elementwise layers between the linear ones."""

    def build(self):
        first, last = nn.Linear(1024, 1024, bias=False), nn.Linear(1024, 1024, bias=False)
        return nn.Sequential(first, nn.Sigmoid(), nn.Tanh(), last)


def need(precision, workload=None, compiled=False):
    """The line through the two traces that a plan makes."""
    low = memory.is_low(precision)
    small, large = (trace_workload(workload or Chain(), batch, low) for batch in memory.TRACED_BATCHES)
    return memory.from_traces(small, large, compiled)


def test_the_line_is_what_stays_plus_what_an_item_saves():
    line = need("fp32")
    weights = 2 * 1024 * 1024 * 4
    # parameters, gradients, two moments; one layer's new gradient before it is added to the old one
    assert line.fixed_bytes == pytest.approx(4 * weights + weights / 2, rel=0.01)
    # beside that gradient an item keeps its 4 KiB row of the batch and of the sigmoid, and passes one gradient
    assert line.per_item_bytes == pytest.approx(3 * 4096, rel=0.05)


class Layered(Chain):
    """A layer of 1024 x 8 outside two blocks of 4 and 2 MiB."""

    def build(self):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.before = nn.Linear(1024, 8, bias=False)
                self.layers = nn.ModuleList([nn.Linear(8, 2**17, bias=False), nn.Linear(2**17, 4, bias=False)])

            def forward(self, x):
                for layer in (self.before, *self.layers):
                    x = layer(x)
                return x

        return Model()


def test_sharded_what_is_gathered_is_twice_the_root_and_four_times_the_largest_block():
    line = need("fp32", Layered())
    assert line.gathered_bytes == 2 * 8 * 1024 * 4 + 4 * 8 * 2**17 * 4
    assert line.sharded(8).fixed_bytes == line.fixed_bytes / 8 + line.gathered_bytes


def test_a_compiled_step_does_not_keep_what_only_elementwise_operations_read():
    # rows of 4 KiB: the batch, the results of both elementwise layers, one gradient that passes; the sigmoid's is read
    # by the tanh alone, so a compiler computes it again
    assert need("fp32", LongChain()).per_item_bytes == pytest.approx(4 * 4096, rel=0.05)
    assert need("fp32", LongChain(), compiled=True).per_item_bytes == pytest.approx(3 * 4096, rel=0.05)
    # between two products there is nothing to leave out
    assert need("fp32", compiled=True).per_item_bytes == pytest.approx(need("fp32").per_item_bytes, rel=0.05)


def test_a_compiled_step_keeps_the_copies_of_the_weights_too():
    assert need("bf16", compiled=True).fixed_bytes > need("fp32", compiled=True).fixed_bytes


def test_sixteen_bits_halve_what_an_item_keeps_but_add_copies_of_the_weights():
    wide, low = need("fp32"), need("bf16")
    assert low.per_item_bytes < wide.per_item_bytes
    assert low.fixed_bytes > wide.fixed_bytes


def test_each_split_is_the_largest_proper_divisor_of_the_one_before():
    assert memory.splits(24) == [24, 12, 6, 3, 1]
    assert memory.splits(7) == [7, 1]
    assert memory.splits(100) == [100, 50, 25, 5, 1]
    assert memory.splits(8) == [8, 4, 2, 1]
    assert memory.splits(999_999_937) == [999_999_937, 1]  # a prime, and no search through all that is below it


def test_the_largest_split_that_leaves_headroom_is_taken():
    line = MemoryNeed(fixed_bytes=1 * GIB, per_item_bytes=1 * GIB)
    # 8 items need 9 GiB beside the runtime
    enough = (9 * GIB + RUNTIME_BYTES["cpu"]) / (1 - HEADROOM)
    assert memory.largest_fit(line, 8, enough + 1, "cpu") == 8
    assert memory.largest_fit(line, 8, enough - GIB / 2, "cpu") == 4
    assert memory.largest_fit(line, 6, enough - GIB, "cpu") == 6


def test_nothing_fits_when_the_smallest_split_does_not():
    line = MemoryNeed(fixed_bytes=10 * GIB, per_item_bytes=GIB)
    assert memory.largest_fit(line, 8, 8 * GIB, "cpu") is None


@pytest.mark.usefixtures("project")
def test_the_estimate_of_a_model_that_has_to_be_spread_states_what_one_of_its_devices_needs(monkeypatch):
    # 400 GiB over the 8 A100 of 40 GiB are 50: too much. 200 are 25, with 2 gathered and 2 items of 1 GiB each 29.
    line = MemoryNeed(fixed_bytes=200 * GIB, per_item_bytes=GIB, gathered_bytes=2 * GIB)
    monkeypatch.setattr(estimator, "memory_need", lambda config, precision: line)
    found = estimator.estimate(TOY, config.instance("p4d.24xlarge"), Calibration())
    assert (found.micro_batch_size, found.needed_bytes) == (2, 29 * GIB)


def test_what_winograd_keeps_and_passes_counts_in_fp32_only():
    layer = Conv3x3(96, 128)
    # 4 images of 10 x 10: 36 tiles. The input's combinations 36 x 36 x 96, the weights' 36 x 96 x 128, of 4 bytes:
    # 497,664 and 1,769,472. Of the output's gradient 36 x 36 x 128: 663,552.
    kept, passing = workspace.of_layer(layer, (4, 96, 10, 10))
    assert (kept, passing) == (497_664 + 1_769_472, 663_552 + 1_769_472 + 2 * 497_664)
    assert workspace.of_layer(layer, (3, 96, 10, 10)) == (0, 0)  # 27 tiles do not pay

    def peak(low_precision: bool, form: type[nn.Module]) -> int:
        with torch.device("meta"):
            module = form(96, 128, 3, padding=1) if form is nn.Conv2d else form(96, 128)
            images = torch.zeros(4, 96, 10, 10)
        return trace_module(module, lambda m, batch: m(batch).sum(), images, 4, low_precision).peak_activation_bytes

    assert peak(False, Conv3x3) - peak(False, nn.Conv2d) == kept + passing
    assert peak(True, Conv3x3) == peak(True, nn.Conv2d)
