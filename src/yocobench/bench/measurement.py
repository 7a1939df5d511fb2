"""What measuring a cell yields: one RepeatResult per process, one Measurement per cell. No torch here.

Outcomes are data, not errors: a run that ran out of memory is an answer about the instance type.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from yocobench.schema import AcceleratorKind, Frozen, Precision

Outcome = Literal[
    "ok",
    "unmeasured",  # this host is not that instance type
    "excluded",  # the type cannot do it: retired, cannot train, not offered
    "does_not_fit",  # not even micro-batch 1 fits in memory
    "out_of_memory",  # it ran out while running
    "diverged",  # NaN or infinite loss
    "timeout",
    "interrupted",  # Ctrl-C or SIGTERM
    "killed",  # the process died of a signal that nobody here sent
    "unavailable",  # no capacity, quota or image: could not be launched
]
Source = Literal["measured", "replayed", "extrapolated", "estimated"]


class Detected(Frozen):
    """The host as it describes itself (bench/hardware.py)."""

    host_id: str
    """Salted digest of the machine's identity: tells hosts apart, says nothing else about them."""
    instance_type: str | None
    """From the EC2 instance metadata service; null off EC2."""
    arch: Literal["x86_64", "arm64"]
    cpu_model: str
    cpu_flags: tuple[str, ...]
    """Only the flags that matter for speed: avx2, avx512f, avx512_bf16, amx_bf16, sve2, bf16 ..."""
    vcpus: int
    physical_cores: int
    memory_bytes: int
    kind: AcceleratorKind
    accelerator_name: str | None
    accelerator_count: int
    accelerator_memory_bytes: int | None
    """Of one."""
    neuron_cores: int | None = None
    """Of all Neuron devices together."""
    compute_capability: str | None = None
    """Of an NVIDIA device, e.g. "8.6"."""


class HostActivity(Frozen):
    """What the host did during the timed steps besides training (bench/activity.py); null: it does not say."""

    steal_share: float | None = None
    """Of the host's CPU time, what its hypervisor gave to other guests, or withheld for want of CPU credits."""
    other_share: float | None = None
    """Of the host's CPU time, what other processes used."""
    cpu_throttle_events: int | None = None
    """Times that a core was slowed for heat."""
    gpu_throttle: tuple[str, ...] = ()
    """Why a GPU ran below the clock that was asked for, other than its own power limit, where NVML said so."""
    gpu_power_capped: bool | None = None
    """Did the board's power limit hold a GPU's clock down at some time?"""


class RepeatResult(Frozen):
    """One training execution in a process of its own.

    The clock of a timed step runs from before the batch is fetched until the device has finished the optimiser step.
    """

    repeat: int
    outcome: Outcome
    reason: str = ""
    started_at: str
    """ISO 8601, UTC."""
    import_s: float | None = None
    build_s: float | None = None
    """Model, optimiser and data loader made."""
    first_step_s: float | None = None
    """Includes compilation and lazy initialisation."""
    compiled: bool | None = None
    """Whether the steps ran through torch.compile; `warnings` say why not where it was wanted."""
    compile_s: float | None = None
    """The part of the first step that compiling took: short where an earlier run left the code in the cache."""
    warmup_step_times_s: tuple[float, ...] = ()
    warmup_settled: bool | None = None
    """Was the step time stationary when warm-up ended, or had it reached its cap? Null: a fixed number of steps."""
    step_times_s: tuple[float, ...] = ()
    """Every timed step, data loading inside."""
    data_wait_s: tuple[float, ...] = ()
    """The part of each timed step spent waiting for the batch."""
    harness_s: float | None = None
    """Wall time of the measuring loop outside the timed steps."""
    loader_samples_per_second_cold: float | None = None
    """Of the loader alone, files read from disk; null: not measured, or the kernel kept them in memory."""
    loader_samples_per_second_warm: float | None = None
    """Of the loader alone, files in memory."""
    losses: tuple[float, ...] = ()
    """Training loss per timed step (mean over the global batch)."""
    skipped_steps: int | None = None
    """Steps, warm-up included, whose update loss scaling (fp16) left out because a gradient was not finite."""
    samples_per_step: int | None = None
    """Samples (tokens or images) per optimiser step."""
    micro_batch_size: int | None = None
    accumulation_steps: int | None = None
    precision: Precision | None = None
    threads: int | None = None
    processes: int | None = None
    scaling_efficiency: float | None = None
    """Throughput over `processes` times that of one process stepping alone; null where that was not measured."""
    num_parameters: int | None = None
    flops_per_sample: float | None = None
    """Training FLOPs (forward and backward) per sample; null where the workload states no formula."""
    peak_memory_bytes: int | None = None
    """Of the device that trains: resident set for a CPU, allocated for an accelerator."""
    available_memory_bytes: int | None = None
    """Of the same device, before the model was built."""
    runtime_memory_bytes: int | None = None
    """What the process itself held of it then: interpreter and libraries on a CPU, nothing on an accelerator."""
    energy_j: dict[str, float] = {}
    """Of the timed steps, by meter: `nvml`, `rapl` (bench/energy.py). Empty: nothing here is metered."""
    heldout: dict[str, float] = {}
    """Quality on the held-out split, before (`initial_*`) and after training."""
    load_average_start: float | None = None
    load_average_end: float | None = None
    activity: HostActivity | None = None
    warnings: tuple[str, ...] = ()


class SystemSample(Frozen):
    """One reading of the measuring machine. Keys as MLflow's system metrics are named, without the `system/`."""

    timestamp_ms: int
    values: dict[str, float]


class Measurement(Frozen):
    """What a launcher returns for a cell."""

    outcome: Outcome
    """`ok` when at least one repeat is; otherwise the outcome of the last repeat, or why none ran."""
    reason: str = ""
    source: Source
    detected: Detected | None
    """Null where nothing ran."""
    repeats: tuple[RepeatResult, ...] = ()
    system_samples: tuple[SystemSample, ...] = ()
    versions: dict[str, str] = {}
    phases_s: dict[str, float] = Field(default={})
    """Billed phases around the repeats, where the launcher knows them: boot, setup, data."""
    extra: dict[str, Any] = {}
