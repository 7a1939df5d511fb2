"""What was measured, in MLflow: the only package that imports mlflow.

store.py opens the store and words its failures; log.py writes runs; query.py reads them back; recall.py
keeps a copy of the answers; records.py holds the
names and types that log and query share. Importing this package does not import mlflow (seconds): opening a store does.
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
