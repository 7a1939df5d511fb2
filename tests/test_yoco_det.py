"""The detector: geometry, assignment, losses, suppression and mAP by hand; sizes by count; the loader as it runs."""

import itertools
import json
import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch.utils.flop_counter import FlopCounterMode

from yocobench.bench.data.images import CocoSplit
from yocobench.bench.workloads.detection import augment, loader, loss, metrics
from yocobench.bench.workloads.detection.metrics import Detections
from yocobench.bench.workloads.yoco_det import YocoDet

SHAPES = ("rectangle", "ellipse")
COLOURS = ("red", "lime", "blue")


def write_split(folder: Path, split: str, num_images: int, seed: int) -> None:
    """A COCO split of noise with one to three rectangles and ellipses in three colours: six categories."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for i in range(num_images):
        width, height = 160, int(rng.integers(100, 161))
        image = Image.fromarray(rng.integers(90, 160, (height, width, 3), dtype=np.uint8))
        for _ in range(int(rng.integers(1, 4))):
            side_x, side_y = rng.integers(30, 60, 2)
            x, y = int(rng.integers(0, width - side_x)), int(rng.integers(0, height - side_y))
            shape, colour = int(rng.integers(2)), int(rng.integers(3))
            box = (x, y, x + int(side_x), y + int(side_y))
            getattr(ImageDraw.Draw(image), SHAPES[shape])(box, fill=COLOURS[colour])
            row = {"id": len(annotations) + 1, "image_id": i, "category_id": shape * 3 + colour + 1, "iscrowd": 0}
            annotations.append({**row, "bbox": [x, y, int(side_x), int(side_y)], "area": int(side_x * side_y)})
        name = f"{split}-{i:04d}.jpg"
        image.save(folder / "images" / name, quality=90)
        images.append({"id": i, "file_name": name, "width": width, "height": height})
    names = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS]
    categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(content))


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


def test_the_model_is_captured_as_one_graph_with_its_loss() -> None:
    workload = small()
    model = workload.build()
    captured = torch.compile(workload.loss, fullgraph=True, backend="eager", dynamic=False)
    captured(model, workload.example_batch(2)).backward()
    assert all(p.grad is not None for p in model.parameters())


# --- geometry ---------------------------------------------------------------------------------------------------


def test_a_letterbox_centres_a_wide_image() -> None:
    place = augment.letterbox((320, 160), 128)
    assert (place.size_wh, place.left, place.top) == ((128, 64), 0, 32)
    # 0.4 times the pixels, then 32 down
    assert place.to_canvas(np.array([[10, 20, 110, 120]], np.float32)).tolist() == [[4, 40, 44, 80]]


def test_a_flip_mirrors_boxes_left_to_right() -> None:
    assert augment.flip_boxes(np.array([[10, 5, 30, 25]], np.float32), 100).tolist() == [[70, 5, 90, 25]]


def test_boxes_that_mostly_left_the_canvas_are_no_targets() -> None:
    boxes = np.array([[-10, 0, 10, 20], [-18, 0, 2, 20], [50, 50, 60, 60]], np.float32)  # a half, a tenth, all visible
    clipped, visible = augment.clip_boxes(boxes, 64)
    assert visible.tolist() == [True, False, True]
    assert clipped[0].tolist() == [0, 0, 10, 20]


sides = st.integers(min_value=8, max_value=640)
boxes_in_unit = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4)


@given(width=sides, height=sides, canvas=st.sampled_from([64, 128, 224]), unit=boxes_in_unit, seed=st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_placing_then_placing_back_returns_the_box(width: int, height: int, canvas: int, unit: list, seed: int) -> None:
    (x1, x2), (y1, y2) = sorted(unit[:2]), sorted(unit[2:])
    box = np.array([[x1 * width, y1 * height, x2 * width, y2 * height]], np.float32)
    letterbox = augment.letterbox((width, height), canvas)
    for place in (letterbox, augment.random_placement((width, height), canvas, np.random.default_rng(seed))):
        np.testing.assert_allclose(place.to_image(place.to_canvas(box)), box, atol=0.05)
    inside = letterbox.to_canvas(box)
    assert inside.min() >= -0.01
    assert inside.max() <= canvas + 0.01
    flipped = augment.flip_boxes(inside, canvas)
    np.testing.assert_allclose(augment.flip_boxes(flipped, canvas), inside, atol=1e-3)


# --- loss -------------------------------------------------------------------------------------------------------


def test_iou_and_giou_of_boxes_by_hand() -> None:
    box = torch.tensor([0.0, 0.0, 2.0, 2.0])
    others = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [4, 0, 6, 2]])
    iou, giou = loss.iou_and_giou(box.expand(3, 4), others)
    # overlap 1 of union 7 in a hull of 9; no overlap, union 8 in a hull of 12
    torch.testing.assert_close(iou, torch.tensor([1.0, 1 / 7, 0.0]))
    torch.testing.assert_close(giou, torch.tensor([1.0, 1 / 7 - 2 / 9, -4 / 12]))


def test_raw_zeros_stand_for_a_box_of_two_strides_around_the_cells_centre() -> None:
    centres = loss.cell_centres(2, 3, 16, torch.device("cpu"))
    assert centres.tolist() == [[8, 8], [24, 8], [40, 8], [8, 24], [24, 24], [40, 24]]
    assert loss.decode_boxes(torch.zeros(4), centres[4], 16).tolist() == [8, 8, 40, 40]
    assert loss.decode_boxes(torch.tensor([0.5, 0, 0, 0]), centres[4], 16).tolist() == [16, 8, 48, 40]


def test_cells_near_an_objects_centre_answer_for_it_and_the_smaller_object_wins() -> None:
    centres = loss.cell_centres(4, 4, 16, torch.device("cpu"))
    targets = torch.zeros(1, 3, 5)
    targets[0, 0] = torch.tensor([0, 0, 64, 64, 7])  # centre 32, 32: cells 5, 6, 9, 10
    targets[0, 1] = torch.tensor([36, 36, 44, 44, 3])  # centre 40, 40, smaller than a cell: cell 10 alone
    targets[0, 2] = torch.tensor([0, 0, 16, 16, 1])  # not real: only two are
    row, positive = loss.assign(targets, torch.tensor([2]), centres, 16)
    assert positive[0].nonzero().flatten().tolist() == [5, 6, 9, 10]
    assert row[0, [5, 6, 9, 10]].tolist() == [0, 0, 0, 1]


def test_only_the_right_classes_box_is_trained() -> None:
    raw = torch.zeros(1, 1, 1, 3, 4, requires_grad=True)
    targets = torch.tensor([[[0.0, 0, 16, 12, 2]]])
    loss.detection_loss(raw, torch.zeros(1, 1, 1, 3), targets, torch.tensor([1]), 16).backward()
    assert raw.grad is not None
    assert raw.grad[0, 0, 0].abs().sum(-1).gt(0).tolist() == [False, False, True]


def test_the_loss_of_a_perfect_prediction_is_nearly_nothing_and_no_object_is_no_trouble() -> None:
    targets = torch.tensor([[[0.0, 0, 32, 32, 1]]])
    raw = torch.zeros(1, 2, 2, 2, 4)
    for y, x in np.ndindex(2, 2):  # all four centres lie half a stride from the object's
        raw[0, y, x, 1, :2] = torch.tensor([0.5 - x, 0.5 - y])
    logits = torch.tensor([-20.0, 20.0]).expand(1, 2, 2, 2)
    assert loss.detection_loss(raw, logits, targets, torch.tensor([1]), 16).item() < 1e-4
    empty = loss.detection_loss(raw, -logits.abs(), targets, torch.tensor([0]), 16)
    assert 0 <= empty.item() < 1e-4


def test_the_loss_stays_finite_in_half_precision() -> None:
    raw = torch.full((1, 2, 2, 3, 4), 60000.0, dtype=torch.float16, requires_grad=True)
    logits = torch.full((1, 2, 2, 3), -60000.0, dtype=torch.float16, requires_grad=True)
    value = loss.detection_loss(raw, logits, torch.tensor([[[1.0, 1, 30, 30, 0]]]), torch.tensor([1]), 16)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()


# --- detections and mAP -----------------------------------------------------------------------------------------


def test_suppression_keeps_the_best_of_a_cluster_and_what_overlaps_little() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 6, 10, 16], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.8, 0.9, 0.7, 0.6])
    # of box 1: box 0 has IoU 90/100; box 2 has 30/160; box 3 none
    assert metrics.nms(boxes, scores, 0.5).tolist() == [1, 2, 3]
    kept = metrics.nms_per_class(Detections(boxes, np.array([0, 1, 0, 0]), scores), 0.5)
    assert kept.scores.tolist() == [0.9, 0.8, 0.7, 0.6]  # of another class: not suppressed


def test_map_is_one_for_the_truth_and_falls_with_misses_and_wrong_classes() -> None:
    boxes = np.array([[10, 10, 50, 50], [60, 20, 90, 80]], np.float32)
    truth = [metrics.to_truth(boxes, np.array([0, 3])), metrics.to_truth(boxes[:1], np.array([0]))]
    assert metrics.map50(truth, truth) == 1.0
    one_class = [metrics.to_truth(boxes[:1], np.array([0])), truth[1]]
    assert metrics.map50(one_class, truth) == 0.5  # class 0 perfect, class 3 missed
    wrong = [metrics.to_truth(boxes, np.array([3, 0])), metrics.to_truth(boxes[:0], np.zeros(0, np.int64))]
    assert metrics.map50(wrong, truth) == 0.0
    assert metrics.map50([metrics.to_truth(boxes[:0], np.zeros(0, np.int64))] * 2, truth) == 0.0


def test_the_networks_output_becomes_its_best_classs_box() -> None:
    raw = torch.zeros(1, 2, 2, 3, 4)
    raw[0, 1, 0, 2, 0] = 0.25
    logits = torch.full((1, 2, 2, 3), -20.0)
    logits[0, 1, 0, 2] = 0.0
    (found,) = metrics.detections(raw, logits, 16)
    # cell centre (8, 24), shifted by a quarter of 16, two strides wide
    assert found.boxes.tolist() == [[-4, 8, 28, 40]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([2], [0.5])


# --- loader -----------------------------------------------------------------------------------------------------


def first(workload: YocoDet, data: Path, count: int, seed: int = 0) -> list[loader.DetectionBatch]:
    batches = workload.batches(data, 10, 4, seed)
    taken = [next(batches) for _ in range(count)]
    workload.close()
    return taken


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


def train(workload: YocoDet, model: torch.nn.Module, batches: Iterable[loader.DetectionBatch]) -> list[float]:
    """One optimiser step per batch; the losses."""
    optimizer = workload.optimizer(model)
    losses = []
    for batch in batches:
        value = workload.loss(model, batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(value.item())
    return losses


def test_the_loss_on_one_batch_falls_to_half_when_it_is_repeated(data: Path) -> None:
    torch.manual_seed(0)
    workload = small(learning_rate=3e-3)
    losses = train(workload, workload.build(), first(workload, data, 1) * 30)
    assert losses[-1] < losses[0] / 2


@pytest.mark.slow
def test_map_on_images_never_seen_rises_by_a_fifth_within_150_steps(tmp_path: Path) -> None:
    write_split(tmp_path, "train", 200, seed=1)
    write_split(tmp_path, "heldout", 50, seed=2)
    torch.manual_seed(0)
    workload = small(learning_rate=3e-3, image_size_px=96, num_workers=1)
    model = workload.build().to(memory_format=torch.channels_last)
    before = workload.evaluate(model, tmp_path)
    train(workload, model, itertools.islice(workload.batches(tmp_path, None, 16, 0), 150))
    workload.close()
    after = workload.evaluate(model, tmp_path)
    assert after["heldout_map50"] > before["heldout_map50"] + 0.2
    assert after["heldout_loss"] < 0.8 * before["heldout_loss"]
