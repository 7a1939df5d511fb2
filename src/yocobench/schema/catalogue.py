"""conf/instance and conf/accelerator: facts about chips and instance types, with their sources."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from yocobench.schema.base import AcceleratorKind, Fraction, Frozen, Name, Precision, Sourced

# --- conf/accelerator: chips, CPUs among them -------------------------------------------------------------------


class AchievedRate(Sourced):
    """A rate that somebody measured on the chip, as against the datasheet's peak."""

    quantity: Literal["matmul_tflops", "memory_gb_per_s", "launch_us"]
    precision: Precision | None = None
    value: PositiveFloat
    conditions: str = ""


class Rates(Sourced):
    """What the datasheet promises. Dense, without sparsity.

    A device (GPU, Neuron chip) states `peak_tflops` and `memory_gb_per_s`; a CPU states `flops_per_cycle_per_core`
    (its clock and core count belong to the instance type).
    """

    peak_tflops: dict[Precision, PositiveFloat | None] = {}
    flops_per_cycle_per_core: dict[Precision, PositiveFloat | None] = {}
    memory_gb_per_s: PositiveFloat | None = None
    cache_mib: PositiveFloat | None = None
    """Last-level cache of a device; null: what its compute capability usually has (estimate/constants.py)."""
    board_power_w: PositiveFloat | None = None
    """Power limit of a GPU's board: small cards (T4, L4) cannot hold their peak under it."""


class Chip(Frozen):
    """conf/accelerator/<name>.yaml: what computes. `kind` names the module under bench/accelerators that drives it."""

    name: Name
    kind: AcceleratorKind
    identity: tuple[str, ...]
    """Names by which the driver or /proc/cpuinfo may report the chip; see `is_named`."""
    precision: Precision
    """The precision that training uses there: the fastest one that the chip supports in hardware."""
    compute_capability: str | None = None
    rates: Rates | None
    achieved: tuple[AchievedRate, ...] = ()
    notes: str = ""

    def is_named(self, reported: str) -> bool:
        """Whether a driver's or the kernel's name means this chip: any identity, as whole words, in any case.

        Whole words because "NVIDIA L4" stands inside "NVIDIA L40S", and "Inferentia" inside "Inferentia2".
        """
        return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", reported, re.IGNORECASE) for name in self.identity)


# --- conf/instance: instance types ------------------------------------------------------------------------------


class Hardware(Sourced):
    """Shape of the box, as EC2's DescribeInstanceTypes words it."""

    arch: Literal["x86_64", "arm64"]
    vcpus: PositiveInt
    physical_cores: PositiveInt
    memory_gib: PositiveFloat
    sustained_ghz: PositiveFloat | None
    accelerator_count: Annotated[int, Field(ge=0)]
    accelerator_memory_gib: PositiveFloat | None
    """Memory of one accelerator."""
    neuron_cores: PositiveInt | None = None
    local_nvme_gb: Annotated[float, Field(ge=0)]
    ebs_baseline_mbit_per_s: PositiveFloat | None
    ebs_burst_mbit_per_s: PositiveFloat | None
    network_baseline_gbit_per_s: PositiveFloat | None

    @model_validator(mode="after")
    def _consistent(self) -> Hardware:
        if self.physical_cores > self.vcpus:
            raise ValueError(f"physical_cores ({self.physical_cores}) exceeds vcpus ({self.vcpus})")
        if (self.accelerator_count > 0) != (self.accelerator_memory_gib is not None):
            raise ValueError("accelerator_memory_gib must be given exactly when accelerator_count is above 0")
        return self


class Observed(Sourced):
    """What somebody saw on a running box of the type."""

    cpu_model: str | None
    memory_visible_mib: PositiveFloat | None
    """MemTotal of the guest: 2 to 7 % below the nominal memory."""
    coremark_iterations_per_second: PositiveFloat | None


class Offering(Sourced):
    """Where AWS sells the type, and which vCPU quota counts. A price is not an offer."""

    regions_offered: Annotated[int, Field(ge=0)]
    regions_scraped: PositiveInt
    us_east_1_zones: tuple[str, ...]
    usage_classes: tuple[Literal["on-demand", "spot", "capacity-block"], ...]
    quota_on_demand: str | None
    quota_spot: str | None


class Training(Sourced):
    """Can the type train at all? `no` and `retired` exclude it before any spend."""

    status: Literal["yes", "conditional", "no", "retired"]
    reason: Annotated[str, Field(min_length=1)]


class Burst(Sourced):
    """CPU credits of a burstable type."""

    baseline_utilization: Fraction | None
    surplus_usd_per_vcpu_hour: Annotated[Decimal, Field(ge=0)]


class Instance(Frozen):
    """conf/instance/<name>.yaml. With `detect: true` the shape is read off the host (conf/instance/local.yaml)."""

    name: Name
    detect: bool = False
    cpu: Chip | None
    accelerator: Chip | None
    hardware: Hardware | None
    observed: Observed | None
    offering: Offering | None
    training: Training
    burst: Burst | None = None
    notes: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Instance:
        if not self.detect:
            if self.cpu is None or self.hardware is None:
                raise ValueError("cpu and hardware are required unless detect is true")
            if (self.accelerator is not None) != (self.hardware.accelerator_count > 0):
                raise ValueError("accelerator must be given exactly when hardware.accelerator_count is above 0")
            if self.cpu.kind != "cpu":
                raise ValueError(f"cpu: {self.cpu.name} is a chip of kind {self.cpu.kind}; name the CPU's file")
            if self.accelerator is not None and self.accelerator.kind == "cpu":
                raise ValueError(f"accelerator: {self.accelerator.name} is a CPU; name the accelerator's file")
        return self

    @property
    def chip(self) -> Chip | None:
        """The chip that trains: the accelerator where there is one, the CPU otherwise."""
        return self.accelerator or self.cpu
