"""Datasets that are cheap to make, for the tests of building and of reading them."""

import hashlib
import json

from PIL import Image
from rich.progress import Progress

from yocobench.schema import ImageData, TextData

QUIET = Progress(disable=True)


def image_params(source=None, **changes):
    given = {"source": None if source is None else str(source), "num_images": 12, "image_size_px": 64}
    return ImageData(**{**given, "heldout_fraction": 0.25, "seed": 0, **changes})


def text_params(source, **changes):
    given = {"source": str(source), "vocab_size": 300, "heldout_fraction": 0.2, "seed": 0} | changes
    return TextData(**given)


def tree(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def write_coco(folder, **changes):
    """Four 40 x 30 JPEG files, a box each; `changes` replaces top-level lists of the JSON."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for i in range(1, 5):
        Image.new("RGB", (40, 30), (60 * i, 0, 0)).save(folder / "images" / f"{i}.jpg", quality=90)
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30} for i in range(1, 5)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": 10 + i, "image_id": i, "category_id": 7 if i % 2 else 3, "bbox": [i, 2, 10, 5], "area": 50,
             "iscrowd": 0} for i in range(1, 5)
        ],
    } | changes  # fmt: skip
    (folder / "annotations" / "instances_all.json").write_text(json.dumps(coco))
    return folder


def write_corpus(folder, num_files=8):
    """Eight files of 3,000 to 3,700 words."""
    folder.mkdir()
    for i in range(num_files):
        words = (f"word{(i * 7919 + j * j) % 601}" for j in range(3000 + 100 * i))
        (folder / f"{i}.txt").write_text(" ".join(words))
    return folder
