"""Seconds that loading images takes, and how far off that may be: by the loader's constants, and by measured loaders.

Each cell's first repeat times its loader alone (bench/loading.py). What it took beyond the constants is the images' own
(their detail, their size on disk) or the machine's, and carries over in part. No torch.
"""

from __future__ import annotations

import math

from yocobench import config
from yocobench.bench import physical
from yocobench.estimate.calibration import Calibration, HostRates, LoaderResidual
from yocobench.estimate.constants import (
    LOAD_ORIGIN,
    LOAD_S_PER_CANVAS_MEGAPIXEL,
    LOAD_S_PER_IMAGE,
    LOAD_S_PER_MEGAPIXEL,
    REDUCTION_EXPONENT,
)
from yocobench.estimate.device import Device
from yocobench.estimate.devices import open_device
from yocobench.estimate.interval import CPU_CARRY, CPU_SIGMA, GAP_SIGMA, Correction, Distance, halves, listed
from yocobench.receipt import Receipt
from yocobench.schema import WorkloadConfig

DEFAULT_IMAGE_PX = 320
"""Side of images where neither the workload (args.image_size_px) nor the dataset's manifest says."""
LOADER_NOISE = 0.1
"""Of log(rate) of a loader that was timed for half a second: 672 to 759 images/s in four runs on one Zen 3 host, taken
wide (2026-11-30)."""


def load_s(workload: WorkloadConfig, mean_image_pixels: float | None) -> float:
    """Seconds of one core of the reference speed for loading the images of one step; 0 for other data."""
    if workload.data != "images":
        return 0.0
    side = float(workload.args.get("image_size_px", DEFAULT_IMAGE_PX))
    stored = mean_image_pixels or max(side, DEFAULT_IMAGE_PX) ** 2
    reduced = math.pow(min(1.0, side / math.sqrt(stored)), REDUCTION_EXPONENT)
    decoding = stored * 1e-6 * LOAD_S_PER_MEGAPIXEL * reduced
    return workload.global_batch_size * (LOAD_S_PER_IMAGE + decoding + side**2 * 1e-6 * LOAD_S_PER_CANVAS_MEGAPIXEL)


def of_receipt(found: Receipt, host: HostRates | None, mean_image_pixels: float | None) -> LoaderResidual | None:
    """How a cell's loader alone turned out against the constants; None where it was not timed.

    Raises ValueError where the instance type is unknown, or its device.
    """
    spec, detected = found.spec, found.measurement.detected
    timed = [one.loader_samples_per_second_warm for one in found.measurement.repeats]
    rates = [rate for rate in timed if rate]
    modelled_s = load_s(spec.workload, mean_image_pixels) / spec.workload.global_batch_size
    if detected is None or not rates or not modelled_s:
        return None
    target = open_device(config.instance(spec.instance), spec.precision, host)
    own = spec.workload.args.get("num_workers")
    beside = detected.kind != "cpu"
    usual = physical.loading_workers(detected.physical_cores, beside)
    workers = usual if own is None else max(1, own) * spec.processes  # none: the training process itself
    together = min(workers, detected.physical_cores)
    return LoaderResidual(
        workload=spec.workload.name,
        instance=spec.instance,
        host_chip=target.host_chip,
        ratio=together / rates[-1] / (modelled_s / target.host_speed),
    )


def correction(calibration: Calibration, workload: str, device: Device) -> Correction:
    """What is known of loading on a device's host: from the workload's own loader on the nearest host that timed it."""
    same = [one for one in calibration.loaders if one.workload == workload]
    here = [one for one in same if one.host_chip and one.host_chip == device.host_chip]
    chosen = here or same
    near: Distance = "chip" if here else "kind"
    gap = 0.0 if device.host_speed_by else GAP_SIGMA
    half = halves(CPU_SIGMA, near)
    cores = f"{device.host_cores:g} core{'s' if device.host_cores > 1 else ''} of {device.host_chip or 'a host'}"
    by = f" by {device.host_speed_by}" if device.host_speed_by else ""
    parts: dict[str, float] = {}
    if device.host_chip and not here:
        parts[f"host {device.host_chip}"] = half["family"] + half["kind"]
    if not chosen:
        parts["loading"] = CPU_SIGMA["other"] ** 2 - sum(half.values())
        sigma = math.hypot(CPU_SIGMA["other"], gap)
        return Correction(1.0, sigma, f"{LOAD_ORIGIN}, scaled to {cores}{by}", listed(workload, parts))
    parts["loading"] = sum(half.values()) + LOADER_NOISE**2
    ratio = math.exp(sum(math.log(one.ratio) for one in chosen) / len(chosen))
    names = ", ".join(sorted({one.instance for one in chosen}))
    return Correction(
        ratio if here else ratio**CPU_CARRY,
        math.hypot(CPU_SIGMA[near], LOADER_NOISE, gap),
        f"loader timed on {names}, scaled to {cores}{by}",
        listed(workload, parts),
    )
