"""Writing decisions: a run each, today's answers as the experiment's description, the chosen types in the registry.

A later job reads the chosen type in two lines (docs/mlflow.md). The registry keeps the history: a version per decision,
and the alias `chosen` on the one that stands.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from yocobench.tracking import query, records

if TYPE_CHECKING:
    from yocobench.tracking.store import Store

ALIAS = "chosen"
REGISTERED = "yocobench-{workload}"
DESCRIPTION = (
    "The instance type to train {workload} on. The version with the alias `chosen` stands; its tags name the type "
    "and how sure that is. Each version comes from a decision run; there is no model file behind it."
)


def log_decision(
    store: Store,
    decision: Mapping[str, Any],
    files: Sequence[Path],
    *,
    workload: str,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> str:
    """Log a decision; the run id. See Store.log_decision."""
    text = json.dumps(decision, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    last = query.latest(store, f"tags.level = 'decision' AND tags.workload = '{workload}'")
    if last is not None and last.data.tags.get("decision_sha256") == digest and last.info.status == "FINISHED":
        return str(last.info.run_id)
    now_ms = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    identity = {"level": "decision", "workload": workload, "decision_sha256": digest}
    note = {"mlflow.note.content": str(decision["sentence"])}
    name = f"{workload}: {tags.get('chosen', 'none')} ({tags.get('verdict', 'no verdict')})"
    made = store.client.create_run(store.experiment_id, now_ms, {**tags, **identity, **note}, run_name=name)
    run_id = str(made.info.run_id)
    known = [Metric(name, value, now_ms, 0) for name, value in records.known(metrics).items()]
    store.client.log_batch(run_id, metrics=known, synchronous=True)
    store.client.log_dict(run_id, json.loads(text), "decision.json")
    for path in files:
        store.client.log_artifact(run_id, str(path))
    store.client.set_terminated(run_id, "FINISHED")
    return run_id


def describe(store: Store, text: str) -> None:
    """See Store.describe."""
    tags = {"mlflow.note.content": text, "mlflow.experimentKind": KIND}
    tags |= {f"{SHARED_VIEW}.{name}": json.dumps(view) for name, view in VIEWS.items()}
    known = store.client.get_experiment(store.experiment_id).tags
    for name, value in tags.items():
        if known.get(name) != value:
            store.client.set_experiment_tag(store.experiment_id, name, value)


def _view(level: str, order: str, columns: Sequence[str]) -> dict[str, Any]:
    """Filter, order and columns of the runs table, as the UI's own "share" button writes them."""
    return {
        "searchFilter": f"tags.level = '{level}'",
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": level == "decision",
        "selectedColumns": [f"{kind}s.`{name}`" for kind, name in (column.split(".") for column in columns)],
    }


KIND = "custom_model_development"
"""Else the UI asks what the experiment is for before it shows a run."""
SHARED_VIEW = "mlflow.sharedViewState"
VIEWS = {
    "answer": _view(
        "decision",
        "cost_usd",
        ("tag.workload", "tag.chosen", "tag.verdict", "metric.hours", "metric.cost_usd", "metric.probability_best"),
    ),
    "cells": _view(
        "cell",
        "samples_per_second",
        (
            *("tag.instance", "tag.outcome", "tag.source", "metric.samples_per_second"),
            *("metric.samples_per_second_low", "metric.samples_per_second_high", "metric.cost_usd"),
        ),
    ),
}
"""Tables that answer without setting anything up: #/experiments/<id>/runs?viewStateShareKey=answer (docs/mlflow.md)."""


def register(store: Store, workload: str, run_id: str, chosen: str | None, tags: Mapping[str, str]) -> None:
    """See Store.register."""
    name = REGISTERED.format(workload=workload)
    standing = _standing(store, name)
    if standing is not None and standing.run_id == run_id:
        return
    if chosen is None:  # nothing is to be had under the old answer's name
        if standing is not None:
            store.client.delete_registered_model_alias(name, ALIAS)
        return
    if standing is None:
        _registered(store, name, workload)
    source = f"{store.client.get_run(run_id).info.artifact_uri}/decision.json"
    version = store.client.create_model_version(
        name, source, run_id=run_id, tags={"instance": chosen, **tags}, await_creation_for=0
    )
    store.client.set_registered_model_alias(name, ALIAS, version.version)


def _standing(store: Store, name: str) -> Any:
    """The version that carries the alias; null without one."""
    try:
        return store.client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no such name; no such alias
            return None
        raise


def _registered(store: Store, name: str, workload: str) -> None:
    try:
        store.client.create_registered_model(name, description=DESCRIPTION.format(workload=workload))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
