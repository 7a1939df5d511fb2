"""How fast the detector's loader is, against the same loader made with Pillow, on the images of data/images.

    python -m benchmarks.loader                        # a minute of one core
    python -m benchmarks.loader --images 200 --rounds 3
    python -m benchmarks loader                        # the first table as rows of the common one

Both loaders do the same to an image: decode at a reduced size where that is enough, resize, jitter the colours, place
on the canvas, flip. They take turns in every round, in one process, on its CPU time; medians. Then the streams that
training uses, by number of worker processes, on the wall clock, with files from disk (cold) and from memory (warm).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import PIL
from benchmarks.results import ROOT, Result
from PIL import Image

from yocobench.bench.data.images import CocoSplit
from yocobench.bench.loading import loader_rates
from yocobench.bench.workloads.detection import augment
from yocobench.bench.workloads.detection.loader import Form, Item, augmented
from yocobench.bench.workloads.yoco_det import YocoDet
from yocobench.paths import relative
from yocobench.selection.report import table

DATA = ROOT / "data/images"
CANVASES_PX = (96, 224)


def by_pillow(split: CocoSplit, index: int, form: Form, rng: np.random.Generator) -> Item:
    """As loader.augmented, by Pillow."""
    size = form.image_size_px
    width, height = (int(side) for side in split.sizes_wh[index])
    placement = augment.random_placement((width, height), size, rng)
    with Image.open(split.paths[index]) as opened:
        opened.draft("RGB", placement.size_wh)
        image = opened.convert("RGB").resize(placement.size_wh, Image.Resampling.BILINEAR)
    contrast, gains = 1 + rng.uniform(-augment.GAIN, augment.GAIN), 1 + rng.uniform(-augment.GAIN, augment.GAIN, 3)
    levels = (np.arange(256, dtype=np.float32) - 128) * contrast + 128
    image = image.point(np.concatenate([levels * gain for gain in gains]).round().clip(0, 255).astype(int).tolist())
    canvas = Image.new("RGB", (size, size), augment.GREY)
    canvas.paste(image, (placement.left, placement.top))
    boxes, visible = augment.clip_boxes(placement.to_canvas(split.boxes[index]), size)
    boxes, labels = boxes[visible], split.labels[index][visible]
    if rng.random() < 0.5:
        canvas, boxes = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT), augment.flip_boxes(boxes, size)
    return np.asarray(canvas), boxes, labels


def cpu_seconds(load: Callable[..., Item], split: CocoSplit, form: Form) -> float:
    """CPU time to load every image of the split once."""
    start = time.process_time()
    for index in range(len(split.paths)):
        load(split, index, form, np.random.default_rng([0, index]))
    return time.process_time() - start


def images_per_second(split: CocoSplit, canvas_px: int, rounds: int) -> dict[str, float]:
    """Of one core, by library; Pillow first."""
    form = Form(canvas_px, 32)
    times: dict[str, list[float]] = {"Pillow": [], "OpenCV": []}
    for _ in range(rounds):
        times["Pillow"].append(cpu_seconds(by_pillow, split, form))
        times["OpenCV"].append(cpu_seconds(augmented, split, form))
    return {name: len(split.paths) / statistics.median(taken) for name, taken in times.items()}


def results() -> list[Result]:
    """Images per second and core of the loader against Pillow's, for each canvas."""
    split = CocoSplit.open(DATA, "train", 200)
    rows = []
    for canvas_px in CANVASES_PX:
        rates = images_per_second(split, canvas_px, rounds=5)
        ours, pillow = f"{rates['OpenCV']:.0f} images/s", f"Pillow: {rates['Pillow']:.0f} images/s"
        ratio = rates["OpenCV"] / rates["Pillow"]
        rows.append(Result(f"loader, {canvas_px} px, one core", ours, pillow, ratio, "", None))
    return rows


def compare(split: CocoSplit, rounds: int) -> str:
    """Milliseconds an image and images per second and core, Pillow and ours, for each canvas."""
    rows = []
    for canvas_px in CANVASES_PX:
        rates = images_per_second(split, canvas_px, rounds)
        for name, rate in rates.items():
            cells = [f"{1e3 / rate:.2f}", f"{rate:.0f}", f"{rate / rates['Pillow']:.2f}"]
            rows.append([f"{canvas_px} px", name, *cells])
    return table(["canvas", "library", "ms an image", "images/s a core", "ratio"], rows)


def streams(num_images: int, workers: list[int]) -> str:
    """Images per second of the training stream by number of worker processes, cold and warm."""
    rows = []
    for count in workers:
        workload = YocoDet(width=0.35, image_size_px=96, output_stride=8, num_workers=count)
        rates = loader_rates(workload, DATA, num_images, 16, 0, time.perf_counter)
        workload.close()
        rows.append([str(count), *("unknown" if rate is None else f"{rate:.0f}" for rate in (rates.cold, rates.warm))])
    return table(["workers", "images/s cold", "images/s warm"], rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    try:
        split = CocoSplit.open(DATA, "train", options.images)
    except ValueError as error:  # no data yet
        parser.error(relative(error))
    print(f"{options.images} images, OpenCV {cv2.__version__}, Pillow {PIL.__version__}, {platform.machine()}")
    print(compare(split, options.rounds))
    print()
    print(streams(options.images, options.workers))


if __name__ == "__main__":
    main()
