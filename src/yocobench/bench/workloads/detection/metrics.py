"""From the network's output to detections, and from detections to mAP@50."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from yocobench.bench.workloads.detection.augment import Placement
from yocobench.bench.workloads.detection.loss import cell_centres, decode_boxes

MAX_DETECTIONS = 100
MIN_SCORE = 0.001
NMS_IOU = 0.6


@dataclass(frozen=True)
class Detections:
    """What was found, or what is there, in one image: boxes (n, 4), labels (n,) and scores (n,; truth: ones)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def nms(boxes: np.ndarray, scores: np.ndarray, max_iou: float) -> np.ndarray:
    """Greedy non-maximum suppression: the indices kept, best score first."""
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        top_left = np.maximum(boxes[best, :2], boxes[rest, :2])
        bottom_right = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (bottom_right - top_left).clip(min=0).prod(axis=1)
        union = areas[best] + areas[rest] - shared
        order = rest[shared <= max_iou * union]
    return np.array(kept, dtype=np.int64)


def nms_per_class(found: Detections, max_iou: float) -> Detections:
    """Suppression within each class only: each class's boxes are moved to a place of their own."""
    if not len(found.scores):
        return found
    apart = (found.boxes.max() - found.boxes.min() + 1) * found.labels[:, None]
    kept = nms(found.boxes + apart, found.scores, max_iou)[:MAX_DETECTIONS]
    return Detections(found.boxes[kept], found.labels[kept], found.scores[kept])


def detections(raw: Tensor, logits: Tensor, stride: int) -> list[Detections]:
    """Network output of a batch to detections on the canvas: each cell gives its best class's box, then NMS."""
    height, width = logits.shape[1:3]
    centres = cell_centres(height, width, stride, logits.device)
    scores, labels = logits.flatten(1, 2).float().sigmoid().max(-1)
    best = labels[..., None, None].expand(-1, -1, 1, 4)
    boxes = decode_boxes(raw.flatten(1, 2).float().gather(2, best).squeeze(2), centres, stride)
    found = []
    for image_boxes, image_labels, image_scores in zip(
        *(t.cpu().numpy() for t in (boxes, labels, scores)), strict=True
    ):
        good = image_scores >= MIN_SCORE
        found.append(nms_per_class(Detections(image_boxes[good], image_labels[good], image_scores[good]), NMS_IOU))
    return found


def map50(found: list[Detections], truth: list[Detections]) -> float:
    """Mean of the average precision at IoU 0.5 over the classes that occur; 0 where nothing is found."""
    truth_rows, found_rows = _rows(truth), _rows(found)
    if not truth_rows or not found_rows:
        return 0.0
    labels = sorted({row["category_id"] for row in truth_rows})
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(len(truth))],
        "categories": [{"id": label} for label in labels],
        "annotations": [row | {"id": i, "iscrowd": 0} for i, row in enumerate(truth_rows, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress by print
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found_rows), "bbox")
        judge.params.iouThrs = np.array([0.5])
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MAX_DETECTIONS]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"]
    return float(precision[precision > -1].mean())


def _rows(per_image: list[Detections]) -> list[dict[str, float]]:
    """COCO result rows; boxes as x, y, width, height."""
    rows = []
    for image_id, item in enumerate(per_image):
        for (x1, y1, x2, y2), label, score in zip(item.boxes.tolist(), item.labels, item.scores, strict=True):
            size = (x2 - x1, y2 - y1)
            rows.append(
                {
                    "image_id": image_id,
                    "category_id": int(label),
                    "bbox": [x1, y1, *size],
                    "area": size[0] * size[1],
                    "score": float(score),
                }
            )
    return rows


def in_image(found: Detections, placement: Placement) -> Detections:
    """Detections on the canvas, in the pixels of the image that lies there."""
    return Detections(placement.to_image(found.boxes), found.labels, found.scores)


def to_truth(boxes: np.ndarray, labels: np.ndarray) -> Detections:
    """Annotations in the form of detections."""
    return Detections(boxes, labels, np.ones(len(labels)))
