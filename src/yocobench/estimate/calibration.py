"""What has been measured and carries over: this host's micro-benchmark, and every measured cell. No torch here.

calibrate.py fills it; a file under mlruns/ keeps it, dated, for one host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, PositiveFloat, ValidationError

from yocobench.bench.measurement import Measurement
from yocobench.receipt import write_atomic
from yocobench.schema import AcceleratorKind, Frozen, Precision

VERSION = 1
FILE = Path("mlruns") / "calibration"


class HostRates(Frozen):
    """What this host's CPU reaches, one thread, in CPU time: a busy neighbour does not slow it."""

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
    dispatch_s: PositiveFloat
    """One elementwise operation on four numbers."""
    decode_s_per_megapixel: PositiveFloat
    """JPEG to pixels."""


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
    """Load of the host by others while it ran (`busy_factor`): `ratio` is already divided by it, the spread widened."""


class Calibration(Frozen):
    """All that estimates lean on beside the catalogue's facts."""

    host: HostRates | None = None
    residuals: tuple[Residual, ...] = ()

    def without(self, workload: str, instance: str) -> Calibration:
        """The same without one cell: for leave-one-out."""
        kept = tuple(r for r in self.residuals if (r.workload, r.instance) != (workload, instance))
        return self.model_copy(update={"residuals": kept})


def measured_step_s(measurement: Measurement) -> tuple[float, float, float] | None:
    """(mean step, data-wait part, relative half width) over the good repeats of a cell; None when none is good.

    The mean of the repeats' means; its half width from their spread, 1.96 standard errors.
    """
    good = [r for r in measurement.repeats if r.outcome == "ok" and r.step_times_s]
    if not good:
        return None
    means = [sum(r.step_times_s) / len(r.step_times_s) for r in good]
    waits = [sum(r.data_wait_s) / len(r.step_times_s) for r in good]
    mean = sum(means) / len(means)
    if len(means) == 1:
        return mean, waits[0], 0.1
    spread = math.sqrt(sum((m - mean) ** 2 for m in means) / (len(means) - 1))
    return mean, sum(waits) / len(waits), 1.96 * spread / math.sqrt(len(means)) / mean


def busy_factor(measurement: Measurement, physical_cores: int) -> float:
    """How many times longer the host's other processes made the steps: 1 + their load per core, when they matter.

    The load before a repeat is theirs alone. Below half a process per core it is taken as noise.
    """
    loads = [r.load_average_start for r in measurement.repeats[:1] if r.load_average_start is not None]
    load = max(loads, default=0.0) / physical_cores
    return 1.0 + load if load > 0.5 else 1.0


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
