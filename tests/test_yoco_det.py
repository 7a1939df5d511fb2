"""The detector as a workload: sizes by count, the loader as it runs, and that it learns."""

import itertools
import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from coco_images import write_split
from yocobench.bench import physical
from yocobench.bench.data.images import CocoSplit
from yocobench.bench.workloads.detection import loader
from yocobench.bench.workloads.yoco_det import YocoDet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_split(folder, "train", 12, seed=1)
    write_split(folder, "heldout", 4, seed=2)
    return folder


def small(**changes: object) -> YocoDet:
    """A detector that takes milliseconds."""
    args = {"width": 0.25, "image_size_px": 64, "output_stride": 16, "num_classes": 6, "max_boxes": 4, "num_workers": 0}
    return YocoDet(**{**args, **changes})


@pytest.mark.parametrize(("installed", "expected"), [(None, 2), (object(), 8)])
def test_loaders_are_many_beside_an_accelerator_that_torch_xla_drives(
    installed: object, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(physical, "usable", lambda: 16)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(loader.torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(loader, "find_spec", lambda name: installed if name == "torch_xla" else None)
    assert loader.default_workers() == expected


# --- size and shape ---------------------------------------------------------------------------------------------


def test_the_plans_model_has_9_405_million_parameters_and_1_303_gflop_forward() -> None:
    workload = YocoDet(image_size_px=224)
    with torch.device("meta"):
        model, (images, _, _) = workload.build(), workload.example_batch(1)
        with FlopCounterMode(display=False) as counter:
            raw, logits = model(images)
    # backbone 2,223,872; 3x3: 1280*512*9+512 and 512*256*9+256; heads: 256*320+320 and 256*80+80
    assert sum(p.numel() for p in model.parameters()) == 2_223_872 + 5_898_752 + 1_179_904 + 82_240 + 20_560
    assert counter.get_total_flops() == 1_302_656_768
    # three times forward, less the gradient by the pixels: 2 * 27 * 32 * 112 * 112
    assert workload.flops_per_sample() == 3 * 1_302_656_768 - 21_676_032
    assert workload.flops_per_sample() / 1e9 == pytest.approx(3.91, rel=0.01)
    assert raw.shape == (1, 7, 7, 80, 4)
    assert logits.shape == (1, 7, 7, 80)


def test_training_flops_agree_with_torchs_counter() -> None:
    # ResNet-50 has no grouped convolutions, whose backward pass torch's counter overstates.
    workload = YocoDet(backbone="resnet-50", image_size_px=64, width=0.5, output_stride=16)
    with torch.device("meta"):
        model, batch = workload.build(), workload.example_batch(2)
        with FlopCounterMode(display=False) as counter:
            workload.loss(model, batch).backward()
    assert counter.get_total_flops() == 2 * workload.flops_per_sample()


@pytest.mark.parametrize(("output_stride", "cells"), [(32, 2), (16, 4), (8, 8)])
def test_a_smaller_output_stride_gives_more_cells_from_equal_parameters(output_stride: int, cells: int) -> None:
    workload = small(output_stride=output_stride)
    with torch.device("meta"):
        model, batch = workload.build(), workload.example_batch(3)
        _, logits = model(batch[0])
    assert logits.shape == (3, cells, cells, 6)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in small().build().parameters())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"backbone": "vgg"}, r"args.backbone 'vgg' is not known. Known: mobilenet-v2, resnet-50"),
        ({"output_stride": 12}, r"args.output_stride 12 is not one of \(8, 16, 32\)"),
        ({"image_size_px": 100}, "args.image_size_px 100 must be a multiple of 32"),
        ({"width": 0}, "args.width 0 must be above 0"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(args: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        YocoDet(**args)


@pytest.mark.slow
def test_the_model_is_captured_as_one_graph_with_its_loss() -> None:
    workload = small()
    model = workload.build()
    captured = torch.compile(workload.loss, fullgraph=True, backend="eager", dynamic=False)
    captured(model, workload.example_batch(2)).backward()
    assert all(p.grad is not None for p in model.parameters())


# --- loader -----------------------------------------------------------------------------------------------------


def first(workload: YocoDet, data: Path, count: int, seed: int = 0) -> list[loader.DetectionBatch]:
    batches = workload.batches(data, 10, 4, seed)
    taken = [next(batches) for _ in range(count)]
    workload.close()
    return taken


def test_two_processes_share_the_batches_that_one_would_have(data: Path) -> None:
    def first(count: int, rank: int, size: int) -> list[torch.Tensor]:
        workload = small()
        return [images for images, _, _ in itertools.islice(workload.share(data, 12, 4, 7, rank, size), count)]

    alone = first(4, 0, 1)
    for rank in (0, 1):
        for mine, expected in zip(first(2, rank, 2), alone[rank::2], strict=True):
            assert torch.equal(mine, expected)


def test_batches_depend_on_the_seed_and_not_on_the_number_of_workers(data: Path) -> None:
    inline, again, workers = first(small(), data, 4), first(small(), data, 4), first(small(num_workers=2), data, 4)
    other = first(small(), data, 4, seed=1)
    for mine, same, theirs, different in zip(inline, again, workers, other, strict=True):
        for part in range(3):
            assert torch.equal(mine[part], same[part])
            assert torch.equal(mine[part], theirs[part])
        assert not torch.equal(mine[0], different[0])


def test_a_batch_is_bytes_in_channels_last_memory_with_padded_targets(data: Path) -> None:
    images, targets, counts = first(small(), data, 1)[0]
    assert (images.shape, images.dtype) == ((4, 3, 64, 64), torch.uint8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert targets.shape == (4, 4, 5)
    for rows, count in zip(targets, counts, strict=True):
        assert (rows[count:] == 0).all()
        assert (rows[:count, 2:4] > rows[:count, :2]).all()
        assert rows[:, :4].min() >= 0
        assert rows[:, :4].max() <= 64


def test_every_image_comes_once_an_epoch_in_a_new_order() -> None:
    batches = iter(loader._Shuffled(6, 4, seed=0))
    pairs = [pair for _ in range(3) for pair in next(batches)]
    assert [epoch for epoch, _ in pairs] == [0] * 6 + [1] * 6
    orders = [index for _, index in pairs[:6]], [index for _, index in pairs[6:]]
    assert sorted(orders[0]) == sorted(orders[1]) == [0, 1, 2, 3, 4, 5]
    assert orders[0] != orders[1]


def test_of_too_many_objects_the_largest_are_kept() -> None:
    boxes = np.array([[0, 0, 5, 5], [0, 0, 20, 20], [0, 0, 10, 10]], np.float32)
    item = (np.zeros((64, 64, 3), np.uint8), boxes, np.array([0, 1, 2]))
    _, targets, counts = loader.collate([item], loader.Form(image_size_px=64, max_boxes=2))
    assert counts.tolist() == [2]
    assert targets[0, :, 4].tolist() == [1, 2]


def test_a_plain_image_shows_its_objects_where_the_boxes_say(data: Path) -> None:
    split = CocoSplit.open(data, "heldout", None)
    (pixels, boxes, labels), _ = loader.plain(split, 0, loader.Form(64, 4))
    x, y = ((boxes[-1, :2] + boxes[-1, 2:]) / 2).astype(int)
    channel = int(labels[-1]) % 3  # the last object is on top; red, lime, blue
    assert pixels[y, x].argmax() == channel
    assert pixels[y, x, channel] > 200


def test_close_stops_the_workers(data: Path) -> None:
    before = set(multiprocessing.active_children())
    workload = small(num_workers=2)
    next(workload.batches(data, None, 2, 0))
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    workload.close()
    assert not workers & set(multiprocessing.active_children())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_image_is_named(tmp_path: Path, num_workers: int) -> None:
    write_split(tmp_path, "train", 4, seed=3)
    damaged = tmp_path / "images" / "train-0002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:700])
    workload = small(num_workers=num_workers)
    batches = workload.batches(tmp_path, None, 2, 0)
    with pytest.raises(ValueError, match=r"train-0002\.jpg cannot be decoded") as caught:
        list(itertools.islice(batches, 2))
    assert "Traceback" not in str(caught.value)
    workload.close()


def test_more_categories_than_classes_is_refused(data: Path) -> None:
    with pytest.raises(ValueError, match=r"6 categories, the model 5 classes: raise workload\.args\.num_classes"):
        small(num_classes=5).batches(data, None, 2, 0)


# --- learning ---------------------------------------------------------------------------------------------------


def test_evaluation_leaves_the_model_as_it_was(data: Path) -> None:
    workload = small()
    model = workload.build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    quality = workload.evaluate(model, data)
    assert set(quality) == {"heldout_map50", "heldout_loss"}
    assert 0 <= quality["heldout_map50"] <= 1
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def train(
    workload: YocoDet, model: torch.nn.Module, batches: Iterable[loader.DetectionBatch], decay_steps: int | None = None
) -> list[float]:
    """One optimiser step per batch; the losses. The learning rate falls to zero in `decay_steps`, if given."""
    optimizer = workload.optimizer(model)
    falling = decay_steps and torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, decay_steps)
    losses = []
    for batch in batches:
        value = workload.loss(model, batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if falling:
            falling.step()
        losses.append(value.item())
    return losses


@pytest.mark.slow
def test_the_loss_on_one_batch_falls_to_half_when_it_is_repeated(data: Path) -> None:
    torch.manual_seed(0)
    workload = small(learning_rate=3e-3)
    losses = train(workload, workload.build(), first(workload, data, 1) * 30)
    assert losses[-1] < losses[0] / 2


@pytest.mark.slow
def test_map_on_images_never_seen_rises_by_15_points_within_100_steps(tmp_path: Path) -> None:
    write_split(tmp_path, "train", 200, seed=1)
    write_split(tmp_path, "heldout", 50, seed=2)
    torch.manual_seed(0)
    workload = small(learning_rate=3e-3, image_size_px=96, output_stride=8, num_workers=1)
    model = workload.build().to(memory_format=torch.channels_last)
    before = workload.evaluate(model, tmp_path)
    # At a constant rate the last steps' noise decides: by seed and by rounding, mAP rises by 0.08 to 0.38 (20 runs, 4
    # of them below 0.2); by 0.21 to 0.42 with the rate brought down (16 runs).
    train(workload, model, itertools.islice(workload.batches(tmp_path, None, 16, 0), 100), decay_steps=100)
    workload.close()
    after = workload.evaluate(model, tmp_path)
    assert after["heldout_map50"] > before["heldout_map50"] + 0.15
    assert after["heldout_loss"] < 0.8 * before["heldout_loss"]
