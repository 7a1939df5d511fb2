"""A split of images in COCO layout: where the JPEG files lie and what is in them. Decoding is jpeg.py's work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Split = Literal["train", "heldout"]
Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
Boxes = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Labels = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class CocoSplit:
    """The first images of a split, in its seeded order. Crowd regions are left out: they are no single object."""

    paths: list[Path]
    sizes_wh: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    """(images, 2): width and height in pixels."""
    boxes: list[Boxes]
    """Per image (objects, 4): left, top, right, bottom in pixels, inside the image."""
    labels: list[Labels]
    """Per image (objects,): 0 .. number of categories - 1, in the order of the categories' ids."""
    category_names: list[str]

    @classmethod
    def open(cls, folder: Path, split: Split, num_items: int | None) -> CocoSplit:
        """Reads <folder>/<split>.json. `num_items`: only the first so many images; None: all.

        Raises ValueError, naming the file: missing, damaged, or fewer images than asked for. The images
        themselves are not opened here.
        """
        path = folder / f"{split}.json"
        coco = read_json(path, "make it with: dvc repro dataset@images")
        images = coco["images"]
        if num_items is not None:
            if num_items > len(images):
                raise ValueError(f"{path} has {len(images)} images; {num_items} are asked for")
            images = images[:num_items]
        categories = sorted(coco["categories"], key=lambda category: int(category["id"]))
        label_of = {category["id"]: label for label, category in enumerate(categories)}
        objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
        for annotation in coco["annotations"]:
            if annotation["image_id"] in objects and not annotation.get("iscrowd", 0):
                objects[annotation["image_id"]].append(annotation)
        return cls(
            paths=[folder / "images" / image["file_name"] for image in images],
            sizes_wh=np.array([(image["width"], image["height"]) for image in images], dtype=np.int64).reshape(-1, 2),
            boxes=[_corners(objects[image["id"]], image["width"], image["height"]) for image in images],
            labels=[np.array([label_of[o["category_id"]] for o in objects[i["id"]]], dtype=np.int64) for i in images],
            category_names=[str(category["name"]) for category in categories],
        )


def read_json(path: Path, hint: str) -> Any:
    """A JSON file. Raises ValueError naming the file, and the byte offset where it stops being JSON or UTF-8."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; {hint}")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}: 0x{content[error.start]:02x}") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        state = "empty" if not text.strip() else "cut short or not JSON"
        raise ValueError(f"{path} is {state} at byte {offset} of {len(content)}: {error.msg}") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ValueError(f"{path}: {error}") from None


def _corners(objects: list[dict[str, Any]], width: int, height: int) -> Boxes:
    """COCO's left, top, width, height to corners. Clipped: builders allow a box to stick out by a pixel."""
    boxes = np.array([o["bbox"] for o in objects], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes.clip(0, np.array([width, height, width, height], dtype=np.float32))
