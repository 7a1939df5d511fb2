"""How far an estimate may be off: log-normal, and wider with every step away from what was measured.

The spreads are fitted by `python benchmarks/estimator.py --fit` where published data reach, and stated otherwise.
"""

from __future__ import annotations

import math
from typing import Literal

from yocobench.estimate.calibration import Calibration, Residual, carry
from yocobench.estimate.device import Device

Distance = Literal["chip", "family", "kind", "other"]
Z90 = 1.6449
"""Half width of a 90 % interval of the normal distribution, in standard deviations."""
SIGMA: dict[Distance, float] = {"chip": 0.06, "family": 0.092, "kind": 0.15, "other": 0.4}
"""Spread of log(measured / estimated) step time on accelerators, by the nearest measured cell of the same workload.
family, kind: 90 % of the errors of 283 training pairs lie within 1.645 of it (benchmarks/estimator.py --fit,
2026-11-23). other: no measurement at all; spread of the throughputs themselves there. chip: run-to-run on EC2, 1 to
10 % (c3o-experiments, 930 configurations), not fitted."""
CPU_SIGMA: dict[Distance, float] = {"chip": 0.08, "family": 0.15, "kind": 0.25, "other": 0.4}
"""The same on CPUs, stated: no published training throughput across CPUs was found to fit it on."""
OTHER_WORKLOAD_SIGMA = 0.15
"""Added when only other workloads were measured there."""
GAP_SIGMA = 0.12
"""Added for every fact of the device that was unknown and assumed."""
NEURON_SIGMA = 0.5
"""Nobody published a training rate for a Trainium that these traces could be checked on."""
CARRY: dict[Distance, float] = {"chip": 1.0, "family": 0.95, "kind": 0.92, "other": 0.0}
"""Exponent with which a cell's residual carries to a device at that distance: the part that is the workload's own.
kind: regression over the training pairs (0.92), same date; on CPUs CPU_CARRY stands for it."""
CPU_CARRY = 0.7
OTHER_WORKLOAD_CARRY = 0.5
BUSY_SIGMA = 0.4
"""Per unit of log(busy): a host shared with other work tells little about itself, so its residual also counts less."""


ORDER: tuple[Distance, ...] = ("chip", "family", "kind", "other")
WORDS = {"chip": "same chip", "family": "same family", "kind": "same kind of device"}


def distance(residual: Residual, device: Device) -> Distance:
    """From a measured cell to a device."""
    if residual.chip == device.chip:
        return "chip"
    if residual.family == device.family:
        return "family"
    return "kind" if residual.kind == device.kind else "other"


def correction(calibration: Calibration, workload: str, device: Device) -> tuple[float, float, str]:
    """(factor on the modelled step time, sigma of its logarithm, what it rests on) for a workload on a device."""
    ranked = sorted(
        calibration.residuals, key=lambda r: (ORDER.index(distance(r, device)), r.workload != workload, r.instance)
    )
    table = CPU_SIGMA if device.kind == "cpu" else SIGMA
    added = [GAP_SIGMA] * len(device.gaps) + ([NEURON_SIGMA] if device.kind == "neuron" else [])
    bare = 1.0, math.hypot(table["other"], *added), _facts(calibration, device)
    near = distance(ranked[0], device) if ranked else "other"
    if near == "other":
        return bare
    level = [r for r in ranked if distance(r, device) == near]
    same = [r for r in level if r.workload == workload]
    chosen = same or level
    # A relative error is half a 95 % interval, which in a normal distribution is 1.96 standard deviations.
    noise = max(math.hypot(r.relative_error / 1.96, BUSY_SIGMA * math.log(r.busy)) for r in chosen)
    if math.hypot(table[near], noise) >= table["other"]:
        return (*bare[:2], f"{bare[2]}; what was measured near it is too unsteady to tell more")
    exponent = CPU_CARRY if device.kind == "cpu" and near == "kind" else CARRY[near]
    exponent /= min(r.busy for r in chosen)
    if not same:
        exponent *= OTHER_WORKLOAD_CARRY
        added.append(OTHER_WORKLOAD_SIGMA)
    factor = carry(chosen, [1.0 / r.busy for r in chosen]) ** exponent
    what = ", ".join(sorted({f"{r.workload} on {r.instance}{' (busy)' if r.busy > 1 else ''}" for r in chosen}))
    return factor, math.hypot(table[near], noise, *added), f"{what} ({WORDS[near]})"


def _facts(calibration: Calibration, device: Device) -> str:
    """What an estimate rests on that no measured cell is near."""
    if device.kind == "cuda":
        return "datasheet, and constants fitted on published training throughput of other GPUs"
    if device.kind == "cpu" and calibration.host is not None:
        return f"datasheet, and this host's micro-benchmark of {calibration.host.measured_at[:10]}"
    return "datasheet only"


def bounds(median: float, sigma: float) -> tuple[float, float]:
    """The 90 % interval of a log-normal quantity."""
    half = math.exp(Z90 * sigma)
    return median / half, median * half
