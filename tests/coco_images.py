"""A few small images in COCO layout, cheap to make, whose objects can be told from their colour."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

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
