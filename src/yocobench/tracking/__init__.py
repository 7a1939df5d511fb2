"""What was measured, in MLflow: the only package that imports mlflow.

store.py opens the store (sqlite.py prepares the default one, failures.py words what goes wrong). log.py writes runs,
sweeps.py the run above those of a sweep, decisions.py decisions. query.py reads runs back, and recall.py keeps a copy
of the answers. records.py holds the names and types that all share. Importing this package does not import mlflow,
which takes seconds: opening a store does.
"""

from yocobench.tracking.recall import Runs, ask, recall
from yocobench.tracking.records import RecordedCurve, RecordedOutcome, RecordedRepeat
from yocobench.tracking.store import Store, StoreError, open_store

__all__ = [
    "RecordedCurve",
    "RecordedOutcome",
    "RecordedRepeat",
    "Runs",
    "Store",
    "StoreError",
    "ask",
    "open_store",
    "recall",
]
