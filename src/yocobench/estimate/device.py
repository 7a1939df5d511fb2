"""The few numbers of a device that decide a step's time, from its facts: no measurement, no torch.

What a fact-file leaves null is either derived with a stated rule and listed in `gaps`, which widens the interval, or
there is no estimate at all. Rates here are what kernels reach, not what datasheets promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from yocobench.estimate.calibration import HostRates
from yocobench.estimate.constants import (
    AMX_SHARE,
    CACHE_MIB,
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
    DYNAMIC_POWER,
    FITTED,
    GEMM_SHARE,
    LINK_BYTES_PER_S,
    NEURON_COMPILE_S,
    NEURON_GEMM_SHARE,
    NODE_ENERGY,
    REFERENCE_COREMARK,
    TF32_FROM,
    Constants,
    Shares,
)
from yocobench.schema import AcceleratorKind, Chip, Instance, Precision


class Unknown(ValueError):
    """A fact without which no number can be given."""


@dataclass(frozen=True)
class Device:
    """Achievable rates of what trains, and of the host that feeds it."""

    name: str
    chip: str
    kind: AcceleratorKind
    family: str
    """Devices of one family share an architecture: `cuda 8.6`, `cpu x86_64 wide 64`."""
    low_flops_per_s: float
    """16-bit matrix products of the largest size. 0: not supported in hardware."""
    high_flops_per_s: float
    """The products that stay in fp32, with TF32 where the device substitutes it."""
    vector_s_per_byte: float
    """What elementwise work costs beside its bytes: instructions of the ordinary fp32 units. 0 on a CPU."""
    bytes_per_s: float
    """Main memory of the device, reads and writes together."""
    cache_bytes: float
    cache_speedup: float
    """Of an operation whose operands fit in the cache."""
    kernel_s: float
    """Least time of one kernel on the device."""
    launch_s: float
    """Host time to issue one kernel. On a CPU both are the same thing and `kernel_s` is 0."""
    host_cores: float
    """Physical cores, for decoding."""
    host_speed: float
    """Of one core, against the reference core (CoreMark)."""
    shares: Shares
    """Part of the product rate that each kind of operation reaches."""
    level: float = 1.0
    """Factor on the modelled time of the device."""
    power_w: float | None = None
    """What work may draw; None: no limit known."""
    joules_per_flop: tuple[float, float] = (0.0, 0.0)
    """Of 16-bit products, of those in fp32 or TF32."""
    joules_per_byte: float = 0.0
    compile_s: float = 0.0
    link_bytes_per_s: float | None = None
    host_chip: str = ""
    """The host's CPU: boxes with the same one load images alike. Empty: unknown."""
    host_speed_by: str = ""
    """What `host_speed` was told by; empty: nothing."""
    gaps: tuple[str, ...] = field(default=())
    """Facts that were not known and what stands for them."""


def from_instance(instance: Instance, precision: Precision, host: HostRates | None) -> Device:
    """The device that trains on an instance type. Raises Unknown when a fact that nothing can stand for is null."""
    chip, hardware = instance.chip, instance.hardware
    if chip is None or hardware is None:
        raise Unknown(f"instance {instance.name!r} states no hardware")
    coremark = instance.observed.coremark_iterations_per_second if instance.observed else None
    speed = coremark / hardware.physical_cores / REFERENCE_COREMARK if coremark else None
    if chip.kind == "cpu":
        return from_cpu(
            chip, precision, hardware.physical_cores, hardware.sustained_ghz, hardware.arch, speed, host, instance.name
        )
    # A process drives one NeuronCore (bench/accelerators/neuron.py), which has its share of the chip's memory.
    neuron_cores = hardware.neuron_cores or hardware.accelerator_count
    part = hardware.accelerator_count / neuron_cores if chip.kind == "neuron" else 1.0
    return from_chip(
        chip,
        precision,
        host_cores=hardware.physical_cores,
        host_speed=speed,
        host_chip=instance.cpu.name if instance.cpu else "",
        part_used=part,
        name=instance.name,
        link_bytes_per_s=LINK_BYTES_PER_S,
    )


def from_chip(
    chip: Chip,
    precision: Precision,
    host_cores: float = 4,
    host_speed: float | None = None,
    host_chip: str = "",
    part_used: float = 1.0,
    name: str | None = None,
    link_bytes_per_s: float | None = None,
    constants: Constants = FITTED,
) -> Device:
    """An accelerator in a host. Raises Unknown when its peak or bandwidth is null."""
    if chip.kind == "cpu":
        raise Unknown(f"{chip.name!r} is a CPU: its cores and clock belong to an instance; give an instance")
    if chip.rates is None or chip.rates.memory_gb_per_s is None:
        raise Unknown(f"accelerator {chip.name!r} states no memory bandwidth (rates.memory_gb_per_s)")
    gaps = [] if host_speed else ["host CPU speed unknown: the reference core assumed"]
    low = _product_rate(chip, precision) if precision in ("fp16", "bf16") else 0.0
    if low is None:
        raise Unknown(f"accelerator {chip.name!r} states no {precision} rate (rates.peak_tflops.{precision})")
    substituted = _has_tf32(chip) and precision != "fp32"
    high = (_product_rate(chip, "tf32") if substituted else None) or _product_rate(chip, "fp32")
    if high is None:
        if not low:
            raise Unknown(f"accelerator {chip.name!r} states no fp32 rate (rates.peak_tflops.fp32)")
        high = low / (2 if substituted else 4)
        gaps.append("fp32 rate unknown: assumed from the 16-bit rate")
    plain = chip.rates.peak_tflops.get("fp32")
    plain_rate = plain * 1e12 if plain else (low or high) / 4
    capability = chip.compute_capability or ""
    power = chip.rates.board_power_w
    if chip.kind == "cuda" and power is None:
        gaps.append("board power unknown: no power limit assumed")
    node = NODE_ENERGY.get(capability, 1.0)
    joules = constants.pj_per_flop * 1e-12 * node
    return Device(
        name=name or chip.name,
        chip=chip.name,
        kind=chip.kind,
        family=f"{chip.kind} {capability}".strip(),
        low_flops_per_s=low * part_used,
        high_flops_per_s=high * part_used,
        vector_s_per_byte=constants.vector / (plain_rate * part_used),
        bytes_per_s=chip.rates.memory_gb_per_s * 1e9 * constants.bandwidth * part_used,
        cache_bytes=CACHE_MIB.get(capability, 4.0) * 2**20,
        cache_speedup=constants.cache_speedup,
        kernel_s=constants.kernel_us * 1e-6,
        launch_s=constants.launch_us * 1e-6 / (host_speed or 1.0),
        host_cores=host_cores,
        host_speed=host_speed or 1.0,
        shares=constants.shares(),
        level=constants.level,
        power_w=power * DYNAMIC_POWER if power else None,
        joules_per_flop=(joules, joules * (2 if substituted else 4)),
        joules_per_byte=constants.pj_per_byte * 1e-12 * node,
        compile_s=NEURON_COMPILE_S if chip.kind == "neuron" else 0.0,
        link_bytes_per_s=link_bytes_per_s,
        host_chip=host_chip,
        host_speed_by="CoreMark" if host_speed else "",
        gaps=tuple(gaps),
    )


def _has_tf32(chip: Chip) -> bool:
    return chip.kind == "neuron" or float(chip.compute_capability or 0) >= TF32_FROM


def _product_rate(chip: Chip, precision: Precision) -> float | None:
    """FLOP/s that the best matrix product reaches: measured where somebody did, a share of the peak otherwise."""
    assert chip.rates is not None
    peak = chip.rates.peak_tflops.get(precision)
    measured = [r.value for r in chip.achieved if r.quantity == "matmul_tflops" and r.precision == precision]
    share = NEURON_GEMM_SHARE if chip.kind == "neuron" else GEMM_SHARE
    if measured:
        return max(measured) * 1e12
    return None if peak is None else peak * 1e12 * share


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
    gaps = [] if speed else ["host CPU speed unknown: the reference core assumed"]
    known = _cpu_bandwidth(chip)
    if known is None:
        gaps.append("memory bandwidth unknown: assumed from the number of cores")
    scaled = cores**CPU_SCALING_EXPONENT * ghz * 1e9 * CPU_GEMM_SHARE
    return Device(
        name=name or chip.name,
        chip=chip.name,
        kind="cpu",
        family=f"cpu {arch} {narrow:g}",
        low_flops_per_s=scaled * max(narrow, wide * AMX_SHARE) if precision != "fp32" else 0.0,
        high_flops_per_s=scaled * narrow,
        vector_s_per_byte=0.0,
        bytes_per_s=known or _assumed_bandwidth(cores),
        cache_bytes=CPU_CACHE_MIB_PER_CORE * cores * 2**20,
        cache_speedup=CPU_CACHE_SPEEDUP,
        kernel_s=0.0,
        launch_s=CPU_DISPATCH_S / (speed or 1.0) + CPU_FORK_S * math.log2(max(cores, 1)),
        host_cores=cores,
        host_speed=speed or 1.0,
        shares=_cpu_shares(host, cores),
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
        shares=_cpu_shares(host, host.physical_cores),
        host_chip=host.cpu_model,
        host_speed_by="its own decoding",
    )


def _cpu_shares(host: HostRates | None, cores: float) -> Shares:
    """Shares as one thread of the host showed them; n cores split two sides of a product, so tiles grow by sqrt(n)."""
    grown = math.sqrt(cores)
    if host is None:
        return replace(CPU_SHARES, tile=CPU_SHARES.tile * grown)
    return Shares(
        matmul=1.0,
        conv=min(1.0, host.conv_share),
        depthwise_conv=min(1.0, host.depthwise_share),
        attention=min(1.0, host.attention_share),
        recurrent=CPU_SHARES.recurrent,
        tile=host.tile * grown,
    )


def _cpu_bandwidth(chip: Chip) -> float | None:
    measured = [r.value for r in chip.achieved if r.quantity == "memory_gb_per_s"]
    if measured:
        return max(measured) * 1e9
    stated = chip.rates.memory_gb_per_s if chip.rates else None
    return None if stated is None else stated * FITTED.bandwidth * 1e9


def _assumed_bandwidth(cores: float) -> float:
    return CPU_ONE_CORE_GB_PER_S * 1e9 * math.pow(cores, CPU_BANDWIDTH_EXPONENT)
