"""What the detector is trained on: cells assigned to objects, GIoU for boxes, quality focal loss for classes.

Everything is of fixed shape and stays on the device: no count is read back, so nothing stalls an accelerator.
Boxes are (x1, y1, x2, y2) in pixels of the network's input. `N` is the number of cells, `M` of target rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from torch import Tensor

MAX_LOG_SIZE = 5.0
"""Largest raw size: e^5 = 148 anchors. Keeps exp() finite whatever the network says."""
ANCHOR_STRIDES = 2.0
"""Side of the box that raw (0, 0, 0, 0) stands for, in strides."""
FOCUS = 2.0
"""Exponent of the focal weight (1708.02002 and 2006.04388 both use 2)."""
BOX_WEIGHT = 0.7
"""Weight of the box loss against the class loss. 2006.04388 uses 2, on a pretrained backbone; from noise the classes
are the slower part, and mAP after 150 steps was half as high again with this."""


def cell_centres(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Centres of the cells in pixels, row by row: (height * width, 2) as (x, y)."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
    return torch.stack((x.repeat(height), y.repeat_interleave(width)), dim=-1)


def decode_boxes(raw: Tensor, centres: Tensor, stride: int) -> Tensor:
    """Raw predictions (..., 4) at `centres` (..., 2) to boxes: centre shifted in strides, size exp() of an anchor.

    A shift instead of four distances to the sides, so that a cell can answer for an object smaller than itself.
    """
    middle = centres + raw[..., :2] * stride
    half = raw[..., 2:].clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE).exp() * (ANCHOR_STRIDES * stride / 2)
    return torch.cat((middle - half, middle + half), dim=-1)


def iou_and_giou(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and its generalised form (1902.09630), of boxes (..., 4) pair by pair."""
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    other_area = (others[..., 2:] - others[..., :2]).prod(-1)
    top_left = torch.maximum(boxes[..., :2], others[..., :2])
    bottom_right = torch.minimum(boxes[..., 2:], others[..., 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(-1)
    union = area + other_area - shared
    corners = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    hull = corners.prod(-1).clamp(min=1e-6)
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull


def assign(targets: Tensor, counts: Tensor, centres: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Which object each cell answers for: (B, N) row of `targets`, and (B, N) whether it answers for one at all.

    `targets` is (B, M, 5), boxes and label, of which the first `counts` (B,) rows are real. A cell answers for an
    object if it holds the object's centre, or if its own centre lies inside the box within one stride of the object's
    centre (centre sampling, 1904.01355). Of several, the smallest box wins.
    """
    boxes = targets[..., :4]
    real = torch.arange(targets.shape[1], device=targets.device) < counts[:, None]
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    distance = (centres[None, :, None] - middle[:, None]).abs().amax(-1)
    after = centres[None, :, None] > boxes[:, None, :, :2]
    before = centres[None, :, None] < boxes[:, None, :, 2:]
    near = (distance <= stride) & after.all(-1) & before.all(-1)
    holds = distance <= stride / 2
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[:, None]
    answers = (near | holds) & real[:, None]
    row = torch.where(answers, area, torch.inf).min(-1).indices
    return row, answers.any(-1)  # not by the least area: of nothing but inf, torch_xla's min is the largest float


def detection_loss(raw: Tensor, logits: Tensor, targets: Tensor, counts: Tensor, stride: int) -> Tensor:
    """Class plus box loss, per answering cell of the batch, in fp32 whatever the precision of the network.

    Classes: quality focal loss (2006.04388): the score of the right class is to tell how well its box fits, all others
    are to be 0. The fit is (1 + IoU) / 2, so that classes are learned while the boxes still fit badly. Boxes: of the
    (classes, 4) raw boxes only the right class's is trained, by 1 - GIoU.
    """
    height, width, num_classes = logits.shape[1:]
    centres = cell_centres(height, width, stride, logits.device)
    row, positive = assign(targets, counts, centres, stride)
    target = targets.gather(1, row[..., None].expand(-1, -1, 5))
    label = target[..., 4].long()
    weight = positive.float()
    num_positive = weight.sum().clamp(min=1)

    raw = raw.flatten(1, 2).float()
    own = raw.gather(2, label[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
    iou, giou = iou_and_giou(decode_boxes(own, centres, stride), target[..., :4])
    box_loss = ((1 - giou) * weight).sum() / num_positive

    logits = logits.flatten(1, 2).float()
    fit = (1 + iou.detach()) / 2 * weight
    wanted = F.one_hot(label, num_classes) * fit[..., None]
    focus = (wanted - logits.sigmoid()).abs().pow(FOCUS)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    class_loss = (focus * entropy).sum() / num_positive
    return class_loss + BOX_WEIGHT * box_loss
