"""What a run holds, without MLflow: the metrics of a repeat and of a cell, and the types that queries return."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from yocobench.bench.measurement import HostActivity, Measurement, Outcome, RepeatResult, Source
from yocobench.bench.stability import stability
from yocobench.bench.statistics import harness_share, outliers, relative_half_width, summarize, throughput
from yocobench.receipt import Receipt
from yocobench.schema import Frozen

HELDOUT_PREFIX = "heldout_"
LONGEST_NAME = 240
"""Of a metric or parameter; MLflow takes 250, and a number may follow."""


class RecordedRepeat(Frozen):
    """One repeat that ended `ok`, as its run states it. Field names are metric names; null: not measured."""

    run_id: str
    cell_key: str
    receipt_sha256: str
    repeat: int
    source: Source
    recorded_at: str
    """ISO 8601, UTC."""
    samples_per_second: float
    samples_per_step: int
    num_steps: int
    """Timed steps."""
    warmup_steps: int = 0
    step_time_mean_s: float
    step_time_std_s: float | None = None
    step_time_relative_half_width: float | None = None
    """Half the 95 % interval of the mean step time, as a share of the mean (bench/statistics.py)."""
    setup_s: float | None = None
    """Import and build."""
    first_step_s: float | None = None
    data_wait_share: float | None = None
    steal_share: float | None = None
    other_share: float | None = None
    cpu_throttle_events: int | None = None
    gpu_throttle: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the repeat itself noted: steps that ran eagerly, tight memory, a loader that holds the steps up."""
    energy_j_per_million_samples: float | None = None
    """Of what is metered (tag energy_source)."""
    peak_memory_bytes: int | None = None
    final_loss: float | None = None
    flops_per_sample: float | None = None
    heldout: dict[str, float]

    @property
    def activity(self) -> HostActivity:
        """What else its host did."""
        return HostActivity(
            steal_share=self.steal_share,
            other_share=self.other_share,
            cpu_throttle_events=self.cpu_throttle_events,
            gpu_throttle=self.gpu_throttle,
        )


class RecordedCurve(Frozen):
    """One repeat, step by step."""

    step_times_s: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()


class RecordedOutcome(Frozen):
    """How a cell ended on one occasion."""

    run_id: str
    outcome: Outcome
    reason: str
    source: Source
    recorded_at: str
    """ISO 8601, UTC."""
    num_repeats: int = 0
    """Repeats that had begun; looked up where it was `killed` only, which may be the box's fault or the training's."""
    boot_s: float | None = None
    """Of a box that was launched for it: until it ran our script. Null: none was, or it does not say."""
    setup_s: float | None = None
    """Of that box: installing, and fetching code and data, until it trained."""


def receipt_sha256(receipt: Receipt) -> str:
    """Identity of a receipt, whether or not it has been logged (its `run_id` is left out)."""
    body = receipt.model_dump(mode="json", by_alias=True, exclude={"run_id"})
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def repeat_metrics(repeat: RepeatResult) -> dict[str, float]:
    """Scalars of one repeat, from which `compare` pools. What was not measured is left out."""
    values: dict[str, float | None] = {
        "import_s": repeat.import_s,
        "build_s": repeat.build_s,
        "first_step_s": repeat.first_step_s,
        "compile_s": repeat.compile_s,
        "samples_per_step": repeat.samples_per_step,
        "num_steps": len(repeat.step_times_s),
        "skipped_steps": repeat.skipped_steps,
        "scaling_efficiency": repeat.scaling_efficiency,
        "loader_samples_per_second_cold": repeat.loader_samples_per_second_cold,
        "loader_samples_per_second_warm": repeat.loader_samples_per_second_warm,
        "num_parameters": repeat.num_parameters,
        "flops_per_sample": repeat.flops_per_sample,
        "peak_memory_bytes": repeat.peak_memory_bytes,
        "available_memory_bytes": repeat.available_memory_bytes,
        "runtime_memory_bytes": repeat.runtime_memory_bytes,
        "load_average_start": repeat.load_average_start,
        "load_average_end": repeat.load_average_end,
        **_activity(repeat),
        **_energy(repeat),
        **_heldout(repeat.heldout),
    }
    if repeat.build_s is not None:
        values["setup_s"] = (repeat.import_s or 0.0) + repeat.build_s
    if repeat.losses:
        values["final_loss"] = float(np.mean(repeat.losses[-max(1, len(repeat.losses) // 10) :]))
    if repeat.step_times_s:
        values |= _step_metrics(repeat)
    return known(values)


def _step_metrics(repeat: RepeatResult) -> dict[str, float | None]:
    steps = np.asarray(repeat.step_times_s)
    return {
        "samples_per_second": None if repeat.samples_per_step is None else throughput(repeat),
        "step_time_mean_s": float(steps.mean()),
        "step_time_median_s": float(np.median(steps)),
        "step_time_p95_s": float(np.percentile(steps, 95)),
        "step_time_std_s": float(steps.std(ddof=1)) if len(steps) > 1 else None,
        "step_time_relative_half_width": relative_half_width(repeat.step_times_s),
        "step_outliers": outliers(repeat.step_times_s),
        "data_wait_share": sum(repeat.data_wait_s) / float(steps.sum()),
        "harness_share": harness_share(repeat),
    }


def _activity(repeat: RepeatResult) -> dict[str, float | None]:
    seen = repeat.activity or HostActivity()
    return {
        "warmup_steps": len(repeat.warmup_step_times_s),
        "steal_share": seen.steal_share,
        "other_share": seen.other_share,
        "cpu_throttle_events": seen.cpu_throttle_events,
        "gpu_power_capped": seen.gpu_power_capped,
    }


def _energy(repeat: RepeatResult) -> dict[str, float]:
    """Joules of the timed steps, by meter and in all; per million samples, which is what compares."""
    if not repeat.energy_j or repeat.samples_per_step is None or not repeat.step_times_s:
        return {}
    total = sum(repeat.energy_j.values())
    per_million = total / (repeat.samples_per_step * len(repeat.step_times_s)) * 1e6
    parts = {f"energy_{meter}_j": joules for meter, joules in repeat.energy_j.items()}
    return {**parts, "energy_j": total, "energy_j_per_million_samples": per_million}


def repeat_tags(repeat: RepeatResult, target: float, burstable: bool) -> dict[str, str]:
    """The verdict on its steps, the reasons (bench/stability.py), what slowed its GPU, what it noted (a line each),
    what metered its energy; none where unknown. `burstable`: its type has CPU credits."""
    found = stability(repeat.step_times_s, repeat.activity, target, burstable)
    said = {} if found is None else {"stability": found.verdict, "stability_reasons": "; ".join(found.reasons)}
    throttle = repeat.activity.gpu_throttle if repeat.activity else ()
    noted = {"warnings": "\n".join(repeat.warnings), "gpu_throttle": "\n".join(throttle)}
    noted["energy_source"] = "+".join(sorted(repeat.energy_j))
    return said | {name: text for name, text in noted.items() if text}


def cell_metrics(measurement: Measurement) -> dict[str, float]:
    """Aggregates of a cell: its summary, mean held-out quality over the repeats that ended ok, billed phases."""
    good = [repeat.heldout for repeat in measurement.repeats if repeat.outcome == "ok"]
    names = {name for heldout in good for name in heldout}
    means = {name: float(np.mean([h[name] for h in good if name in h])) for name in names}
    leg = [repeat.scaling_efficiency for repeat in measurement.repeats if repeat.scaling_efficiency is not None]
    scaling = {"scaling_efficiency": leg[0] if leg else None}
    phases = {f"phase_{name}_s": value for name, value in measurement.phases_s.items()}
    return known({**summarize(measurement).model_dump(), **_heldout(means), **scaling, **phases})


def known(values: Mapping[str, float | None]) -> dict[str, float]:
    """Drop what is unknown. NaN and infinity are no measurement either: some stores cannot hold them."""
    return {name: float(v) for name, v in values.items() if v is not None and math.isfinite(v)}


def accepted(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same under names that MLflow takes: a user's model may call a metric mAP@0.5, or an argument what it likes.

    Other characters become `_`, long names are cut (mlflow.utils.validation); where two names fall together, numbered.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        plain = re.sub(r"[^\w.\-: /]", "_", name)[:LONGEST_NAME]
        if posixpath.normpath(plain) != plain or plain.startswith(("/", "..")):  # they may be taken for files
            plain = plain.replace("/", "_")
        free, number = plain, 2
        while free in found:
            free, number = f"{plain}_{number}", number + 1
        found[free] = value
    return found


def _heldout(values: Mapping[str, float]) -> dict[str, float]:
    """`heldout_loss`, `heldout_initial_loss`: the workload's own prefix, if it has one, is not said twice."""
    named = {HELDOUT_PREFIX + name.replace(HELDOUT_PREFIX, ""): value for name, value in values.items()}
    return accepted(dict(sorted(named.items())))  # the same names in every run
