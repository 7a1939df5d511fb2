"""What the benchmark of the detector's loader makes of its blocks, by hand."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from benchmark_modules import load

feeding = load("feeding")


class Stepping:
    """A trainer whose steps take 0.4 s when fed, 0.1 of them waiting, and 0.2 s on a batch at hand."""

    def __init__(self) -> None:
        self.spec = SimpleNamespace(workload=SimpleNamespace(global_batch_size=16))
        self.drawn = itertools.count()
        self.batches = self.drawn

    def step(self) -> tuple[float, float, None]:
        next(self.batches)
        return (0.4, 0.1, None) if self.batches is self.drawn else (0.2, 0.0, None)


def test_fed_and_at_hand_are_told_apart_and_nothing_that_was_ready_is_timed():
    trainer = Stepping()
    fed = feeding.in_turn(trainer, blocks=3, steps=5, workers=2)
    assert fed.images_per_second == pytest.approx((40, 80))
    assert (fed.ratio, fed.wait_share) == (pytest.approx(0.5), pytest.approx([0.25] * 3))
    # The first; then of each block 2 x 2 + 4 that were ready, 5 steps, and the one that is kept at hand.
    assert next(trainer.drawn) == 1 + 3 * (8 + 5 + 1)
    assert trainer.batches is trainer.drawn


@pytest.mark.parametrize(("kind", "accelerators"), [("cpu", 0), ("cuda", 1)])
def test_the_order_is_the_detector_at_the_size_asked_for(kind: str, accelerators: int):
    spec = feeding.order(kind, "plan", 64)
    assert (spec.kind, spec.accelerator_count, spec.micro_batch_size) == (kind, accelerators, 64)
    args = spec.workload.args
    assert (args["width"], args["image_size_px"], args["output_stride"], args["num_classes"]) == (1.0, 224, 32, 80)
    assert spec.dataset_path == "data/images"
