"""The loader alone: its rate by an injected clock, what is cold, and when steps are bound by input."""

from pathlib import Path

import pytest

from coco_images import write_split
from yocobench.bench import loading
from yocobench.bench.loading import Rates
from yocobench.bench.workloads.yoco_det import YocoDet


class Clock:
    """Each batch takes 0.1 s; nothing else takes time."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def batches(self):
        while True:
            self.now_s += 0.1
            yield None


def test_the_rate_leaves_the_first_batch_out_and_ends_with_the_probe() -> None:
    clock = Clock()
    assert loading._rate(clock.batches(), 8, float("inf"), clock) == pytest.approx(80)
    assert clock.now_s == pytest.approx(0.1 + 0.5, abs=0.11)


def test_a_cold_rate_ends_with_the_data() -> None:
    clock = Clock()
    assert loading._rate(clock.batches(), 8, 24, clock) == pytest.approx(80)
    assert clock.now_s == pytest.approx(0.3)  # the first batch and the two that were left
    assert loading._rate(clock.batches(), 8, 15, clock) is None


def test_a_file_that_is_mapped_or_absent_is_not_called_cold(tmp_path: Path) -> None:
    assert not loading._evict([])
    with pytest.raises(FileNotFoundError):
        loading._evict([tmp_path / "none"])


def test_the_detectors_loader_is_measured_alone(tmp_path: Path) -> None:
    write_split(tmp_path, "train", 8, seed=1)
    workload = YocoDet(width=0.25, image_size_px=64, num_classes=6, num_workers=0)
    assert [path.name for path in workload.data_files(tmp_path, 2)] == ["train-0000.jpg", "train-0001.jpg"]
    ticks = iter(range(10_000))
    rates = loading.loader_rates(workload, tmp_path, 8, 2, 0, lambda: next(ticks) * 0.01)
    assert rates.warm is not None
    assert rates.warm > 0
    ticks = iter(range(10_000))
    together = loading.loader_rates(workload, tmp_path, 8, 2, 0, lambda: next(ticks) * 0.01, processes=4)
    assert together.warm == 4 * rates.warm
    workload.close()


def test_steps_that_wait_for_more_than_a_twentieth_are_bound_by_input() -> None:
    assert loading.input_bound([1.0] * 4, [0.05] * 4, 16, Rates(None, 999)) is None
    said = loading.input_bound([1.0] * 4, [0.25] * 4, 16, Rates(None, 20.4))
    assert said is not None
    assert said.startswith(
        "input_bound: steps wait 25 % of their time for the loader, which alone gives 20 samples per second (16 in tr"
    )
