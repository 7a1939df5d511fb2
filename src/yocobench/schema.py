"""The typed form of params.yaml and of every file under conf/: frozen, unknown keys refused.

Units stand in the names. Unknown facts are null, never 0. Every section that states facts carries the
`source` it was read in and the date (`as_of`) at which that source was true.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
AcceleratorKind = Literal["cpu", "cuda", "neuron"]
DataKind = Literal["text", "images"]
UsageClass = Literal["on-demand", "spot"]
ImageFamily = Literal["cpu-x86_64", "cpu-arm64", "cuda", "neuron"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Fraction = Annotated[float, Field(gt=0, le=1)]


class Frozen(BaseModel):
    """Base of every model here: immutable, and a key that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())


class Sourced(Frozen):
    """A group of facts that one source states."""

    source: Annotated[str, Field(min_length=8)]
    as_of: dt.date


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
    surplus_usd_per_vcpu_hour: Decimal


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
        return self

    @property
    def chip(self) -> Chip | None:
        """The chip that trains: the accelerator where there is one, the CPU otherwise."""
        return self.accelerator or self.cpu


# --- conf/workload, conf/subset, conf/launcher ------------------------------------------------------------------


class WorkloadConfig(Frozen):
    """conf/workload/<name>.yaml: a model to train. `args` go to the class that `_target_` names."""

    name: Name
    target: str = Field(alias="_target_")
    data: DataKind | None
    """Which dataset it reads; null: it brings its own."""
    sample_unit: Literal["token", "image", "sample"]
    global_batch_size: PositiveInt
    """Items (sequences or images) per optimiser step; the same on every instance type."""
    micro_batch_size: PositiveInt | None = None
    """Items per forward pass; null: the largest power-of-two split of the global batch that fits in memory."""
    compile: bool = False
    """torch.compile the model; a host without a C++ compiler runs eagerly and says so."""
    channels_last: bool = False
    """Keep images and convolution weights in NHWC memory order."""
    args: dict[str, Any] = {}


class Subset(Frozen):
    """conf/subset/<name>.yaml: a slice of the training split: a fraction, or so many items."""

    name: Name
    fraction: Fraction | None = None
    items: dict[DataKind, PositiveInt] | None = None
    """Tokens for text, images for images."""

    @model_validator(mode="after")
    def _one(self) -> Subset:
        if (self.fraction is None) == (self.items is None):
            raise ValueError("give exactly one of fraction and items")
        return self


class LauncherConfig(Frozen):
    """conf/launcher/<name>.yaml: where a cell runs."""

    name: Name
    target: str = Field(alias="_target_")
    args: dict[str, Any] = {}


class MachineImage(Sourced):
    """One entry of conf/images.yaml: the image that boxes of an accelerator family start from."""

    path: Annotated[str, Field(pattern=r"^/aws/service/[\w./-]+$")]
    """SSM public parameter whose value is the image id in the region that is asked."""
    python: Annotated[str, Field(pattern=r"^/")] | None
    """Interpreter with the family's framework; null where the image brings none."""


class MachineImages(Frozen):
    """conf/images.yaml."""

    families: dict[ImageFamily, MachineImage]

    @model_validator(mode="after")
    def _complete(self) -> MachineImages:
        missing = sorted(set(get_args(ImageFamily)) - set(self.families))
        if missing:
            raise ValueError(f"no image for {', '.join(missing)}")
        return self


# --- params.yaml: the study -------------------------------------------------------------------------------------


class Protocol(Frozen):
    """How a cell is measured. Part of the cell's key: other protocols are other measurements."""

    repeats: PositiveInt
    warmup_steps: PositiveInt
    min_steps: Annotated[int, Field(ge=3)]
    max_steps: PositiveInt
    max_measure_s: PositiveFloat
    """Timed seconds of a repeat after which no step is added."""
    target_relative_half_width: Fraction
    """Steps are added until the 95 % interval of the mean step time is within this share of the mean."""
    timeout_s: PositiveFloat
    """Wall clock of a repeat, set-up included."""
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _ordered(self) -> Protocol:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps ({self.min_steps}) exceeds max_steps ({self.max_steps})")
        return self


class Job(Frozen):
    """The full training that the user will do on the chosen instance type."""

    tokens: PositiveFloat
    images: PositiveFloat
    samples: PositiveFloat = 1e6
    deadline_h: PositiveFloat | None
    budget_usd: Decimal | None = Field(gt=0)

    def num_samples(self, sample_unit: str) -> float:
        """Length of the job in samples of that unit."""
        return float({"token": self.tokens, "image": self.images, "sample": self.samples}[sample_unit])


class Restrict(Frozen):
    """Candidates that may be chosen: only CPU types, only these names (empty: all of the study)."""

    cpu_only: bool = False
    instances: tuple[Name, ...] = ()


class Assume(Frozen):
    """What no run has measured yet: used for every candidate until a run on the type itself says better."""

    boot_s: Annotated[float, Field(ge=0)]
    """From RunInstances to a shell."""
    setup_s: Annotated[float, Field(ge=0)]
    """Installing the environment and fetching code and data."""
    neuron_compile_s: Annotated[float, Field(ge=0)]
    """First compilation of a training step for Trainium."""
    spread: Annotated[float, Field(gt=1)]
    """The truth is taken to lie, with 90 %, between each figure divided and multiplied by this."""
    volume_gib: PositiveFloat
    """EBS gp3 volume that the job keeps."""
    interruption_overhead: Annotated[float, Field(ge=0)]
    """Training done again after spot interruptions, as a share; counted on spot prices only."""


class TextData(Frozen):
    """Text dataset. `source`: null for the pinned packages' own source, else a file, folder or s3:// URI."""

    source: str | None
    vocab_size: Annotated[int, Field(ge=300, le=65535)]
    heldout_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    seed: Annotated[int, Field(ge=0)]


class ImageData(Frozen):
    """Image dataset. `source`: null for rendered images, else a COCO folder (JPEG files and an instances JSON)."""

    source: str | None
    num_images: PositiveInt
    image_size_px: Annotated[int, Field(ge=64)]
    heldout_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    seed: Annotated[int, Field(ge=0)]


class StaleAfter(Frozen):
    """Age in days beyond which the report calls a price stale, by usage class."""

    on_demand: PositiveInt = 90
    spot: PositiveInt = 7

    def days(self, usage_class: UsageClass) -> int:
        """The limit of that class."""
        return self.spot if usage_class == "spot" else self.on_demand


class DataConfig(Frozen):
    """params.yaml: data."""

    text: TextData
    images: ImageData


class Study(Frozen):
    """params.yaml: what is chosen; conf/ describes it."""

    workloads: Annotated[tuple[Name, ...], Field(min_length=1)]
    subsets: Annotated[tuple[Name, ...], Field(min_length=1)]
    instances: Annotated[tuple[Name, ...], Field(min_length=1)]
    baseline: Name
    launch: Name
    region: str
    usage_class: UsageClass
    price_stale_after_days: StaleAfter = StaleAfter()
    objective: str
    job: Job
    restrict: Restrict
    assume: Assume
    protocol: Protocol
    data: DataConfig


class Config(Study):
    """The study with one cell's parts composed in: what `python -m yocobench.train` works on."""

    workload: WorkloadConfig
    subset: Subset
    instance: Instance
    launcher: LauncherConfig
    receipt: str | None
    """Where the receipt goes; null: under mlruns/receipts/, by cell key (dvc.yaml names the ones that DVC owns)."""


# --- a cell's work order ----------------------------------------------------------------------------------------


class CellSpec(Frozen):
    """(workload, subset, instance) with everything that can change its measured number, and nothing else."""

    workload: WorkloadConfig
    subset: Name
    dataset_path: str | None
    """Folder of the dataset, relative to the repository root."""
    dataset_items: int | None
    """How many items of the training split the subset takes."""
    dataset_md5: str | None
    instance: Name
    kind: AcceleratorKind
    precision: Precision
    accelerator_count: int
    micro_batch_size: PositiveInt
    accumulation_steps: PositiveInt
    protocol: Protocol
    code_md5: str
    """Digest of src/yocobench/bench and, for a workload from elsewhere, of its module."""
    host_id: str | None
    """Set for a detected instance only: another laptop is another cell."""

    @property
    def key(self) -> str:
        """16 hex digits: equal keys are equal work, comparable and poolable."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """Human name of the cell."""
        return f"{self.workload.name}-{self.subset}-{self.instance}"
