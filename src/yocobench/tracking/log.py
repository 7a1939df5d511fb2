"""Writing runs: a parent per cell, a child per repeat. Decisions are written by decisions.py.

Through the client and never MLflow's fluent functions: those keep a global active run and obey stray variables.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, ViewType

from yocobench.bench.measurement import Outcome, RepeatResult
from yocobench.receipt import Receipt, write
from yocobench.schema import CellSpec
from yocobench.tracking import query, records, sweeps

if TYPE_CHECKING:
    from yocobench.tracking.store import Store

ENTITIES_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
"""MLflow's limits for one call."""


def log_receipt(store: Store, receipt: Receipt, costs: Mapping[str, float], artifacts: Sequence[Path]) -> str:
    """Log the cell and its repeats; the parent's run id. See Store.log_receipt.

    The parent ends last: a parent that still runs is one that a crash left half-written.
    """
    digest = records.receipt_sha256(receipt)
    # Deleted runs count as logged: somebody deleted them on purpose, and restoring must not undo that.
    earlier = query.runs(store, f"tags.receipt_sha256 = '{digest}'", ViewType.ALL)
    # Trials of a tuning have levels of their own: what reads cells and repeats never sees them.
    cell, part = ("cell", "repeat") if receipt.provenance.purpose == "measure" else ("trial", "trial-repeat")
    whole = [r for r in earlier if r.data.tags["level"] == cell and r.info.status != "RUNNING"]
    if whole:
        return str(whole[0].info.run_id)
    for leftover in earlier:
        if leftover.info.lifecycle_stage == "active":
            store.client.delete_run(leftover.info.run_id)

    tags, params, measurement = _tags(receipt) | {"receipt_sha256": digest}, _params(receipt.spec), receipt.measurement
    end_ms = _milliseconds(receipt.recorded_at)
    start_ms = min([end_ms, *(_milliseconds(repeat.started_at) for repeat in measurement.repeats)])
    outcome = {"level": cell, "outcome": measurement.outcome, "reason": measurement.reason}
    sweep = receipt.provenance.sweep
    above = {} if sweep is None else {"mlflow.parentRunId": sweeps.parent(store, sweep, start_ms, end_ms)}
    run_id = _create(store, receipt.spec.label, start_ms, tags | outcome | above)
    metrics = records.cell_metrics(measurement) | records.known(costs)
    _batch(store, run_id, [Metric(name, value, end_ms, 0) for name, value in metrics.items()], params)
    _batch(store, run_id, list(_system_metrics(receipt)))
    _log_dataset(store, run_id, receipt.spec)
    _log_files(store, run_id, receipt, artifacts)
    for repeat in measurement.repeats:
        child = {"mlflow.parentRunId": run_id, "level": part, "outcome": repeat.outcome, "reason": repeat.reason}
        target = receipt.spec.protocol.target_relative_half_width
        child |= records.repeat_tags(repeat, target, receipt.burstable)
        _log_repeat(store, repeat, f"{receipt.spec.label} #{repeat.repeat}", tags | child, params)
    store.client.set_terminated(run_id, _status(measurement.outcome), end_ms)
    return run_id


def _log_repeat(
    store: Store,
    repeat: RepeatResult,
    name: str,
    tags: dict[str, str],
    params: dict[str, str],
) -> None:
    start_ms = _milliseconds(repeat.started_at)
    before_s = (repeat.import_s or 0.0) + (repeat.build_s or 0.0) + (repeat.first_step_s or 0.0)
    before_s += sum(repeat.warmup_step_times_s)
    ends_ms = [start_ms + int(1000 * (before_s + elapsed)) for elapsed in accumulate(repeat.step_times_s)]
    end_ms = ends_ms[-1] if ends_ms else start_ms + int(1000 * before_s)
    run_id = _create(store, name, start_ms, tags | {"repeat": str(repeat.repeat)})
    metrics = [Metric(key, value, end_ms, 0) for key, value in records.repeat_metrics(repeat).items()]
    series = {"step_time_s": repeat.step_times_s, "data_wait_s": repeat.data_wait_s, "loss": repeat.losses}
    for key, values in series.items():
        metrics += [Metric(key, value, at, step) for step, (value, at) in enumerate(zip(values, ends_ms, strict=False))]
    own = {"threads": repeat.threads, "compiled": repeat.compiled, "repeat": repeat.repeat}
    _batch(store, run_id, metrics, params | {k: str(v) for k, v in own.items() if v is not None})
    store.client.set_terminated(run_id, _status(repeat.outcome), end_ms)


def _tags(receipt: Receipt) -> dict[str, str]:
    """What a cell and its repeats share."""
    spec, provenance, measurement = receipt.spec, receipt.provenance, receipt.measurement
    detected = measurement.detected
    tags: dict[str, object] = {
        "cell_key": receipt.cell_key,
        "workload": spec.workload.name,
        "subset": spec.subset,
        "instance": spec.instance,
        "source": measurement.source,
        "recorded_at": receipt.recorded_at,
        "dataset_md5": spec.dataset_md5,
        "code_md5": spec.code_md5,
        "git_commit": provenance.git_commit,
        "git_dirty": provenance.git_dirty,
        "mlflow.source.git.commit": provenance.git_commit,
        "launcher": provenance.launcher,
        "sweep": provenance.sweep,
        "purpose": provenance.purpose,
        "tuned": provenance.tuned,
    }
    if detected is not None:
        tags |= {
            "cpu_model": detected.cpu_model,
            "accelerator_name": detected.accelerator_name,
            "instance_type": detected.instance_type,
            "host_id": detected.host_id,
        }
    tags |= {f"version_{name}": version for name, version in measurement.versions.items()}
    return {key: str(value) for key, value in tags.items() if value is not None}


def _params(spec: CellSpec) -> dict[str, str]:
    params: dict[str, object] = {
        "workload": spec.workload.name,
        "subset": spec.subset,
        "instance": spec.instance,
        "dataset_items": spec.dataset_items,
        "kind": spec.kind,
        "precision": spec.precision,
        "accelerator_count": spec.accelerator_count,
        "processes": spec.processes,
        "sharded": spec.sharded,
        "global_batch_size": spec.workload.global_batch_size,
        "micro_batch_size": spec.micro_batch_size,
        "accumulation_steps": spec.accumulation_steps,
        "threads": spec.workload.threads,
        "compile": spec.workload.compile,
        **{f"protocol_{name}": value for name, value in spec.protocol.model_dump().items()},
        **records.accepted(dict(_flat("arg", "_", spec.workload.args))),
    }
    return {key: str(value) for key, value in params.items() if value is not None}


def _flat(name: str, joint: str, values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """`arg_size`, and `arg_optimizer.lr` for what is nested."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{name}{joint}{key}", ".", value)
        else:
            yield f"{name}{joint}{key}", value


def _system_metrics(receipt: Receipt) -> Iterator[Metric]:
    """Named as MLflow's own sampler names them: the UI's page of system metrics shows them."""
    for step, sample in enumerate(receipt.measurement.system_samples):
        for name, value in sample.values.items():
            yield Metric(f"system/{name}", value, sample.timestamp_ms, step)


def _log_dataset(store: Store, run_id: str, spec: CellSpec) -> None:
    """The dataset as an MLflow input: name, md5 and relative path; the data are not read."""
    if spec.dataset_path is None or spec.dataset_md5 is None:
        return
    source = json.dumps({"uri": spec.dataset_path})
    dataset = Dataset(spec.workload.data or spec.dataset_path, spec.dataset_md5, source_type="local", source=source)
    store.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_files(store: Store, run_id: str, receipt: Receipt, artifacts: Sequence[Path]) -> None:
    """receipt.json and cell.json (the resolved configuration), and what the caller adds."""
    with tempfile.TemporaryDirectory() as folder:
        write(receipt.model_copy(update={"run_id": run_id}), Path(folder) / "receipt.json")
        store.client.log_artifact(run_id, str(Path(folder) / "receipt.json"))
    store.client.log_dict(run_id, receipt.spec.model_dump(mode="json", by_alias=True), "cell.json")
    for path in artifacts:
        store.client.log_artifact(run_id, str(path))


def _create(store: Store, name: str, start_ms: int, tags: Mapping[str, str]) -> str:
    return str(
        store.client.create_run(store.experiment_id, start_time=start_ms, tags=dict(tags), run_name=name).info.run_id
    )


def _batch(store: Store, run_id: str, metrics: Sequence[Metric], params: Mapping[str, str] | None = None) -> None:
    """Log in as few calls as MLflow's limits allow."""
    entries = [Param(key, value) for key, value in (params or {}).items()]
    for start in range(0, len(entries), PARAMS_PER_BATCH):
        store.client.log_batch(run_id, params=entries[start : start + PARAMS_PER_BATCH], synchronous=True)
    for start in range(0, len(metrics), ENTITIES_PER_BATCH):
        store.client.log_batch(run_id, metrics=metrics[start : start + ENTITIES_PER_BATCH], synchronous=True)


def _status(outcome: Outcome) -> str:
    if outcome == "ok":
        return "FINISHED"
    return "KILLED" if outcome in ("interrupted", "killed") else "FAILED"


def _milliseconds(iso: str) -> int:
    return int(dt.datetime.fromisoformat(iso).timestamp() * 1000)
