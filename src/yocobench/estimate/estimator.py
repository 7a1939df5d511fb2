"""Throughput of a workload on an instance type where it was not measured: median, 90 % interval, what bounds it, and
what it rests on. Without the facts there is no number: a NoEstimate says which one is missing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from yocobench.bench import hardware
from yocobench.estimate import interval, loading, memory
from yocobench.estimate.calibration import Calibration
from yocobench.estimate.device import Device, Unknown
from yocobench.estimate.devices import open_device
from yocobench.estimate.interval import Correction, Shared
from yocobench.estimate.roofline import Bound, StepTime, step_time
from yocobench.estimate.split import TooLarge, split
from yocobench.estimate.traces import memory_need, trace
from yocobench.schema import Instance, Precision, WorkloadConfig
from yocobench.selection import wording

BOUND_WORDS: dict[str, str] = {
    "compute": "arithmetic",
    "memory": "memory bandwidth",
    "launch": "starting many small kernels",
    "host": "the host CPU issuing kernels",
    "input": wording.DECODING,
}


@dataclass(frozen=True)
class Estimate:
    """An estimated rate. Times in seconds; the interval holds 90 %."""

    workload: str
    instance: str
    precision: Precision
    samples_per_second: float
    low_samples_per_second: float
    high_samples_per_second: float
    sigma: float
    """Standard deviation of log(samples_per_second)."""
    shared: tuple[Shared, ...]
    """Parts of it that other estimates have too: of their ratio they drop out."""
    step_s: float
    micro_batch_size: int
    accumulation_steps: int
    needed_bytes: int
    """At that micro-batch, without the runtime's own."""
    available_bytes: int | None
    bound_by: Bound
    calibrated_on: str
    parts: StepTime
    gaps: tuple[str, ...]
    """Facts that were unknown, and what was assumed."""


@dataclass(frozen=True)
class NoEstimate:
    """No number, and why."""

    workload: str
    instance: str
    reason: str
    needed_bytes: int | None = None
    """At micro-batch 1, where the model could be traced."""
    available_bytes: int | None = None


def precision_of(instance: Instance) -> Precision | None:
    """What training there runs in: the chip's policy; of this host where it is detected."""
    if instance.detect:
        return hardware.precision(hardware.detect())
    return instance.chip.precision if instance.chip else None


def estimate(
    config: WorkloadConfig,
    instance: Instance,
    calibration: Calibration,
    precision: Precision | None = None,
) -> Estimate | NoEstimate:
    """The rate of a workload on an instance type, the global batch split as the plan splits it.

    Raises ValueError only when the model itself cannot be traced, or batch sizes do not divide each other.
    """
    if instance.training.status == "no":
        return NoEstimate(config.name, instance.name, f"cannot train: {instance.training.reason}")
    chosen = precision or config.precision or precision_of(instance)
    if chosen is None:
        return NoEstimate(config.name, instance.name, "the catalogue names no chip")
    line = memory_need(config, chosen)
    have = memory.usable_bytes(instance, hardware.detect())
    needed = line.peak_bytes(1)
    try:
        target = open_device(instance, chosen, calibration.host)
    except Unknown as error:
        return NoEstimate(config.name, instance.name, str(error), needed, have)
    try:
        shared = split(config, instance, line, hardware.detect())
    except TooLarge:
        reason = f"needs {needed / 2**30:.1f} GiB at micro-batch 1, has {(have or 0) / 2**30:.1f}"
        return NoEstimate(config.name, instance.name, reason, needed, have)
    micro, accumulation = shared.micro_batch_size, shared.accumulation_steps
    found = trace(config, micro, memory.is_low(chosen))
    feeding = loading.correction(calibration, config.name, target)
    load_s = loading.load_s(config, calibration.mean_image_pixels) * feeding.factor
    parts = step_time(found, target, accumulation, config.compile is not False, load_s, shared.processes)
    samples = found.samples_per_item * config.global_batch_size
    line = line.sharded(shared.processes) if shared.sharded else line
    known = interval.correction(calibration, config.name, target)
    return with_interval(
        config.name,
        target.name,
        device=target,
        precision=chosen,
        parts=dataclasses.replace(parts, factor=known.factor),
        known=known,
        feeding=feeding,
        samples_per_step=samples,
        micro_batch_size=micro,
        accumulation_steps=accumulation,
        needed_bytes=line.peak_bytes(micro),
        available_bytes=have,
    )


def with_interval(
    workload: str,
    instance: str,
    *,
    device: Device,
    precision: Precision,
    parts: StepTime,
    known: Correction,
    feeding: Correction | None = None,
    samples_per_step: float,
    micro_batch_size: int,
    accumulation_steps: int,
    needed_bytes: int,
    available_bytes: int | None,
) -> Estimate:
    """The estimate of a step with these parts. `known` and, of loading, `feeding`: what has been measured
    nearby, whose factors `parts` hold.

    Beside an accelerator the slower of training and loading decides, and either may turn out slower than thought: each
    end of the interval is the lower one of theirs.
    """
    rate = samples_per_step / parts.total_s
    if feeding is None or parts.on_cpu or not parts.input_s:
        low, high = interval.bounds(rate, known.sigma)
    else:
        seconds = ((parts.training_s, known.sigma), (parts.input_s, feeding.sigma))
        ends = [interval.bounds(samples_per_step / each, sigma) for each, sigma in seconds]
        low, high = (min(side) for side in zip(*ends, strict=True))
    if feeding is not None and parts.bound_by == "input":
        known = feeding
    return Estimate(
        workload=workload,
        instance=instance,
        precision=precision,
        samples_per_second=rate,
        low_samples_per_second=low,
        high_samples_per_second=high,
        sigma=known.sigma,
        shared=known.shared,
        step_s=parts.total_s,
        micro_batch_size=micro_batch_size,
        accumulation_steps=accumulation_steps,
        needed_bytes=needed_bytes,
        available_bytes=available_bytes,
        bound_by=parts.bound_by,
        calibrated_on=known.rests_on,
        parts=parts,
        gaps=device.gaps,
    )
