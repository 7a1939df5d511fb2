"""The detector's parts: geometry, assignment, losses, suppression and mAP, by hand."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yocobench.bench.workloads.detection import augment, loss, metrics
from yocobench.bench.workloads.detection.metrics import Detections

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


def test_no_cell_answers_where_min_knows_no_infinity(monkeypatch) -> None:
    real = torch.Tensor.min
    largest = torch.finfo(torch.float32).max  # what torch_xla 2.9 starts a minimum from
    monkeypatch.setattr(torch.Tensor, "min", lambda values, dim: real(values.clamp(max=largest), dim))
    targets = torch.tensor([[[8.0, 8, 24, 24, 0]]])
    centres = loss.cell_centres(4, 4, 16, torch.device("cpu"))
    _, positive = loss.assign(targets, torch.tensor([0]), centres, 16)
    assert not positive.any()
    _, positive = loss.assign(targets, torch.tensor([1]), centres, 16)
    assert 0 < positive.sum() < positive.numel()


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
