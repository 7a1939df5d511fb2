"""CPUs as devices: those of the catalogue from their facts, the calibrated host from its own rates. No torch."""

from __future__ import annotations

import math

from yocobench.estimate.calibration import HostRates
from yocobench.estimate.constants import (
    AMX_SHARE,
    CPU_BANDWIDTH_EXPONENT,
    CPU_CACHE_MIB_PER_CORE,
    CPU_CACHE_SPEEDUP,
    CPU_DISPATCH_S,
    CPU_FORK_S,
    CPU_GEMM_SHARE,
    CPU_ONE_CORE_GB_PER_S,
    CPU_SCALING_EXPONENT,
    CPU_SHARES,
    DECODE_S_PER_MEGAPIXEL,
    FITTED,
    USUAL_HOST_SPEED,
    Shares,
)
from yocobench.estimate.device import Device, Unknown
from yocobench.schema import Chip, Precision


def from_cpu(
    chip: Chip,
    precision: Precision,
    cores: float,
    ghz: float | None,
    arch: str,
    speed: float | None,
    host: HostRates | None,
    name: str | None = None,
) -> Device:
    """A CPU: cores x clock x FLOPs per cycle, less what many cores lose; shares as the calibrated host showed them.

    Raises Unknown when the clock or the FLOPs per cycle are null.
    """
    per_cycle = chip.rates.flops_per_cycle_per_core if chip.rates else {}
    wide, narrow = per_cycle.get(precision), per_cycle.get("fp32")
    if ghz is None or narrow is None or wide is None:
        raise Unknown(f"CPU {chip.name!r} states no FLOPs per cycle for {precision} or no sustained clock")
    gaps = [] if speed else [f"host CPU speed unknown: {USUAL_HOST_SPEED:g} of the reference core assumed"]
    known = _cpu_bandwidth(chip)
    if known is None:
        gaps.append("memory bandwidth unknown: assumed from the number of cores")
    is_low = precision != "fp32"
    if is_low and wide * AMX_SHARE > narrow:
        gaps.append("rate of its matrix tiles assumed: from two published runs")
    scaled = cores**CPU_SCALING_EXPONENT * ghz * 1e9 * CPU_GEMM_SHARE
    return Device(
        name=name or chip.name,
        chip=chip.name,
        kind="cpu",
        family=f"cpu {arch} {narrow:g}",
        low_flops_per_s=scaled * max(narrow, wide * AMX_SHARE) if is_low else 0.0,
        high_flops_per_s=scaled * narrow,
        vector_s_per_byte=0.0,
        bytes_per_s=known or _assumed_bandwidth(cores),
        cache_bytes=CPU_CACHE_MIB_PER_CORE * cores * 2**20,
        cache_speedup=CPU_CACHE_SPEEDUP,
        kernel_s=0.0,
        launch_s=CPU_DISPATCH_S / (speed or USUAL_HOST_SPEED) + CPU_FORK_S * math.log2(max(cores, 1)),
        host_cores=cores,
        host_speed=speed or USUAL_HOST_SPEED,
        shares=_cpu_shares(host),
        host_chip=chip.name,
        host_speed_by="CoreMark" if speed else "",
        gaps=tuple(gaps),
    )


def from_host(host: HostRates, precision: Precision, arch: str) -> Device:
    """The calibrated host itself: its own measured rates, all of its cores."""
    return Device(
        name="local",
        chip=host.cpu_model,
        kind="cpu",
        family=f"cpu {arch} local",
        low_flops_per_s=host.gemm_bf16_flops_per_s * host.product_speedup if precision != "fp32" else 0.0,
        high_flops_per_s=host.gemm_fp32_flops_per_s * host.product_speedup,
        vector_s_per_byte=0.0,
        bytes_per_s=host.bytes_per_s * host.bandwidth_speedup,
        cache_bytes=CPU_CACHE_MIB_PER_CORE * host.physical_cores * 2**20,
        cache_speedup=max(1.0, host.cache_bytes_per_s / host.bytes_per_s),
        kernel_s=0.0,
        launch_s=3 * host.dispatch_s + CPU_FORK_S * math.log2(max(host.physical_cores, 1)),
        host_cores=host.physical_cores,
        host_speed=DECODE_S_PER_MEGAPIXEL / host.decode_s_per_megapixel,
        shares=_cpu_shares(host),
        host_chip=host.cpu_model,
        host_speed_by="its own decoding",
    )


def _cpu_shares(host: HostRates | None) -> Shares:
    """Shares as one thread of the host showed them."""
    if host is None:
        return CPU_SHARES
    return Shares(
        matmul=1.0,
        conv=min(1.0, host.conv_share),
        depthwise_conv=min(1.0, host.depthwise_share),
        attention=min(1.0, host.attention_share),
        recurrent=CPU_SHARES.recurrent,
        tile=host.tile,
    )


def _cpu_bandwidth(chip: Chip) -> float | None:
    measured = [r.value for r in chip.achieved if r.quantity == "memory_gb_per_s"]
    if measured:
        return max(measured) * 1e9
    stated = chip.rates.memory_gb_per_s if chip.rates else None
    return None if stated is None else stated * FITTED.bandwidth * 1e9


def _assumed_bandwidth(cores: float) -> float:
    return CPU_ONE_CORE_GB_PER_S * 1e9 * math.pow(cores, CPU_BANDWIDTH_EXPONENT)
