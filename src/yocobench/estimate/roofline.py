"""Seconds of a step on a device: for each operation the larger of arithmetic and bytes, plus what launching costs.

t = max(flops / (product rate x share of its kind x size factor), bytes / bandwidth) + kernel floor, the cache serving
its part of the bytes. Elementwise work adds its instructions, since cards differ in those more than in bandwidth. What
the board's power limit allows bounds the sum. A GPU runs behind its host: the step takes the longer of the device's
time and the host's time to issue the kernels, and never less than its products take at the best one's rate. Optimiser,
input, all-reduce and compilation are terms of their own. Constants: constants.py, with their origin.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from yocobench.estimate.constants import COMPILED_BYTES, COMPILED_LAUNCHES, LINK_OVERLAP, POWER_SOFTNESS
from yocobench.estimate.device import Device
from yocobench.estimate.operations import ARITHMETIC, Operation, Trace

Bound = Literal["compute", "memory", "launch", "host", "input"]


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimiser step, by what they are spent on."""

    compute_s: float
    """Operations whose arithmetic takes longer than their bytes."""
    memory_s: float
    launch_s: float
    """Kernel floors on the device; dispatch on a CPU."""
    optimizer_s: float
    host_s: float
    """What the host needs to issue all kernels: runs beside the device's time, not on top (0 on a CPU)."""
    input_s: float
    """Decoding of one batch on all cores: beside the device's time on an accelerator, on top on a CPU."""
    all_reduce_s: float
    power_s: float
    """What the step's energy takes at the board's power limit; 0 where none is known."""
    products_s: float
    """The products of a GPU's step at the best matrix product's rate: none is estimated faster. 0 elsewhere: a CPU's
    convolutions take fewer multiplications than are counted, and a NeuronCore's best rate is not known."""
    level: float
    """Factor on the device's time (constants.py)."""
    on_cpu: bool
    factor: float = 1.0
    """Measured over modelled steps, each without input (interval.py): holds for the device's time and the host's."""

    @property
    def device_s(self) -> float:
        """What the device itself is busy with."""
        roofline = self.compute_s + self.memory_s + self.launch_s + self.optimizer_s
        p = POWER_SOFTNESS
        limited = math.pow(roofline**p + self.power_s**p, 1 / p)
        return limited * self.level + self.all_reduce_s

    @property
    def training_s(self) -> float:
        """The step without its input, as measured cells correct it."""
        return max(max(self.device_s, self.host_s, self.products_s) * self.factor, self.products_s)

    @property
    def total_s(self) -> float:
        """Wall clock of the step."""
        return self.training_s + self.input_s if self.on_cpu else max(self.training_s, self.input_s)

    @property
    def bound_by(self) -> Bound:
        """What would have to be faster first."""
        if self.input_s >= self.training_s:
            return "input"
        if self.products_s and self.training_s <= self.products_s:
            return "compute"
        if self.host_s > self.device_s:
            return "host"
        memory = self.memory_s + self.optimizer_s
        parts: list[tuple[float, Bound]] = [
            (self.compute_s, "compute"), (memory, "memory"), (self.launch_s, "launch"),
        ]  # fmt: skip
        return max(parts, key=lambda part: part[0])[1]


def step_time(
    trace: Trace,
    device: Device,
    accumulation_steps: int = 1,
    compiled: bool = False,
    load_s: float = 0.0,
    accelerator_count: int = 1,
) -> StepTime:
    """Time of an optimiser step of `accumulation_steps` micro-batches like the traced one.

    `load_s`: seconds that one core of the reference speed needs to load the step's inputs.
    """
    if device.scales_loss:
        trace = replace(trace, optimizer=(*trace.optimizer, _unscaling(trace)))
    compute, memory, floor, host = _sum(trace.operations, device, compiled, accumulation_steps)
    _, update, update_floor, update_host = _sum(trace.optimizer, device, compiled=False)
    reduce_s = 0.0
    if accelerator_count > 1 and device.link_bytes_per_s:
        traffic = 2 * (accelerator_count - 1) / accelerator_count * trace.gradient_bytes
        reduce_s = traffic / device.link_bytes_per_s * (1 - LINK_OVERLAP)
    on_cpu = device.kind == "cpu"
    return StepTime(
        compute_s=compute,
        memory_s=memory,
        launch_s=floor + update_floor,
        optimizer_s=update,
        host_s=0.0 if on_cpu else host + update_host,
        input_s=load_s / device.host_speed / device.host_cores,
        all_reduce_s=reduce_s,
        power_s=_energy(trace, device, accumulation_steps, compiled) / device.power_w if device.power_w else 0.0,
        products_s=_products(trace, device) * accumulation_steps if device.kind == "cuda" else 0.0,
        level=device.level,
        on_cpu=on_cpu,
    )


def _unscaling(trace: Trace) -> Operation:
    """GradScaler.unscale_: all gradients read and written, in as many kernels as the update takes."""
    launches = max((op.launches for op in trace.optimizer), default=1)
    size = float(trace.gradient_bytes)
    return Operation("gradient_unscale", "optimizer", 0.0, size, size, False, launches=launches)


def _times(op: Operation, accumulation_steps: int) -> int:
    """How often an operation of the traced micro-batch runs in a step: the first gradient has none to be added to."""
    return op.count * (accumulation_steps - 1 if op.kind == "accumulation" else accumulation_steps)


def _may_fuse(op: Operation) -> bool:
    """Can a compiler fuse it? Products stay, and gradients are added up outside all graphs, by autograd's engine."""
    return op.kind not in ARITHMETIC and op.kind != "accumulation"


def _sum(
    operations: Iterable[Operation], device: Device, compiled: bool, accumulation_steps: int = 1
) -> tuple[float, float, float, float]:
    """(compute, memory, floors, host) seconds of a step's operations."""
    compute = memory = floor = host = 0.0
    for op in operations:
        times = _times(op, accumulation_steps)
        arithmetic, traffic = operation_time(op, device)
        fused = compiled and _may_fuse(op)
        if fused:
            traffic *= COMPILED_BYTES
        launches = op.launches * times * (COMPILED_LAUNCHES if fused else 1.0)
        if arithmetic > traffic:
            compute += arithmetic * times
        else:
            memory += traffic * times
        floor += launches * (device.launch_s if device.kind == "cpu" else device.kernel_s)
        host += launches * device.launch_s
    return compute, memory, floor, host


def _energy(trace: Trace, device: Device, accumulation_steps: int, compiled: bool) -> float:
    """Joules of a step's work on the device."""
    low, high = device.joules_per_flop
    total = sum(op.bytes_moved * op.count for op in trace.optimizer) * device.joules_per_byte
    for op in trace.operations:
        moved = op.bytes_moved * (COMPILED_BYTES if compiled and _may_fuse(op) else 1.0)
        per_flop = low if op.low_precision and device.low_flops_per_s else high
        total += (op.flops * per_flop + moved * device.joules_per_byte) * _times(op, accumulation_steps)
    return total


def _products(trace: Trace, device: Device) -> float:
    """Seconds of a micro-batch's products, each at the best matrix product's rate.

    The level, which the median of published throughputs sets, and a measured cell's factor lift all of a device's
    rates, so they could lift these beyond what the hardware multiplies: a level of 0.55 put large products on an A10G,
    whose board's power limits nothing, at 98 % of the datasheet's peak (2026-12-01). Left out: convolutions in fp32,
    for which cuDNN knows ways with fewer multiplications.
    """
    return sum(
        op.flops * op.count / _best_rate(op, device)
        for op in trace.operations
        if op.flops and (op.kind != "conv" or op.low_precision)
    )


def _best_rate(op: Operation, device: Device) -> float:
    """FLOP/s of the best product in the operation's precision."""
    return device.low_flops_per_s if op.low_precision and device.low_flops_per_s else device.high_flops_per_s


def operation_time(op: Operation, device: Device) -> tuple[float, float]:
    """(arithmetic, bytes) seconds of one execution, without floors."""
    at_once = op.bytes_moved / op.serial
    hit = device.cache_bytes / max(1.0, device.cache_bytes + at_once)
    traffic = op.bytes_moved / device.bytes_per_s * (1 - hit + hit / device.cache_speedup)
    if not op.flops:
        return 0.0, traffic + op.bytes_moved * device.vector_s_per_byte
    share = device.shares.of_kind(op.kind) * size_factor(op, device)
    return op.flops / (_best_rate(op, device) * share), traffic


def size_factor(op: Operation, device: Device) -> float:
    """What short sides cost: d / (d + tile) for each of the two shortest sides of a product.

    The cores of a CPU take a batch's products side by side; what cores are left over share one by its longest side,
    halved again and again, so that a long one (a convolution's batch and pixels) hides how many they are.
    """
    batch, *whole = op.shape
    sides = [float(side) for side in whole]
    if op.kind == "depthwise_conv" or math.prod(sides) == 1:
        return 1.0
    shared_by = device.host_cores / batch if device.kind == "cpu" else 1.0
    while shared_by > 1:
        part = min(2.0, shared_by)
        longest = sides.index(max(sides))
        sides[longest] /= part
        shared_by /= part
    first, second, _ = sorted(sides)
    tile = device.shares.tile
    return first / (first + tile) * second / (second + tile)
