"""The arithmetic limit of a box, from datasheet facts. Unknown facts give null, never a guess."""

from __future__ import annotations

from yocobench.schema import Chip, Hardware, Precision


def peak_flops_per_second(
    chip: Chip | None, hardware: Hardware | None, precision: Precision, accelerators: float = 1.0
) -> float | None:
    """FLOP/s of so many accelerators, or of all cores of a CPU at their sustained clock, in that precision.

    Model FLOPs utilisation is measured against this. `accelerators`: those that train; a NeuronCore is a part of one.
    """
    if chip is None or chip.rates is None:
        return None
    if chip.kind != "cpu":
        tera = chip.rates.peak_tflops.get(precision)
        return None if tera is None else tera * 1e12 * accelerators
    per_cycle = chip.rates.flops_per_cycle_per_core.get(precision)
    if per_cycle is None or hardware is None or hardware.sustained_ghz is None:
        return None
    return per_cycle * hardware.sustained_ghz * 1e9 * hardware.physical_cores
