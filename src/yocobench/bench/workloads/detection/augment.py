"""What the loader does to one image: decode, place on a square canvas, flip, jitter the colours. OpenCV and numpy only.

Pixels stay bytes; the step turns them into floats on the device.

Boxes are float32 (n, 4), (x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from yocobench.bench.data.images import Pixels
from yocobench.bench.data.jpeg import REDUCTIONS, decode

GREY = (114, 114, 114)
"""Colour of the canvas beside the image."""
ZOOM = (0.8, 1.25)
"""Range of the random zoom, relative to the letterbox's."""
MIN_VISIBLE = 0.3
"""An object of which less than this share of its area is left on the canvas is no target."""
GAIN = 0.15
"""Colour channels are scaled by up to this much, up or down; contrast likewise."""


@dataclass(frozen=True)
class Placement:
    """Where a `source_wh` image lies on the canvas: resized to `size_wh`, its corner at (left, top)."""

    source_wh: tuple[int, int]
    size_wh: tuple[int, int]
    left: int
    top: int

    @property
    def _scale(self) -> np.ndarray:
        x, y = self.size_wh[0] / self.source_wh[0], self.size_wh[1] / self.source_wh[1]
        return np.array([x, y, x, y], dtype=np.float32)

    @property
    def _offset(self) -> np.ndarray:
        return np.array([self.left, self.top, self.left, self.top], dtype=np.float32)

    def to_canvas(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the image, on the canvas."""
        return np.asarray(boxes * self._scale + self._offset, dtype=np.float32)

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes on the canvas, in the image."""
        return np.asarray((boxes - self._offset) / self._scale, dtype=np.float32)


def letterbox(source_wh: tuple[int, int], canvas_px: int) -> Placement:
    """The largest placement that shows the whole image, centred, its proportions kept to the pixel."""
    return _placed(source_wh, canvas_px, 1.0, 0.5, 0.5)


def random_placement(source_wh: tuple[int, int], canvas_px: int, rng: np.random.Generator) -> Placement:
    """A letterbox zoomed within ZOOM and shifted anywhere that leaves no more canvas bare than it must."""
    return _placed(source_wh, canvas_px, rng.uniform(*ZOOM), rng.random(), rng.random())


def _placed(source_wh: tuple[int, int], canvas_px: int, zoom: float, x: float, y: float) -> Placement:
    """x and y: share of the spare room (or of the overhang) that lies left of and above the image."""
    scale = zoom * canvas_px / max(source_wh)
    width, height = (max(1, round(side * scale)) for side in source_wh)
    return Placement(source_wh, (width, height), int((canvas_px - width) * x), int((canvas_px - height) * y))


def reduction(placement: Placement) -> int:
    """The strongest reduction on decoding that leaves each side as long as it is wanted, rounding up."""
    (width, height), (wanted_width, wanted_height) = placement.source_wh, placement.size_wh
    fitting = (r for r in REDUCTIONS if -(-width // r) >= wanted_width and -(-height // r) >= wanted_height)
    return max(fitting, default=1)


def read_image(path: Path, placement: Placement) -> Pixels:
    """The image resized to the placement's size; JPEG is decoded at a reduced size where that is enough.

    Raises ValueError naming the file when it is missing or damaged.
    """
    pixels = decode(path, reduction(placement))
    # Linear needs no averaging: reduced decoding leaves less than a factor of 2 to the wanted size, and at 8 the most
    # that JPEG has.
    return cast(Pixels, cv2.resize(pixels, placement.size_wh, interpolation=cv2.INTER_LINEAR))


def on_canvas(image: Pixels, placement: Placement, canvas_px: int) -> Pixels:
    """The part of the resized image that lies on a grey square of `canvas_px`, there."""
    canvas: Pixels = np.empty((canvas_px, canvas_px, 3), dtype=np.uint8)
    canvas[:] = GREY
    (width, height), left, top = placement.size_wh, placement.left, placement.top
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, canvas_px), min(top + height, canvas_px)
    canvas[y1:y2, x1:x2] = image[y1 - top : y2 - top, x1 - left : x2 - left]
    return canvas


def flip_boxes(boxes: np.ndarray, canvas_px: int) -> np.ndarray:
    """Boxes of the canvas mirrored left to right."""
    return np.stack((canvas_px - boxes[:, 2], boxes[:, 1], canvas_px - boxes[:, 0], boxes[:, 3]), axis=1)


def clip_boxes(boxes: np.ndarray, canvas_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes cut at the canvas's edge, and which of them still show MIN_VISIBLE of their area and a pixel each way."""
    clipped = boxes.clip(0, canvas_px)
    sides, clipped_sides = boxes[:, 2:] - boxes[:, :2], clipped[:, 2:] - clipped[:, :2]
    visible = clipped_sides.prod(axis=1) >= MIN_VISIBLE * sides.prod(axis=1)
    return clipped, visible & (clipped_sides >= 1).all(axis=1)


def jitter_colours(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Contrast about mid-grey and a gain for each channel (brightness and tint), by one table look-up."""
    levels = np.arange(256, dtype=np.float32)
    contrast = 1 + rng.uniform(-GAIN, GAIN)
    gains = 1 + rng.uniform(-GAIN, GAIN, size=3)
    table = ((levels - 128) * contrast + 128)[:, None] * gains
    return cast(Pixels, cv2.LUT(image, table.round().clip(0, 255).astype(np.uint8)[None]))
