"""From a COCO split to batches: decoded and augmented in worker processes, order and draws fixed by a seed."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from yocobench.bench import physical
from yocobench.bench.accelerators.base import default_threads
from yocobench.bench.data.images import CocoSplit
from yocobench.bench.workloads.detection import augment

Item = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Pixels (S, S, 3) uint8, boxes (n, 4) on the canvas, labels (n,)."""
DetectionBatch = tuple[Tensor, Tensor, Tensor]
"""Images (B, 3, S, S) uint8 in channels-last memory, targets (B, M, 5) as box and label, how many are real (B,)."""


@dataclass(frozen=True)
class Form:
    """What a batch looks like: the canvas's side, and how many objects of an image it holds at most."""

    image_size_px: int
    max_boxes: int


def augmented(split: CocoSplit, index: int, form: Form, rng: np.random.Generator) -> Item:
    """One training image: zoomed, shifted, flipped half of the time, colours jittered."""
    size = form.image_size_px
    width, height = (int(side) for side in split.sizes_wh[index])
    placement = augment.random_placement((width, height), size, rng)
    image = augment.read_image(split.paths[index], placement)
    image = augment.on_canvas(augment.jitter_colours(image, rng), placement, size)
    boxes, visible = augment.clip_boxes(placement.to_canvas(split.boxes[index]), size)
    boxes, labels = boxes[visible], split.labels[index][visible]
    if rng.random() < 0.5:
        image, boxes = image[:, ::-1], augment.flip_boxes(boxes, size)
    return image, boxes, labels


def plain(split: CocoSplit, index: int, form: Form) -> tuple[Item, augment.Placement]:
    """One held-out image, letterboxed, and where it lies."""
    width, height = (int(side) for side in split.sizes_wh[index])
    placement = augment.letterbox((width, height), form.image_size_px)
    image = augment.read_image(split.paths[index], placement)
    image = augment.on_canvas(image, placement, form.image_size_px)
    return (image, placement.to_canvas(split.boxes[index]), split.labels[index]), placement


def collate(items: list[Item], form: Form) -> DetectionBatch:
    """Items to a batch. Of more than `max_boxes` objects the largest are kept."""
    targets = torch.zeros(len(items), form.max_boxes, 5)
    counts = torch.zeros(len(items), dtype=torch.int64)
    for i, (_, boxes, labels) in enumerate(items):
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        kept = np.argsort(-areas, kind="stable")[: form.max_boxes]
        targets[i, : len(kept), :4] = torch.from_numpy(boxes[kept])
        targets[i, : len(kept), 4] = torch.from_numpy(labels[kept])
        counts[i] = len(kept)
    images = torch.from_numpy(np.stack([pixels for pixels, _, _ in items]))
    return images.permute(0, 3, 1, 2), targets, counts


class _Shuffled(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for ever; every epoch a new order. A batch may span two epochs.

    Of `size` training processes this one, `rank`, takes every size-th batch.
    """

    def __init__(self, num_items: int, batch_size: int, seed: int, rank: int = 0, size: int = 1) -> None:
        self.num_items, self.batch_size, self.seed = num_items, batch_size, seed
        self.rank, self.size = rank, size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        pairs = (
            (epoch, int(index))
            for epoch in itertools.count()
            for index in np.random.default_rng([self.seed, epoch]).permutation(self.num_items)
        )
        batches = (list(itertools.islice(pairs, self.batch_size)) for _ in itertools.count())
        yield from itertools.islice(batches, self.rank, None, self.size)


class _Items(Dataset[Item | ValueError]):
    """The split as the loader sees it. A damaged file is handed on as a value.

    Raised in a worker, it would reach the user inside a traceback of the worker's.
    """

    def __init__(self, split: CocoSplit, form: Form, seed: int) -> None:
        self.split, self.form, self.seed = split, form, seed

    def __getitem__(self, key: tuple[int, int]) -> Item | ValueError:
        # The draws depend on seed, epoch and index only, so not on how many workers there are.
        epoch, index = key
        try:
            return augmented(self.split, index, self.form, np.random.default_rng([self.seed, epoch, index, 1]))
        except ValueError as error:
            return ValueError(str(error))


@dataclass(frozen=True)
class _Collate:
    """A class and not a closure: workers that are spawned receive it by pickling."""

    form: Form

    def __call__(self, items: list[Item | ValueError]) -> DetectionBatch | ValueError:
        for item in items:
            if isinstance(item, ValueError):
                return item
        return collate([item for item in items if not isinstance(item, ValueError)], self.form)


def _start_worker(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent stops the workers
    physical.release()


def default_workers() -> int:
    """By this process's share of the physical cores, and by what trains."""
    # torch.accelerator does not count what torch_xla drives.
    beside = torch.accelerator.is_available() or find_spec("torch_xla") is not None
    return physical.loading_workers(default_threads(), beside)


def stream(
    split: CocoSplit, form: Form, batch_size: int, seed: int, num_workers: int, rank: int = 0, size: int = 1
) -> Iterator[DetectionBatch]:
    """Training batches for ever, of process `rank` of `size`.

    The workers start now and stop when the iterator is closed or dropped.
    """
    loader: DataLoader[Item | ValueError] = DataLoader(
        _Items(split, form, seed),
        batch_sampler=_Shuffled(len(split.paths), batch_size, seed, rank, size),
        collate_fn=_Collate(form),
        num_workers=num_workers,
        worker_init_fn=_start_worker,
        # fork: no second import of torch. The workers never touch CUDA, so a parent that did is no danger.
        multiprocessing_context=("fork" if sys.platform == "linux" else "spawn") if num_workers else None,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=2 if num_workers else None,
    )
    return _unwrapped(iter(loader))


def _unwrapped(batches: Iterator[DetectionBatch | ValueError]) -> Iterator[DetectionBatch]:
    for batch in batches:
        if isinstance(batch, ValueError):
            raise batch
        yield batch
