"""Builds data/images: rendered images, or the user's own, checked, copied and split."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from rich.progress import Progress

from yocobench.bench.data.images import CocoSplit
from yocobench.bench.data.manifest import ImagesManifest
from yocobench.datasets import coco, render
from yocobench.datasets.output import file_md5, require_space, whole_folder
from yocobench.schema import ImageData

Task = TypeVar("Task")
SERIAL_BELOW = 200
"""For fewer images, starting worker processes takes longer than the work."""
RENDERED_BYTES_PER_PIXEL = 0.4
"""Upper bound of the JPEG files' size, for the check of free space."""


@dataclass(frozen=True)
class Stored:
    """An image as written into the dataset."""

    file_name: str
    width: int
    height: int
    objects: tuple[dict[str, Any], ...]
    """category_id, bbox, area and iscrowd of each."""
    md5: str
    num_bytes: int


def build(params: ImageData, target: Path, progress: Progress, num_workers: int | None = None) -> ImagesManifest:
    """Makes the dataset in folder `target`, whole or not at all; at most `params.num_images` images of a user's own.

    The same params and source give the same bytes, with any number of workers (default: one per CPU).
    Raises ValueError: bad annotations, damaged images, fewer than two images, too little disk.
    """
    workers = num_workers or _available_cpus()
    if params.source is None:
        return _build_rendered(params, target, progress, workers)
    return _build_copied(params, params.source, target, progress, workers)


def _build_rendered(params: ImageData, target: Path, progress: Progress, workers: int) -> ImagesManifest:
    _require_images(params.num_images, "data.images.num_images in params.yaml")
    require_space(target.parent, int(params.num_images * params.image_size_px**2 * RENDERED_BYTES_PER_PIXEL))
    categories = [{"id": i, "name": name} for i, name in enumerate(render.CATEGORY_NAMES, start=1)]
    with whole_folder(target) as folder:
        (folder / "images").mkdir()
        work = partial(_render_one, folder / "images", params.seed, params.image_size_px)
        stored, problems = _each(work, range(params.num_images), workers, progress, "rendering images")
        assert not problems
        source = f"rendered by yocobench, seed {params.seed}, {params.image_size_px} pixels"
        return _finish(folder, stored, categories, source, params)


def _build_copied(params: ImageData, source: str, target: Path, progress: Progress, workers: int) -> ImagesManifest:
    found = coco.load(source)
    order = np.random.default_rng(params.seed).permutation(len(found.images))[: params.num_images]
    images = [found.images[i] for i in order]
    _require_images(len(images), found.label)
    require_space(target.parent, sum((found.images_folder / image["file_name"]).stat().st_size for image in images))
    with whole_folder(target) as folder:
        tasks = [(image, tuple(found.objects[image["id"]])) for image in images]
        work = partial(_copy_one, found.images_folder, folder / "images")
        stored, problems = _each(work, tasks, workers, progress, "checking and copying images")
        coco.raise_problems("data.images.source", problems)
        categories = [{"id": category["id"], "name": category["name"]} for category in found.categories]
        return _finish(folder, stored, categories, found.label, params)


def _finish(
    folder: Path, stored: Sequence[Stored], categories: list[dict[str, Any]], source: str, params: ImageData
) -> ImagesManifest:
    """Splits in seeded order and writes train.json, heldout.json and manifest.json."""
    order = np.random.default_rng([params.seed, 1]).permutation(len(stored))
    shuffled = [stored[i] for i in order]
    num_heldout = min(max(1, round(params.heldout_fraction * len(shuffled))), len(shuffled) - 1)
    splits = {"train": shuffled[num_heldout:], "heldout": shuffled[:num_heldout]}
    next_image, next_annotation = 1, 1
    for name, images in splits.items():
        content = _instances(images, categories, next_image, next_annotation)
        (folder / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
        next_image += len(content["images"])
        next_annotation += len(content["annotations"])
    manifest = ImagesManifest(
        source=source,
        train_items=len(splits["train"]),
        heldout_items=len(splits["heldout"]),
        train_annotations=sum(len(image.objects) for image in splits["train"]),
        heldout_annotations=sum(len(image.objects) for image in splits["heldout"]),
        num_categories=len(categories),
        images_bytes=sum(image.num_bytes for image in stored),
        mean_image_pixels=sum(image.width * image.height for image in stored) / len(stored),
        files_md5={name: file_md5(folder / name) for name in ("train.json", "heldout.json")},
        images_md5={image.file_name: image.md5 for image in sorted(stored, key=lambda image: image.file_name)},
    )
    CocoSplit.open(folder, "train", None)
    CocoSplit.open(folder, "heldout", None)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest


def _instances(
    images: Sequence[Stored], categories: list[dict[str, Any]], first_image: int, first_annotation: int
) -> dict[str, list[dict[str, Any]]]:
    """One split as COCO instances, numbered afresh in the split's order."""
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": categories}
    for image_id, image in enumerate(images, start=first_image):
        content["images"].append(
            {"id": image_id, "file_name": image.file_name, "width": image.width, "height": image.height}
        )
        for annotation in image.objects:
            annotation_id = first_annotation + len(content["annotations"])
            content["annotations"].append({"id": annotation_id, "image_id": image_id, **annotation})
    return content


def _render_one(folder: Path, seed: int, image_size_px: int, index: int) -> Stored:
    image = render.render(seed, index, image_size_px)
    name = f"{index:06d}.jpg"
    (folder / name).write_bytes(image.jpeg)
    objects = tuple(
        {"category_id": o.category_id, "bbox": list(o.bbox), "area": o.area, "iscrowd": 0} for o in image.objects
    )
    return Stored(name, image.width, image.height, objects, _md5(image.jpeg), len(image.jpeg))


def _copy_one(source: Path, target: Path, task: tuple[dict[str, Any], tuple[dict[str, Any], ...]]) -> Stored | str:
    """The stored image, or what is wrong with it."""
    image, annotations = task
    name, expected = image["file_name"], (image["width"], image["height"])
    try:
        content = (source / name).read_bytes()
    except FileNotFoundError:
        return f"{name} was listed and is gone now: do not change the images while they are read"
    if not content:
        return f"{name} is empty"
    try:
        with Image.open(io.BytesIO(content)) as opened:
            # MPO: a phone's JPEG with more behind it (depth, a preview). The first image is the one that is decoded.
            if opened.format not in ("JPEG", "MPO"):
                return f"{name} is {opened.format}, not JPEG"
            opened.load()
            size = opened.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{name} ({len(content)} bytes) is not a whole JPEG file: {str(error).split(' <')[0]}"
    if size != expected:
        return f"{name} is {size[0]} x {size[1]} pixels; its annotation says {expected[0]} x {expected[1]}"
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).write_bytes(content)
    objects = tuple(
        {
            "category_id": a["category_id"],
            "bbox": a["bbox"],
            "area": a.get("area", a["bbox"][2] * a["bbox"][3]),
            "iscrowd": int(a.get("iscrowd", 0)),
        }
        for a in annotations
    )
    return Stored(name, *size, objects, _md5(content), len(content))


def _each(
    work: Callable[[Task], Stored | str], tasks: Sequence[Task], workers: int, progress: Progress, title: str
) -> tuple[list[Stored], list[str]]:
    """`work` on every task, in their order: images, and problems."""
    bar = progress.add_task(title, total=len(tasks))
    stored, problems = [], []
    # closing: on an interrupt the workers end before the folder that they write to is removed.
    with contextlib.closing(_in_parallel(work, tasks, workers)) as results:
        for result in results:
            if isinstance(result, str):
                problems.append(result)
            else:
                stored.append(result)
            progress.advance(bar)
    return stored, problems


def _in_parallel(
    work: Callable[[Task], Stored | str], tasks: Sequence[Task], workers: int
) -> Generator[Stored | str, None, None]:
    if workers == 1 or len(tasks) < SERIAL_BELOW:
        yield from map(work, tasks)
        return
    # spawn: the same on every system, and safe in a process that has threads (the progress bar).
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    # Workers start inside map() and inherit the blocked signal: Ctrl-C, which reaches all, is the parent's to handle.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        try:
            results = pool.map(work, tasks, chunksize=16)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield from results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """A worker whose parent was killed ends too."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _available_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _require_images(num_images: int, where: str) -> None:
    if num_images < 2:
        raise ValueError(f"{where} gives {num_images} image(s); at least 2 are needed, one of them to hold out")
