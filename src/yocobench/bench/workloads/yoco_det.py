"""`yoco-det`: the one-scale detector of the original hardware upgrade plan (YOLO-style, on COCO-format images).

The network has the plan's layers (detection/model.py); the loss, the loader and the metric are our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from yocobench.bench.data.images import CocoSplit, Split
from yocobench.bench.workloads.base import Workload
from yocobench.bench.workloads.detection import loader, metrics
from yocobench.bench.workloads.detection.loss import detection_loss
from yocobench.bench.workloads.detection.model import Backbone, Detector, forward_flops

EVALUATED_IMAGES = 200
EVALUATION_BATCH = 25
OUTPUT_STRIDES = (8, 16, 32)


class YocoDet(Workload):
    """Object detection. An item and a sample are one image.

    `width` scales every layer; `output_stride` is the number of input pixels to a cell's side (32 in the plan; less
    for small images, at more work in the last stages and no more parameters). `num_workers`: processes that load
    images, 0 for none, null for a choice by the host.
    """

    def __init__(
        self,
        backbone: Backbone = "mobilenet-v2",
        width: float = 1.0,
        image_size_px: int = 224,
        output_stride: int = 32,
        num_classes: int = 80,
        max_boxes: int = 32,
        num_workers: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
    ) -> None:
        if backbone not in get_args(Backbone):
            raise ValueError(
                f"workload.args.backbone {backbone!r} is not known. Known: {', '.join(get_args(Backbone))}"
            )
        if output_stride not in OUTPUT_STRIDES:
            raise ValueError(f"workload.args.output_stride {output_stride} is not one of {OUTPUT_STRIDES}")
        if image_size_px < 1 or image_size_px % 32:
            raise ValueError(f"workload.args.image_size_px {image_size_px} must be a multiple of 32")
        for name, value in {"width": width, "num_classes": num_classes, "max_boxes": max_boxes}.items():
            if value <= 0:
                raise ValueError(f"workload.args.{name} {value} must be above 0")
        self.backbone: Backbone = backbone
        self.width, self.output_stride, self.num_classes = width, output_stride, num_classes
        self.form = loader.Form(image_size_px, max_boxes)
        self.num_workers = num_workers
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._streams: list[Iterator[loader.DetectionBatch]] = []

    def build(self) -> nn.Module:
        """The detector, from noise."""
        return Detector(self.backbone, self.width, self.output_stride, self.num_classes)

    def loss(self, model: nn.Module, batch: loader.DetectionBatch) -> Tensor:
        """Class and box loss per answering cell."""
        images, targets, counts = batch
        raw, logits = model(images)
        return detection_loss(raw, logits, targets, counts, self.output_stride)

    def batches(
        self, data: Path | None, num_items: int | None, batch_size: int, seed: int
    ) -> Iterator[loader.DetectionBatch]:
        """Augmented batches; loading starts at once. Raises ValueError naming the file that is damaged."""
        return self.share(data, num_items, batch_size, seed, rank=0, size=1)

    def share(
        self, data: Path | None, num_items: int | None, batch_size: int, seed: int, rank: int, size: int
    ) -> Iterator[loader.DetectionBatch]:
        """Each process decodes its own share of the images only."""
        workers = loader.default_workers() if self.num_workers is None else self.num_workers
        split = self._split(data, "train", num_items)
        self._streams.append(loader.stream(split, self.form, batch_size, seed, workers, rank, size))
        return self._streams[-1]

    def data_files(self, data: Path, num_items: int) -> list[Path]:
        """The JPEG files."""
        return self._split(data, "train", num_items).paths

    def example_batch(self, batch_size: int) -> loader.DetectionBatch:
        """Black images without objects."""
        size = self.form.image_size_px
        images = torch.zeros(batch_size, size, size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        targets = torch.zeros(batch_size, self.form.max_boxes, 5)
        return images, targets, torch.zeros(batch_size, dtype=torch.int64)

    def samples_per_item(self) -> int:
        """An item is an image."""
        return 1

    def flops_per_sample(self) -> float:
        """Three forward passes' worth of convolutions, less the gradient of the pixels, which nobody asks for."""
        with torch.device("meta"):
            forward, first = forward_flops(self.build(), self.form.image_size_px)
        return float(3 * forward - first)

    def evaluate(self, model: nn.Module, data: Path | None) -> dict[str, float]:
        """mAP@50 and loss on the first EVALUATED_IMAGES held-out images, with the running batch statistics."""
        split = self._split(data, "heldout", None)
        num_images = min(len(split.paths), EVALUATED_IMAGES)
        was_training = model.training
        model.eval()
        found: list[metrics.Detections] = []
        loss_sum = 0.0
        with torch.no_grad():
            for start in range(0, num_images, EVALUATION_BATCH):
                chunk = range(start, min(start + EVALUATION_BATCH, num_images))
                seen, loss = self._evaluate_chunk(model, split, chunk)
                found += seen
                loss_sum += loss * len(chunk)
        model.train(was_training)
        truth = [metrics.to_truth(split.boxes[i], split.labels[i]) for i in range(num_images)]
        return {"heldout_map50": metrics.map50(found, truth), "heldout_loss": loss_sum / num_images}

    def _evaluate_chunk(
        self, model: nn.Module, split: CocoSplit, chunk: range
    ) -> tuple[list[metrics.Detections], float]:
        """Detections, in each image's own pixels, and mean loss of some held-out images."""
        device = next(model.parameters()).device
        loaded = [loader.plain(split, index, self.form) for index in chunk]
        images, targets, counts = loader.collate([item for item, _ in loaded], self.form)
        raw, logits = model(images.to(device))
        loss = detection_loss(raw, logits, targets.to(device), counts.to(device), self.output_stride)
        on_canvas = metrics.detections(raw, logits, self.output_stride)
        placements = [placement for _, placement in loaded]
        found = [metrics.in_image(seen, place) for seen, place in zip(on_canvas, placements, strict=True)]
        return found, float(loss)

    def close(self) -> None:
        """Stop the workers of every stream that was opened."""
        for stream in self._streams:
            stream.close()  # type: ignore[attr-defined]
        self._streams.clear()

    def _split(self, data: Path | None, split: Split, num_items: int | None) -> CocoSplit:
        if data is None:
            raise ValueError("yoco-det needs images: set `data: images` in conf/workload/yoco-det.yaml")
        opened = CocoSplit.open(data, split, num_items)
        if len(opened.category_names) > self.num_classes:
            raise ValueError(
                f"{data} has {len(opened.category_names)} categories, the model {self.num_classes} classes: "
                "raise workload.args.num_classes"
            )
        return opened
