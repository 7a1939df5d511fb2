"""Finds and checks a user's own images in COCO layout: JPEG files and one instances JSON.

Not covered: segmentation masks, keypoints and captions; they are left behind. The dataset's own train/val division
is not used either: the held-out split is drawn from the one JSON by the seed.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from yocobench.bench.data.images import read_json

TOLERANCE_PX = 1.0
"""Annotation tools round: a box may stick out of its image by so much. Readers clip it."""
SHOWN_PROBLEMS = 10
MAX_NAME_BYTES = 255
"""Of a file, on Linux and macOS."""


@dataclass(frozen=True)
class CocoSource:
    """A checked annotation file and the folder of its images."""

    label: str
    """What to call it without naming a folder of this machine."""
    images_folder: Path
    images: list[dict[str, Any]]
    objects: dict[int, list[dict[str, Any]]]
    """Annotations by image id."""
    categories: list[dict[str, Any]]


def load(source: str) -> CocoSource:
    """What `data.images.source` names: a folder in COCO layout, or its JSON.

    Raises ValueError: nothing found, more than one candidate, JSON cut short (with the byte offset), or up to ten
    of the problems in it at once, each with the id and the value. The images are not decoded here.
    """
    path = _annotation_file(Path(source))
    try:
        coco = read_json(path, "give a folder in COCO layout, or its JSON, as data.images.source")
    except RecursionError:
        raise ValueError(f"{path.name} has lists within lists, too deep for a COCO instances file") from None
    images, annotations, categories = (_entries(path, coco, key) for key in ("images", "annotations", "categories"))
    problems = list(_image_problems(images)) + list(_category_problems(categories))
    raise_problems(path.name, problems)
    folder = _images_folder(path, images)
    sizes = {image["id"]: (image["width"], image["height"]) for image in images}
    known = {category["id"] for category in categories}
    problems = [f"image {image['id']}: file {image['file_name']} is missing" for image in images
                if not (folder / image["file_name"]).is_file()]  # fmt: skip
    problems += _annotation_problems(annotations, sizes, known)
    raise_problems(path.name, problems)
    objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    # COCO's own train2017 has boxes without extent: nothing to find there, and no reason to refuse the set.
    flat = [annotation for annotation in annotations if min(annotation["bbox"][2:]) == 0]
    if flat:
        shown = ", ".join(str(annotation["id"]) for annotation in flat[:SHOWN_PROBLEMS])
        print(f"{path.name}: {len(flat)} box(es) without width or height are left out: annotation {shown}")
    for annotation in annotations:
        if min(annotation["bbox"][2:]) > 0:
            objects[annotation["image_id"]].append(annotation)
    if all(one.get("iscrowd", 0) for found in objects.values() for one in found):  # which the loader leaves out
        raise ValueError(f"{path.name}: not one box to find: all have no extent, or are crowds (iscrowd: 1)")
    return CocoSource(f"COCO images of {path.name}", folder, images, objects, categories)


def raise_problems(where: str, problems: list[str]) -> None:
    """Raises ValueError with the first ten problems and the number of the others; nothing when there are none."""
    if not problems:
        return
    lines = [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  and {len(problems) - SHOWN_PROBLEMS} more")
    raise ValueError(f"{where}: {len(problems)} problem(s)\n" + "\n".join(lines))


def _annotation_file(source: Path) -> Path:
    """The JSON itself; else the only (or only training) instances_*.json in the folder or its annotations/."""
    if source.is_file() or source.suffix == ".json":
        return source
    if not source.is_dir():
        raise ValueError(f"data.images.source '{source}' does not exist")
    for folder, pattern in ((source / "annotations", "instances*.json"), (source, "instances*.json"),
                            (source / "annotations", "*.json"), (source, "*.json")):  # fmt: skip
        found = sorted(folder.glob(pattern))
        training = [path for path in found if "train" in path.name]
        for choice in (found, training):
            if len(choice) == 1:
                return choice[0]
        if found:
            raise ValueError(f"data.images.source '{source}' has {', '.join(p.name for p in found)}: give one of them")
    raise ValueError(f"data.images.source '{source}' has no annotations/instances_*.json")


def _images_folder(annotation_file: Path, images: list[dict[str, Any]]) -> Path:
    """The folder where the first image lies. For annotations/instances_train2017.json: train2017/ or images/ beside."""
    above = annotation_file.parent
    split = annotation_file.stem.removeprefix("instances_")
    bases = [above, above.parent] if above.name == "annotations" else [above]
    folders = [base / name for base in bases for name in ("images", split, f"images/{split}", ".")]
    for folder in folders:
        if (folder / images[0]["file_name"]).is_file():
            return folder
    looked = ", ".join(f"{folder.relative_to(bases[-1]).as_posix()}/" for folder in folders)
    raise ValueError(
        f"{annotation_file.name}: image {images[0]['id']}: file {images[0]['file_name']} is missing; looked in {looked}"
    )


def _entries(path: Path, coco: Any, key: str) -> list[dict[str, Any]]:
    entries = coco.get(key) if isinstance(coco, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path.name} has no list of objects under {key!r}: is it a COCO instances file?")
    if not entries:
        raise ValueError(f"{path.name} is empty: its list of {key} has no entry")
    return entries


def _image_problems(images: list[dict[str, Any]]) -> Iterator[str]:
    ids: set[int] = set()
    names: set[str] = set()
    for position, image in enumerate(images):
        identity, name = image.get("id"), image.get("file_name")
        if not isinstance(identity, int) or not isinstance(name, str):
            yield f"images[{position}]: no whole number under id, or no string under file_name"
            continue
        if identity in ids:
            yield f"image {identity}: the id is used twice"
        if name in names:
            yield f"image {identity}: file_name {name} is used twice"
        if not name or max(len(part.encode(errors="replace")) for part in PurePosixPath(name).parts) > MAX_NAME_BYTES:
            yield f"image {identity}: file_name {name[:40]!r} is no name that a file can have"
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            yield f"image {identity}: file_name {name} leads out of the images' folder"
        for side in ("width", "height"):
            if not isinstance(image.get(side), int) or image[side] <= 0:
                yield f"image {identity}: {side} is {image.get(side)!r}, not a positive whole number"
        ids.add(identity)
        names.add(name)


def _category_problems(categories: list[dict[str, Any]]) -> Iterator[str]:
    ids: set[int] = set()
    for position, category in enumerate(categories):
        identity = category.get("id")
        if not isinstance(identity, int) or not isinstance(category.get("name"), str):
            yield f"categories[{position}]: no whole number under id, or no string under name"
            continue
        if identity in ids:
            yield f"category {identity}: the id is used twice"
        ids.add(identity)


def _annotation_problems(
    annotations: list[dict[str, Any]], sizes: dict[int, tuple[int, int]], categories: set[int]
) -> Iterator[str]:
    ids: set[Any] = set()
    for position, annotation in enumerate(annotations):
        identity = annotation.get("id")
        if not isinstance(identity, int):
            yield f"annotations[{position}]: no whole number under id"
            continue
        if identity in ids:
            yield f"annotation {identity}: the id is used twice"
        ids.add(identity)
        if not _is_among(annotation.get("category_id"), categories):
            yield f"annotation {identity}: category_id {annotation.get('category_id')!r} is not among the categories"
        if annotation.get("iscrowd", 0) not in (0, 1):
            yield f"annotation {identity}: iscrowd is {annotation['iscrowd']!r}, neither 0 nor 1"
        if not _is_among(annotation.get("image_id"), sizes):
            yield f"annotation {identity}: image_id {annotation.get('image_id')!r} is not among the images"
        else:
            problem = _box_problem(annotation.get("bbox"), *sizes[annotation["image_id"]])
            if problem:
                yield f"annotation {identity}: bbox {annotation.get('bbox')} {problem}"


def _is_among(identity: Any, known: Container[int]) -> bool:
    return isinstance(identity, int) and identity in known


def _box_problem(bbox: Any, width: int, height: int) -> str | None:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(isinstance(v, int | float) for v in bbox):
        return "is not four numbers: left, top, width, height"
    if not all(abs(v) <= sys.float_info.max for v in bbox):  # nor a whole number beyond all floats
        return "is not finite"
    left, top, box_width, box_height = bbox
    if box_width < 0 or box_height < 0:
        return "has a negative width or height"
    right, bottom = left + box_width, top + box_height
    if min(left, top) < -TOLERANCE_PX or right > width + TOLERANCE_PX or bottom > height + TOLERANCE_PX:
        return f"lies outside its image of {width} x {height} pixels"
    return None
