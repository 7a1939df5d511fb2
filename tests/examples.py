"""Made-up measurements with numbers that can be checked by hand."""

from typing import Any

from yocobench.bench.measurement import Detected, Measurement, Outcome, RepeatResult, Source, SystemSample
from yocobench.receipt import Provenance, Receipt
from yocobench.schema import CellSpec, Protocol, WorkloadConfig


def repeat(number: int = 0, step_time_s: float = 0.5, steps: int = 4, **changes: Any) -> RepeatResult:
    """A repeat of equal steps of 100 samples each, a tenth of the time spent waiting for data."""
    fields: dict[str, Any] = {
        "repeat": number,
        "outcome": "ok",
        "started_at": "2026-01-02T03:04:05+00:00",
        "import_s": 1.0,
        "build_s": 2.0,
        "first_step_s": 3.0,
        "warmup_step_times_s": (1.0, 1.0),
        "step_times_s": (step_time_s,) * steps,
        "data_wait_s": (step_time_s / 10,) * steps,
        "losses": tuple(float(steps - i) for i in range(steps)),
        "samples_per_step": 100,
        "threads": 2,
        "flops_per_sample": 5.0,
        "peak_memory_bytes": 1_000_000,
        "heldout": {"initial_loss": 9.0, "loss": 4.0 + number},
    }
    return RepeatResult(**{**fields, **changes})


def spec(instance: str = "local", size: str = "tiny") -> CellSpec:
    """A cell of yoco-lm."""
    return CellSpec(
        workload=WorkloadConfig(
            name="yoco-lm",
            target="somewhere.Model",
            data="text",
            sample_unit="token",
            global_batch_size=8,
            args={"size": size, "optimizer": {"lr": 0.001}},
        ),
        subset="smoke",
        dataset_path="data/text",
        dataset_items=1000,
        dataset_md5="0123456789abcdef0123456789abcdef",
        instance=instance,
        kind="cpu",
        precision="fp32",
        accelerator_count=0,
        micro_batch_size=4,
        accumulation_steps=2,
        protocol=Protocol(
            repeats=2,
            warmup_steps=2,
            min_steps=3,
            max_steps=4,
            max_measure_s=10,
            target_relative_half_width=0.05,
            timeout_s=60,
            seed=0,
        ),
        code_md5="c0de",
        host_id=None,
    )


def receipt(
    repeats: tuple[RepeatResult, ...] | None = None,
    instance: str = "local",
    size: str = "tiny",
    outcome: Outcome = "ok",
    reason: str = "",
    source: Source = "measured",
    recorded_at: str = "2026-01-02T03:05:00+00:00",
) -> Receipt:
    """Two repeats, at 200 and at 400 samples per second, unless others are given."""
    cell = spec(instance, size)
    return Receipt(
        cell_key=cell.key,
        spec=cell,
        provenance=Provenance(git_commit="a" * 40, git_dirty=False, launcher="local", sweep="sweep-1"),
        measurement=Measurement(
            outcome=outcome,
            reason=reason,
            source=source,
            detected=Detected(
                host_id="h0st",
                instance_type=None,
                arch="x86_64",
                cpu_model="A CPU",
                cpu_flags=("avx2",),
                vcpus=2,
                physical_cores=1,
                memory_bytes=8_000_000_000,
                kind="cpu",
                accelerator_name=None,
                accelerator_count=0,
                accelerator_memory_bytes=None,
            ),
            repeats=(repeat(0, 0.5), repeat(1, 0.25)) if repeats is None else repeats,
            system_samples=(SystemSample(timestamp_ms=1_767_323_045_000, values={"cpu_utilization_percentage": 75.0}),),
            versions={"torch": "2.13.0"},
            phases_s={"data": 7.0},
        ),
        recorded_at=recorded_at,
    )
