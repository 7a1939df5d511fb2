"""Opening the MLflow store: a sqlite file under mlruns/, or whatever MLFLOW_TRACKING_URI names.

A sqlite file is built beside its place, whole, and renamed into it under a lock: MLflow's own first start is not
safe against eight processes, nor against a kill in the middle. It is switched to WAL, so that readers (the UI) and
writers do not wait for each other.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from yocobench.receipt import Receipt
from yocobench.tracking import failures, sqlite
from yocobench.tracking.failures import StoreError
from yocobench.tracking.records import RecordedCurve, RecordedOutcome, RecordedRepeat

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["EXPERIMENT", "Store", "StoreError", "open_store"]

EXPERIMENT = "yocobench"
LOCK_TIMEOUT_S = 120
# Set only where the user has not. A dead server is noticed in about 10 s; MLflow's own limits take many minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
}


@dataclass(frozen=True)
class Store:
    """An open store. Every method raises StoreError, worded for the user, when the store cannot be used."""

    client: MlflowClient
    experiment_id: str
    uri: str
    root: Path

    def log_receipt(self, receipt: Receipt, costs: dict[str, float] | None, artifacts: Sequence[Path]) -> Receipt:
        """Log a cell (parent run) and its repeats (child runs); the receipt with its `run_id`.

        `costs`: figures that follow from facts outside the measurement, as metrics (`cost_usd`, `mfu`). A receipt
        that the store already holds is not logged again; runs that a crash left half-written are deleted first.
        """
        from yocobench.tracking import log

        with self._worded(), _lock(self.root / "mlruns" / ".log.lock"):
            run_id = log.log_receipt(self, receipt, costs or {}, artifacts)
        return receipt.model_copy(update={"run_id": run_id})

    def log_decision(
        self,
        decision: dict[str, Any],
        files: Sequence[Path],
        workload: str,
        metrics: dict[str, float],
        tags: dict[str, str],
    ) -> str:
        """Log a decision and its pages; the run id. The same as the last one of the workload: that run's id."""
        from yocobench.tracking import decisions

        with self._worded(), _lock(self.root / "mlruns" / ".log.lock"):
            return decisions.log_decision(self, decision, files, workload=workload, metrics=metrics, tags=tags)

    def register(self, workload: str, run_id: str, chosen: str | None, tags: dict[str, str]) -> None:
        """Register the instance type that the decision of that run chose, under the alias `chosen`.

        The same run again changes nothing. Null: nothing was chosen, so the alias is taken away.
        """
        from yocobench.tracking import decisions

        with self._worded(), _lock(self.root / "mlruns" / ".log.lock"):
            decisions.register(self, workload, run_id, chosen, tags)

    def describe(self, text: str) -> None:
        """Today's answers, as the experiment's description (markdown), and the UI's ready-made tables."""
        from yocobench.tracking import decisions

        with self._worded():
            decisions.describe(self, text)

    def fetch_repeats(self, cell_keys: Sequence[str]) -> dict[str, list[RecordedRepeat]]:
        """The repeats of each cell that ended ok, oldest first, deleted runs left out. Every key is in the answer."""
        from yocobench.tracking import query

        with self._worded():
            return query.fetch_repeats(self, cell_keys)

    def fetch_outcomes(self, cell_keys: Sequence[str]) -> dict[str, list[RecordedOutcome]]:
        """How each cell ended, oldest first, deleted runs left out. Every key is in the answer."""
        from yocobench.tracking import query

        with self._worded():
            return query.fetch_outcomes(self, cell_keys)

    def fetch_curves(self, run_ids: Sequence[str]) -> dict[str, RecordedCurve]:
        """Step times and losses of each repeat, in the order of its steps; empty where a run logged none."""
        from yocobench.tracking import query

        with self._worded():
            return query.fetch_curves(self, run_ids)

    @contextlib.contextmanager
    def _worded(self) -> Iterator[None]:
        with failures.worded(self.uri, self.root):
            yield


def open_store(root: Path) -> Store:
    """Open the store of the repository at `root`, making it on first use.

    MLFLOW_TRACKING_URI if set, else <root>/mlruns/mlflow.db. MLFLOW_RUN_ID and MLFLOW_EXPERIMENT_* are not looked at:
    the experiment is always `yocobench`. Raises StoreError.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri = uri_of(root)
    # MLflow logs a traceback for what is worded here, and alembic a line for each of its migrations.
    for noisy in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with failures.worded(uri, root, opening=True):
        database = sqlite.path_of(uri)
        if database is not None:
            with _lock(database.parent / ".init.lock"):
                sqlite.prepare(database, EXPERIMENT)
        from mlflow import MlflowClient
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 4  # 1.1 s in all; as shipped a dead PostgreSQL server takes 100 s
        client = MlflowClient(tracking_uri=uri)
        return Store(client, _experiment(client), uri, root)


def uri_of(root: Path) -> str:
    """MLFLOW_TRACKING_URI if set, else the sqlite file under mlruns/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlruns' / 'mlflow.db'}"


def _experiment(client: MlflowClient) -> str:
    """Id of our experiment, made if need be. Raises StoreError where somebody deleted it."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT))
        except MlflowException:  # another process was faster, or the store refuses: the next line tells
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        next_command = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        raise StoreError(f"experiment {EXPERIMENT!r} was deleted: `{next_command}` (with MLFLOW_TRACKING_URI set)")
    return str(found.experiment_id)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock between the processes of one repository."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, timeout=LOCK_TIMEOUT_S)
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"{path.parent.name}/{path.name} has been held for {LOCK_TIMEOUT_S} s by another process; "
            "when it has ended: `python -m yocobench.restore`"
        ) from None
    try:
        yield
    finally:
        lock.release()
