"""What has been measured and carries over: this host's micro-benchmark, and every measured cell. No torch here.

calibrate.py fills it; a file under mlruns/ keeps it, dated, for one host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, PositiveFloat, ValidationError

from yocobench.bench.measurement import HostActivity, Measurement, RepeatResult
from yocobench.bench.stability import OTHER_SHARE, settled_at, trends
from yocobench.bench.statistics import mean_interval
from yocobench.files import write_atomic
from yocobench.schema import AcceleratorKind, Frozen, Precision

VERSION = 3
MAX_TAKEN = 0.9
"""Others' share of the CPU time that is believed at most: beyond it the correction would be all there is."""
FILE = Path("mlruns") / "calibration"


class HostRates(Frozen):
    """What one thread of this host's CPU reaches, in CPU time: a busy neighbour slows it by what they share, no more.

    And, as `*_speedup`, how much more all its cores reach together, by the wall clock.
    """

    version: int = VERSION
    host_id: str
    measured_at: str
    """ISO 8601, UTC."""
    cpu_model: str
    physical_cores: int
    torch_version: str
    gemm_fp32_flops_per_s: PositiveFloat
    gemm_bf16_flops_per_s: PositiveFloat
    tile: PositiveFloat
    """Side of a product at which half of the rate is reached, fitted over sizes 64 to 1024."""
    conv_share: PositiveFloat
    depthwise_share: PositiveFloat
    attention_share: PositiveFloat
    """Parts of the matrix product's rate, forward and backward together."""
    bytes_per_s: PositiveFloat
    """Read plus written, far beyond the caches."""
    cache_bytes_per_s: PositiveFloat
    product_speedup: PositiveFloat
    """Of products on all its cores at once over one core's, by the wall clock."""
    bandwidth_speedup: PositiveFloat
    """Of `bytes_per_s` likewise."""
    dispatch_s: PositiveFloat
    """One elementwise operation on four numbers."""
    decode_s_per_megapixel: PositiveFloat
    """A JPEG of a photograph's detail to pixels."""
    taken_share: float | None = None
    """Of the host's CPU time, what others took meanwhile (`taken`); null: not recorded, as in an older file."""

    @property
    def warning(self) -> str:
        """To keep in mind about what leans on these rates; empty: little else ran."""
        if self.taken_share is None or self.taken_share <= OTHER_SHARE:
            return ""
        return (
            f"others took {100 * self.taken_share:.0f} % of the CPU time while this host's micro-benchmark ran: "
            "estimates of CPU types, and ratios to an estimated baseline, may be off by half; on a quiet host "
            "`python -m yocobench.estimate.calibrate` repeats it"
        )


class Residual(Frozen):
    """How a measured cell turned out against the model: measured step time / modelled step time."""

    workload: str
    instance: str
    chip: str
    family: str
    kind: AcceleratorKind
    precision: Precision
    ratio: PositiveFloat
    relative_error: float = Field(ge=0)
    """Half width of the 95 % interval of the measured mean, relative."""
    busy: float = Field(default=1.0, ge=1)
    """How many times longer others made its steps (`busy_factor`): `ratio` is divided by it, the spread widened."""


class LoaderResidual(Frozen):
    """How a measured cell's loader alone turned out against its constants (loading.py)."""

    workload: str
    instance: str
    host_chip: str
    """The host's CPU; empty: unknown."""
    ratio: PositiveFloat
    """Measured seconds of a core for an image / modelled ones."""


class Calibration(Frozen):
    """All that estimates lean on beside the catalogue's facts."""

    host: HostRates | None = None
    residuals: tuple[Residual, ...] = ()
    loaders: tuple[LoaderResidual, ...] = ()
    mean_image_pixels: PositiveFloat | None = None
    """Of the stored images in data/images; null: there are none, or their manifest does not say."""

    def without(self, workload: str, instance: str) -> Calibration:
        """The same without one cell: for leave-one-out."""
        kept = {
            "residuals": tuple(r for r in self.residuals if (r.workload, r.instance) != (workload, instance)),
            "loaders": tuple(r for r in self.loaders if (r.workload, r.instance) != (workload, instance)),
        }
        return self.model_copy(update=kept)


def good_repeats(measurement: Measurement) -> list[RepeatResult]:
    """The repeats that have a number, each from where its step times settled, as a decision reckons (evidence.py)."""
    return [_settled(one) for one in measurement.repeats if one.outcome == "ok" and one.step_times_s]


def _settled(repeat: RepeatResult) -> RepeatResult:
    at = settled_at(trends(repeat.step_times_s))
    return repeat.model_copy(update={"step_times_s": repeat.step_times_s[at:], "data_wait_s": repeat.data_wait_s[at:]})


def measured_step_s(measurement: Measurement) -> tuple[float, float, float] | None:
    """(mean step, data-wait part, relative half width) over the good repeats of a cell; None when none is good.

    The mean of the repeats' means, once settled; its half width from their spread (Student's t).
    """
    good = good_repeats(measurement)
    if not good:
        return None
    means = [sum(r.step_times_s) / len(r.step_times_s) for r in good]
    waits = [sum(r.data_wait_s) / len(r.step_times_s) for r in good]
    if len(means) == 1:
        return means[0], waits[0], 0.1
    mean, low, _ = mean_interval(means)
    return mean, sum(waits) / len(waits), (mean - low) / mean


def busy_factor(measurement: Measurement) -> float:
    """How many times longer others made the steps: 1 / (1 - their share of the CPU time), where it matters.

    Their share: other processes of the guest and what the host stole, while steps were timed; the good repeats' mean.
    """
    seen = [r.activity for r in measurement.repeats if r.outcome == "ok" and r.activity is not None]
    share = sum(map(taken, seen)) / max(1, len(seen))
    return 1.0 / (1.0 - min(share, MAX_TAKEN)) if share > OTHER_SHARE else 1.0


def taken(activity: HostActivity) -> float:
    """Of the host's CPU time, the share that other processes used and that the hypervisor gave to other guests."""
    return (activity.other_share or 0.0) + (activity.steal_share or 0.0)


def read(path: Path, host_id: str) -> HostRates | None:
    """The host rates kept at `path`; None when there are none, of another host or of another version."""
    try:
        found = HostRates.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return found if found.host_id == host_id and found.version == VERSION else None


def write(rates: HostRates, path: Path) -> None:
    """Keep the rates. Raises OSError."""
    write_atomic(path, rates.model_dump_json(indent=1) + "\n")


def path_of(root: Path, host_id: str) -> Path:
    """Where a host's rates are kept."""
    return root / FILE / f"{host_id}.json"


def carry(residuals: Sequence[Residual], weights: Sequence[float]) -> float:
    """Weighted geometric mean of the ratios."""
    total = sum(weights)
    return math.exp(sum(w * math.log(r.ratio) for r, w in zip(residuals, weights, strict=True)) / total)
