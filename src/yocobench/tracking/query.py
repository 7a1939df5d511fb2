"""Reading runs back, by cell key and never "the latest".

One indexed query per cell key: MLflow's filter language has no OR and no IN for tags, and fetching every run to
choose here takes 10 s with 10,000 runs in the store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, get_args

from mlflow.entities import Run, ViewType

from yocobench.bench.measurement import Outcome, Source
from yocobench.tracking.records import HELDOUT_PREFIX, RecordedCurve, RecordedOutcome, RecordedRepeat

if TYPE_CHECKING:
    from yocobench.tracking.store import Store

PAGE = 1000


def fetch_repeats(store: Store, cell_keys: Sequence[str]) -> dict[str, list[RecordedRepeat]]:
    """See Store.fetch_repeats."""
    return {key: _repeats(store, key) for key in dict.fromkeys(cell_keys)}


def fetch_outcomes(store: Store, cell_keys: Sequence[str]) -> dict[str, list[RecordedOutcome]]:
    """See Store.fetch_outcomes."""
    found = {}
    for key in dict.fromkeys(cell_keys):
        ended = [r for r in runs(store, _of_cell(key, "cell")) if r.info.status != "RUNNING"]
        outcomes = {run.data.tags["receipt_sha256"]: _outcome(store, run) for run in ended}
        found[key] = sorted(outcomes.values(), key=lambda outcome: outcome.recorded_at)
    return found


def fetch_curves(store: Store, run_ids: Sequence[str]) -> dict[str, RecordedCurve]:
    """See Store.fetch_curves."""

    def series(run_id: str, name: str) -> tuple[float, ...]:
        history = store.client.get_metric_history(run_id, name)
        return tuple(one.value for one in sorted(history, key=lambda one: one.step))

    return {
        run_id: RecordedCurve(step_times_s=series(run_id, "step_time_s"), losses=series(run_id, "loss"))
        for run_id in dict.fromkeys(run_ids)
    }


def runs(store: Store, condition: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """All runs that meet the condition, page by page."""
    found: list[Run] = []
    token = None
    while True:
        page = store.client.search_runs([store.experiment_id], condition, view, PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def latest(store: Store, condition: str) -> Run | None:
    """The run that started last among those that meet the condition."""
    order = ["attributes.start_time DESC"]
    page = store.client.search_runs([store.experiment_id], condition, ViewType.ACTIVE_ONLY, 1, order_by=order)
    return page[0] if page else None


def _of_cell(key: str, level: str) -> str:
    assert re.fullmatch(r"[0-9a-f]+", key), key
    return f"tags.cell_key = '{key}' AND tags.level = '{level}'"


def _repeats(store: Store, key: str) -> list[RecordedRepeat]:
    condition = _of_cell(key, "repeat") + " AND tags.outcome = 'ok' AND attributes.status = 'FINISHED'"
    # Two machines that restore the same receipt into one store at once may both log it: each repeat counts once.
    once = {(r.data.tags["receipt_sha256"], r.data.tags["repeat"]): r for r in runs(store, condition)}
    repeats = [_repeat(run) for run in once.values() if "samples_per_second" in run.data.metrics]
    return sorted(repeats, key=lambda repeat: (repeat.recorded_at, repeat.receipt_sha256, repeat.repeat))


def _repeat(run: Run) -> RecordedRepeat:
    tags, metrics = run.data.tags, run.data.metrics
    whole = {"samples_per_step", "num_steps", "warmup_steps", "peak_memory_bytes", "cpu_throttle_events"}
    named = {name: metrics[name] for name in RecordedRepeat.model_fields if name in metrics}
    return RecordedRepeat.model_validate(
        {
            **{name: int(value) if name in whole else value for name, value in named.items()},
            "run_id": run.info.run_id,
            **{name: tuple(tags.get(name, "").splitlines()) for name in ("warnings", "gpu_throttle")},
            "heldout": {k.removeprefix(HELDOUT_PREFIX): v for k, v in metrics.items() if k.startswith(HELDOUT_PREFIX)},
            **{name: tags[name] for name in ("cell_key", "receipt_sha256", "repeat", "source", "recorded_at")},
        }
    )


def _outcome(store: Store, run: Run) -> RecordedOutcome:
    tags = run.data.tags
    assert tags["outcome"] in get_args(Outcome)
    assert tags["source"] in get_args(Source)
    return RecordedOutcome(
        run_id=run.info.run_id,
        outcome=cast(Outcome, tags["outcome"]),
        reason=tags.get("reason", ""),
        source=cast(Source, tags["source"]),
        recorded_at=tags["recorded_at"],
        num_repeats=_num_repeats(store, run.info.run_id) if tags["outcome"] == "killed" else 0,
        boot_s=run.data.metrics.get("phase_boot_s"),
        setup_s=run.data.metrics.get("phase_setup_s"),
    )


def _num_repeats(store: Store, run_id: str) -> int:
    return len(runs(store, f"tags.mlflow.parentRunId = '{run_id}' AND tags.level = 'repeat'"))
