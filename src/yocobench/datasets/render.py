"""Renders the default images: textured backgrounds with 1 to 8 objects of 80 classes, and where they are visible.

A class is one of 10 shapes in one of 8 styles (a saturated colour, or a pattern), so that features are shared
between classes and a small network learns them from few images. What makes it work: any rotation, sizes from a
tenth to half of the image, occlusion, noise, blur, brightness, JPEG quality.

Everything follows from (seed, index). Noise comes from integers, and corners are rounded, so that the last bits of
a processor's floating point do not reach the pixels.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from yocobench.bench.data.images import Pixels

Point = tuple[float, float]
Mask = np.ndarray[tuple[int, int], np.dtype[np.uint8]]

MAX_OBJECTS = 8
MIN_VISIBLE = 0.3
"""An object of which less than this share is visible is not annotated: nobody could name it."""
ASPECT_RATIOS = (1.0, 4 / 3, 3 / 2, 16 / 9)
SUPERSAMPLE = 3


def _regular(num_points: int, radii: tuple[float, ...] = (1.0,)) -> tuple[Point, ...]:
    """Corners on circles of the given radii, in turn."""
    return tuple(
        (
            radii[i % len(radii)] * math.sin(math.tau * i / num_points),
            -radii[i % len(radii)] * math.cos(math.tau * i / num_points),
        )
        for i in range(num_points)
    )


def _heart() -> tuple[Point, ...]:
    angles = [math.tau * i / 40 for i in range(40)]
    return tuple(
        (math.sin(a) ** 3, -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 16)
        for a in angles
    )


def _crescent() -> tuple[Point, ...]:
    outer = [(math.cos(a), math.sin(a)) for a in (math.radians(d) for d in range(50, 311, 10))]
    inner = [(0.45 + 0.78 * math.cos(a), 0.98 * math.sin(a)) for a in (math.radians(d) for d in range(290, 69, -10))]
    return tuple(outer + inner)


CROSS = ((-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33),
         (0.33, 1), (-0.33, 1), (-0.33, 0.33), (-1, 0.33), (-1, -0.33), (-0.33, -0.33))  # fmt: skip
ARROW = ((0, -1), (0.8, -0.1), (0.3, -0.1), (0.3, 1), (-0.3, 1), (-0.3, -0.1), (-0.8, -0.1))

SHAPES: dict[str, tuple[Point, ...]] = {
    "disc": _regular(40),
    "square": ((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)),
    "triangle": _regular(3),
    "star": _regular(10, (1.0, 0.42)),
    "cross": CROSS,
    "ring": _regular(40),
    "bar": ((-0.28, -1), (0.28, -1), (0.28, 1), (-0.28, 1)),
    "arrow": ARROW,
    "heart": _heart(),
    "crescent": _crescent(),
}
"""Outlines inside the unit circle, y downwards. The ring has a hole of half its radius."""

STYLES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "red": ((220, 30, 35), (220, 30, 35)),
    "yellow": ((240, 215, 20), (240, 215, 20)),
    "green": ((30, 165, 55), (30, 165, 55)),
    "cyan": ((25, 205, 220), (25, 205, 220)),
    "blue": ((30, 60, 215), (30, 60, 215)),
    "magenta": ((215, 40, 200), (215, 40, 200)),
    "striped": ((250, 250, 250), (15, 15, 15)),
    "checked": ((250, 130, 15), (60, 20, 90)),
}
"""Two colours each; the same twice for a plain fill."""

CATEGORY_NAMES = tuple(f"{style} {shape}" for shape in SHAPES for style in STYLES)


@dataclass(frozen=True)
class Visible:
    """What can be seen of an object."""

    category_id: int
    """1-based position in CATEGORY_NAMES."""
    bbox: tuple[int, int, int, int]
    """Left, top, width, height of the visible part, in pixels."""
    area: int
    """Visible pixels."""


@dataclass(frozen=True)
class Rendered:
    """A JPEG file's bytes and its annotations."""

    jpeg: bytes
    width: int
    height: int
    objects: tuple[Visible, ...]


def render(seed: int, index: int, image_size_px: int) -> Rendered:
    """Image number `index` of the set that `seed` names; its longest side is `image_size_px`."""
    rng = np.random.default_rng([seed, index])
    width, height = _size(rng, image_size_px)
    canvas = _background(rng, width, height)
    owner = np.zeros((height, width), dtype=np.uint8)
    drawn: list[tuple[int, int]] = []
    for number in range(1, int(rng.integers(1, MAX_OBJECTS + 1)) + 1):
        drawn.append(_draw_object(rng, canvas, owner, number))
    objects = tuple(
        visible
        for number, (category_id, area) in enumerate(drawn, start=1)
        if (visible := _visible(owner == number, category_id, area)) is not None
    )
    return Rendered(_photograph(rng, canvas), width, height, objects)


def _size(rng: np.random.Generator, longest_px: int) -> tuple[int, int]:
    shortest = max(32, round(longest_px / ASPECT_RATIOS[rng.integers(len(ASPECT_RATIOS))]))
    return (longest_px, shortest) if rng.random() < 0.7 else (shortest, longest_px)


def _background(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Muted clouds of two scales: coarse grids of random colours, enlarged."""
    layers = []
    for cells, low, high in ((4, 70, 185), (24, 95, 160)):
        grid = rng.integers(low, high, (cells, cells, 3), dtype=np.uint8)
        grey = grid.mean(axis=2, dtype=np.uint16, keepdims=True)
        muted = ((grid + grey) // 2).astype(np.uint8)
        layers.append(Image.fromarray(muted).resize((width, height), Image.Resampling.BILINEAR))
    return np.array(Image.blend(layers[0], layers[1], 0.375))


def _draw_object(rng: np.random.Generator, canvas: Pixels, owner: Mask, number: int) -> tuple[int, int]:
    """Draws over what is there. Returns category id and the pixels that it covers inside the image."""
    height, width = owner.shape
    shape, style = int(rng.integers(len(SHAPES))), int(rng.integers(len(STYLES)))
    radius = float(rng.uniform(0.06, 0.24)) * max(width, height)
    left = round(float(rng.uniform(0.5 * radius, width - 0.5 * radius)) - radius)
    top = round(float(rng.uniform(0.5 * radius, height - 0.5 * radius)) - radius)
    mask = _mask(rng, list(SHAPES)[shape], radius)
    colours = _pattern(rng, list(STYLES)[style], mask.shape[0])
    side = mask.shape[0]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    alpha = mask[inside][..., None].astype(np.uint16)
    under = canvas[y0:y1, x0:x1]
    under[:] = ((colours[inside] * alpha + under * (255 - alpha)) // 255).astype(np.uint8)
    covered = mask[inside] > 127
    owner[y0:y1, x0:x1][covered] = number
    return 1 + shape * len(STYLES) + style, int(covered.sum())


def _mask(rng: np.random.Generator, shape: str, radius: float) -> Mask:
    """How much of each pixel the shape covers (0..255), in a square that just holds it at any rotation."""
    side = 2 * math.ceil(radius)
    large, angle = side * SUPERSAMPLE, float(rng.uniform(0, math.tau))
    scale, cos, sin = radius * SUPERSAMPLE * 0.98, math.cos(angle), math.sin(angle)
    corners = [
        (round(large / 2 + scale * (x * cos - y * sin)), round(large / 2 + scale * (x * sin + y * cos)))
        for x, y in SHAPES[shape]
    ]
    image = Image.new("L", (large, large))
    draw = ImageDraw.Draw(image)
    draw.polygon(corners, fill=255)
    if shape == "ring":
        hole = round(scale * 0.5)
        draw.ellipse((large // 2 - hole, large // 2 - hole, large // 2 + hole, large // 2 + hole), fill=0)
    return np.asarray(image.reduce(SUPERSAMPLE))


def _pattern(rng: np.random.Generator, style: str, side: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint16]]:
    """The style's colours over a square, a little lighter or darker, with coarse grain."""
    bands = np.arange(side) * 8 // max(side, 8)  # eight across the object
    x, y = bands[None, :], bands[:, None]
    choice = {"striped": y % 2, "checked": x // 2 % 2 ^ y // 2 % 2}.get(style, np.zeros((1, 1), dtype=np.int64))
    colours = np.array(STYLES[style], dtype=np.int16)[choice]
    grain = rng.integers(-12, 13, (side, side, 1), dtype=np.int8) + rng.integers(-25, 26, dtype=np.int16)
    return np.asarray((colours + grain).clip(0, 255), dtype=np.uint16)


def _visible(
    pixels: np.ndarray[tuple[int, int], np.dtype[np.bool_]], category_id: int, drawn_area: int
) -> Visible | None:
    """Tight box around the visible pixels; None when too little is left."""
    area = int(pixels.sum())
    if area == 0 or area < MIN_VISIBLE * drawn_area:
        return None
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return Visible(category_id, (left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top), area)


def _photograph(rng: np.random.Generator, canvas: Pixels) -> bytes:
    """The canvas as a cheap camera would store it: light, blur, grain, JPEG."""
    light, amplitude = int(rng.integers(190, 290)), int(rng.integers(3, 22))
    grain = rng.integers(-amplitude, amplitude + 1, canvas.shape, dtype=np.int8)
    lit = (np.arange(256, dtype=np.int32) * light // 256).astype(np.int16)
    image = Image.fromarray((lit[canvas] + grain).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.BoxBlur(float(rng.uniform(0.5, 1.5))))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(60, 96)))
    return file.getvalue()
