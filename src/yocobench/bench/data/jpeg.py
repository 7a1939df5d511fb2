"""From a JPEG file to pixels, by OpenCV: chosen by its measured rate (docs/benchmarks.md, "Image loader")."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image

from yocobench.bench.data.images import Pixels

REDUCTIONS = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""OpenCV's flags for decoding at a part of each side; together with IMREAD_COLOR_RGB the image has its colours."""

cv2.setNumThreads(0)  # a loader has a process for each core; threads on images this small only cost


def decode(path: Path, reduction: int = 1) -> Pixels:
    """Pixels (height, width, 3), red first, of a JPEG file, as they are stored: an EXIF rotation is not applied.

    `reduction`, a key of REDUCTIONS: let the decoder skip detail and return an image smaller by that factor (sides
    rounded up). Raises ValueError naming the file when it is missing or damaged.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; make the dataset again with: dvc repro -f dataset@images") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be decoded: {error}") from None
    try:
        pixels = cv2.imdecode(content, REDUCTIONS[reduction] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # an empty file, or one that claims more pixels than OpenCV allows
        pixels = None
    return _decode_slowly(path) if pixels is None else cast(Pixels, pixels)


def _decode_slowly(path: Path) -> Pixels:
    """By Pillow, which says what is wrong where OpenCV only refuses, and reads a few kinds that OpenCV does not."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be decoded: {error}") from None
