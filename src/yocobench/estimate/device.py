"""The few numbers of a device that decide a step's time, from its facts: no measurement, no torch.

What a fact-file leaves null is either derived with a stated rule and listed in `gaps`, which widens the interval, or
there is no estimate at all. Rates here are what kernels reach, not what datasheets promise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from yocobench.estimate.constants import (
    CACHE_MIB,
    DYNAMIC_POWER,
    FITTED,
    GEMM_SHARE,
    NEURON_GEMM_SHARE,
    NODE_ENERGY,
    TF32_FROM,
    USUAL_HOST_SPEED,
    Constants,
    Shares,
)
from yocobench.schema import AcceleratorKind, Chip, Precision


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
    """Of one thread that has a core to itself, against the reference core (CoreMark)."""
    shares: Shares
    """Part of the product rate that each kind of operation reaches."""
    level: float = 1.0
    """Factor on the modelled time of the device."""
    power_w: float | None = None
    """What work may draw; None: no limit known."""
    joules_per_flop: tuple[float, float] = (0.0, 0.0)
    """Of 16-bit products, of those in fp32 or TF32."""
    joules_per_byte: float = 0.0
    scales_loss: bool = False
    """fp16: gradients are divided by the loss scale before the step, one more pass over them."""
    link_bytes_per_s: float | None = None
    host_chip: str = ""
    """The host's CPU: boxes with the same one load images alike. Empty: unknown."""
    host_speed_by: str = ""
    """What `host_speed` was told by; empty: nothing."""
    gaps: tuple[str, ...] = field(default=())
    """Facts that were not known and what stands for them."""


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
    gaps = [] if host_speed else [f"host CPU speed unknown: {USUAL_HOST_SPEED:g} of the reference core assumed"]
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
        cache_bytes=(chip.rates.cache_mib or CACHE_MIB.get(capability, 4)) * 2**20,
        cache_speedup=constants.cache_speedup,
        kernel_s=constants.kernel_us * 1e-6,
        launch_s=constants.launch_us * 1e-6 / (host_speed or USUAL_HOST_SPEED),
        host_cores=host_cores,
        host_speed=host_speed or USUAL_HOST_SPEED,
        shares=constants.shares(),
        level=constants.level,
        power_w=power * DYNAMIC_POWER if power else None,
        joules_per_flop=(joules, joules * (2 if substituted else 4)),
        joules_per_byte=constants.pj_per_byte * 1e-12 * node,
        scales_loss=precision == "fp16",
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
