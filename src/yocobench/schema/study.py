"""params.yaml and the files that its names stand for: workloads, subsets, launchers, images."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from yocobench import nearest
from yocobench.schema.base import DataKind, Fraction, Frozen, ImageFamily, Name, Precision, Sourced, Stated, UsageClass
from yocobench.schema.catalogue import Instance

# --- conf/workload, conf/subset, conf/launcher ------------------------------------------------------------------


class WorkloadConfig(Stated):
    """conf/workload/<name>.yaml: a model to train. `args` go to the class that `_target_` names."""

    name: Name
    target: str = Field(alias="_target_")
    data: DataKind | None
    """Which dataset it reads; null: it brings its own."""
    sample_unit: Literal["token", "image", "sample"]
    global_batch_size: PositiveInt
    """Items (sequences or images) per optimiser step; the same on every instance type."""
    micro_batch_size: PositiveInt | None = None
    """Items per forward pass; null: the largest split of the global batch that fits in memory."""
    threads: PositiveInt | None = None
    """CPU threads of a training process; null: one for each physical core, shared between the box's processes."""
    processes: PositiveInt | None = None
    """Training processes, over all boxes; null: one for each accelerator (NeuronCore) that the global batch can be
    shared with evenly, one on a CPU."""
    compile: bool | Literal["auto"] = "auto"
    """torch.compile the loss with the model in it. auto: where the host has what it takes (a C++ compiler for a CPU,
    Triton for a GPU); a host that cannot, or a model that does not compile, runs eagerly and the run says why."""
    precision: Precision | None = None
    """What products run in; null: the fastest that the chip has, by which a type is judged. A run in another one is
    another cell; in fp32 it is what loss curves are held against (selection/equal_work.py)."""
    channels_last: bool = False
    """Keep images and convolution weights in NHWC memory order."""
    args: dict[str, Any] = {}


class Subset(Stated):
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
    """conf/launcher/<name>.yaml: where a cell runs. Every further key there goes to the class that `_target_` names."""

    model_config = ConfigDict(extra="allow")

    name: Name
    target: str = Field(alias="_target_")

    @property
    def args(self) -> dict[str, Any]:
        """The further keys; the class checks them."""
        return self.model_extra or {}


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


class Protocol(Stated):
    """How a cell is measured. Part of the cell's key: other protocols are other measurements."""

    repeats: PositiveInt
    warmup_steps: PositiveInt
    """Fewest steps before the timed ones."""
    max_warmup_s: PositiveFloat | None = None
    """More are taken until the step time is stationary, for so many seconds at most; null: exactly warmup_steps."""
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


Samples = Annotated[float, Field(ge=1, le=1e18)]
"""A thousand times what the longest training of today takes; far beyond it a bill to the cent has too many digits."""


class Job(Stated):
    """The full training that the user will do on the chosen instance type."""

    tokens: Samples
    images: Samples
    samples: Samples = 1e6
    deadline_h: Annotated[float, Field(ge=1e-6, le=1e9)] | None
    budget_usd: Annotated[Decimal, Field(ge=Decimal("0.01"), le=10**12)] | None

    def num_samples(self, sample_unit: str) -> float:
        """Length of the job in samples of that unit."""
        return float({"token": self.tokens, "image": self.images, "sample": self.samples}[sample_unit])


class Restrict(Frozen):
    """Candidates that may be chosen: only CPU types, only these names (empty: all of the study)."""

    cpu_only: bool = False
    instances: tuple[Name, ...] = ()


Seconds = Annotated[float, Field(ge=0, le=1e6)]
"""A million are twelve days: more is a slip of the pen, and far more has no bill that can be printed."""


class Assume(Stated):
    """What no run has measured yet: used for every candidate until a run on the type itself says better.

    Boot and set-up are measured by a box of `launcher=ec2`, which is watched from its launch on.
    """

    boot_s: Seconds
    """From RunInstances to a shell."""
    setup_s: Seconds
    """Installing the environment and fetching code and data."""
    compile_s: Seconds
    """First step of a model that torch.compile compiles anew, as on a new box; not for Trainium."""
    neuron_compile_s: Seconds
    """First compilation of a training step for Trainium."""
    spread: Annotated[float, Field(gt=1, le=1000)]
    """The truth is taken to lie, with 90 %, between each figure divided and multiplied by this."""
    volume_gib: Annotated[float, Field(gt=0, le=65536)]
    """EBS gp3 volume that the job keeps."""
    interruption_overhead: Annotated[float, Field(ge=0, le=100)]
    """Training done again after spot interruptions, as a share; counted on spot prices only."""


class TextData(Stated):
    """Text dataset. `source`: null for the pinned packages' own source, else a file, folder or s3:// URI."""

    source: str | None
    vocab_size: Annotated[int, Field(ge=300, le=65535)]
    heldout_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    seed: Annotated[int, Field(ge=0)]


class ImageData(Stated):
    """Image dataset. `source`: null for rendered images, else a COCO folder (JPEG files and an instances JSON)."""

    source: str | None
    num_images: PositiveInt
    image_size_px: Annotated[int, Field(ge=64)]
    heldout_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    seed: Annotated[int, Field(ge=0)]


class StaleAfter(Stated):
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

    @model_validator(mode="after")
    def _named(self) -> Study:
        """A name given twice would be trained twice; one that is restricted to must be a candidate."""
        for key, names in (("workloads", self.workloads), ("subsets", self.subsets), ("instances", self.instances)):
            if doubles := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{key}: {', '.join(doubles)} given more than once; name each once")
        if unknown := [name for name in self.restrict.instances if name not in self.instances]:
            meant = nearest.among(unknown[0], self.instances)
            raise ValueError(f"restrict.instances: {unknown[0]!r} is not among instances{meant}")
        return self


class Tune(Stated):
    """How long `python -m yocobench.tune` looks for the fastest configuration."""

    max_s: PositiveFloat
    """Wall clock of all trials together."""
    trial_s: PositiveFloat
    """Timed seconds of one trial, at most."""
    seed: Annotated[int, Field(ge=0)]


class Config(Study):
    """The study with one cell's parts composed in: what `python -m yocobench.train` works on."""

    workload: WorkloadConfig
    subset: Subset
    instance: Instance
    launcher: LauncherConfig
    force: bool
    """Launch what costs money even where the decision on file says that it cannot win."""
    output: Literal["text", "json"]
    """json: `compare` ends with one line of JSON, laid out as results/decision.json."""
    tune: Tune
    receipt: str | None
    """Where the receipt goes; null: under mlruns/receipts/, by cell key (dvc.yaml names the ones that DVC owns)."""
