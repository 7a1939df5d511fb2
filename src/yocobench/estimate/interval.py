"""How far an estimate may be off: log-normal, and wider with every step away from what was measured.

The spreads are fitted by `python -m benchmarks.estimator --fit` where published data reach, and stated otherwise. They
also say what two estimates share. The error of a pair of devices is the difference of one error of each, so half of its
variance belongs to either; what is left of an estimate's own variance is common to all that rest on the same. Pairs of
one family differ by less than others: by so much less, the halves are common to the family, and likewise to the chip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from yocobench.estimate.calibration import Calibration, Residual, carry
from yocobench.estimate.device import Device
from yocobench.estimate.memory import is_low

Distance = Literal["chip", "family", "kind", "other"]
Z90 = 1.6449
"""Half width of a 90 % interval of the normal distribution, in standard deviations."""
SIGMA: dict[Distance, float] = {"chip": 0.06, "family": 0.097, "kind": 0.152, "other": 0.4}
"""Spread of log(measured / estimated) step time on accelerators, by the nearest measured cell of the same workload.
family, kind: 90 % of the errors of 283 training pairs lie within 1.645 of it (benchmarks/estimator.py --fit,
2026-12-01). other: no measurement at all; the throughputs themselves spread by 0.29 there, and another code's differ
more. chip: run-to-run on EC2, 1 to 10 % (c3o-experiments, 930 configurations), not fitted."""
CPU_SIGMA: dict[Distance, float] = {"chip": 0.08, "family": 0.15, "kind": 0.25, "other": 0.4}
"""The same on CPUs, stated. Nine published runs (benchmarks/data/cpus.csv) differ from their estimates by 0.22 (root
mean square), and three CPUs with one model by 0.17 a pair; but how cores share a product, and AMX_SHARE, were settled
on these very runs. Loading images has these spreads too (loading.py), by the host's CPU: it scales with CoreMark, by
which two boxes of one CPU lie 5 % apart (g6.xlarge, g6e.xlarge in conf/instance/)."""
OTHER_WORKLOAD_SIGMA = 0.15
"""Added when only other workloads were measured there."""
GAP_SIGMA = 0.12
"""Added for every fact of the device that was unknown and assumed."""
NEURON_SIGMA = 0.3
"""Added on a Trainium, stated. BERT-large at two lengths and a ViT (benchmarks/data/trainium.csv, each with its newest
software) are off by 0.34 (root mean square), which `other` covers; but all are transformers, and the compiler's version
alone moved one by 0.30."""
CARRY: dict[Distance, float] = {"chip": 1.0, "family": 0.95, "kind": 0.92, "other": 0.0}
"""Exponent with which a cell's residual carries to a device at that distance: the part that is the workload's own.
kind: regression over the training pairs (0.92), with the traces of 2026-11-23; on CPUs CPU_CARRY stands for it."""
CPU_CARRY = 0.7
OTHER_WORKLOAD_CARRY = 0.5
OTHER_PRECISION_CARRY = 0.5
OTHER_PRECISION_SIGMA = 0.15
"""Carried less, and spread added, where cells in fp32 stand for 16-bit training or the other way round: other kernels
run there (Winograd's convolutions, say, in fp32 on a CPU only). Stated: no cell was measured in both."""
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


class Shared(NamedTuple):
    """A part of an estimate's error that other estimates have too."""

    key: str
    """Those with this key have the same error there, each times its own `sigma`. Parts are independent."""
    sigma: float
    """Of log(samples_per_second)."""


class Correction(NamedTuple):
    """What is known beside the model of a workload on a device, and how far off the estimate may be."""

    factor: float
    """On the modelled time."""
    sigma: float
    """Standard deviation of the logarithm, all in all."""
    rests_on: str
    shared: tuple[Shared, ...]
    """Parts of `sigma` that are not this estimate's alone."""


def correction(calibration: Calibration, workload: str, device: Device) -> Correction:
    """What is known of a workload's training on a device: from the nearest measured cells, if any is near."""
    ranked = sorted(
        calibration.residuals, key=lambda r: (ORDER.index(distance(r, device)), r.workload != workload, r.instance)
    )
    table = CPU_SIGMA if device.kind == "cpu" else SIGMA
    added = _added(device)
    near = distance(ranked[0], device) if ranked else "other"
    level = {f"any {device.kind}": table["other"] ** 2 - table["kind"] ** 2 / 2}
    bare = Correction(
        1.0,
        math.hypot(table["other"], *added),
        _facts(calibration, device),
        listed(workload, level | _of_device(table, "kind", device)),
    )
    if near == "other":
        return bare
    same_level = [r for r in ranked if distance(r, device) == near]
    same = [r for r in same_level if r.workload == workload]
    chosen = same or same_level
    alike = [r for r in chosen if is_low(r.precision) == (device.low_flops_per_s > 0)]
    chosen = alike or chosen
    # A relative error is half a 95 % interval, which in a normal distribution is 1.96 standard deviations.
    noise = max(math.hypot(r.relative_error / 1.96, BUSY_SIGMA * math.log(r.busy)) for r in chosen)
    if math.hypot(table[near], noise) >= table["other"]:
        return bare._replace(rests_on=f"{bare.rests_on}; what was measured near it is too unsteady to tell more")
    exponent = CPU_CARRY if device.kind == "cpu" and near == "kind" else CARRY[near]
    exponent /= min(r.busy for r in chosen)
    if not same:
        exponent *= OTHER_WORKLOAD_CARRY
        noise = math.hypot(noise, OTHER_WORKLOAD_SIGMA)
    if not alike:
        exponent *= OTHER_PRECISION_CARRY
        noise = math.hypot(noise, OTHER_PRECISION_SIGMA)
    factor = carry(chosen, [1.0 / r.busy for r in chosen]) ** exponent
    what = ", ".join(sorted({f"{r.workload} on {r.instance}{' (busy)' if r.busy > 1 else ''}" for r in chosen}))
    near_words = WORDS[near] if alike else f"{WORDS[near]}, in {chosen[0].precision}"
    parts = _of_device(table, near, device) | _of_cells(table, near, chosen, noise)
    sigma = math.hypot(table[near], noise, *added)
    return Correction(factor, sigma, f"{what} ({near_words})", listed(workload, parts))


def _added(device: Device) -> list[float]:
    return [GAP_SIGMA] * len(device.gaps) + ([NEURON_SIGMA] if device.kind == "neuron" else [])


def halves(table: Mapping[Distance, float], near: Distance) -> dict[Distance, float]:
    """Half of a pair's variance at a distance, by the distance at which each part of it comes in."""
    levels = ORDER[: ORDER.index(near) + 1]
    sums = [0.0, *(table[level] ** 2 / 2 for level in levels)]
    return {level: after - before for level, (before, after) in zip(levels, pairwise(sums), strict=True)}


def _of_device(table: Mapping[Distance, float], near: Distance, device: Device) -> dict[str, float]:
    """Variance of the device's own half that others of its chip or family have too."""
    half = halves(table, near)
    chip = half.get("family", 0.0) + (NEURON_SIGMA**2 if device.kind == "neuron" else 0.0)
    return {f"chip {device.chip}": chip, f"family {device.family}": half.get("kind", 0.0)}


def _of_cells(
    table: Mapping[Distance, float], near: Distance, chosen: Sequence[Residual], noise: float
) -> dict[str, float]:
    """Variance of the half that belongs to the measured cells, their noise with it: of all that rest on one of them."""
    half = halves(table, near)
    half["chip"] += noise**2
    cells = [f"{r.workload} on {r.instance}" for r in chosen]
    return {f"{cell}, {level}": part / len(cells) for cell in cells for level, part in half.items()}


def listed(workload: str, variances: Mapping[str, float]) -> tuple[Shared, ...]:
    """Variances as parts of an error, by what has them."""
    return tuple(Shared(f"{workload}: {key}", math.sqrt(part)) for key, part in variances.items() if part > 0)


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
