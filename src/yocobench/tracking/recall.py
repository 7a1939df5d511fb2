"""What the store said of some cells, kept while its sqlite file and the receipts stay as they are.

A what-if asks for the same runs under other terms, and importing MLflow takes longer than all the rest of it. The
file under mlruns/cache/ is only a copy: without it, or with one that no longer fits, the store is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from yocobench.files import write_atomic
from yocobench.schema import Frozen
from yocobench.tracking import sqlite
from yocobench.tracking.records import RecordedCurve, RecordedOutcome, RecordedRepeat
from yocobench.tracking.store import Store, uri_of

CACHE = Path("mlruns/cache")


class Runs(Frozen):
    """All that a decision reads from the store. Keys: cell keys; of `curves`, run ids."""

    repeats: dict[str, list[RecordedRepeat]]
    outcomes: dict[str, list[RecordedOutcome]]
    curves: dict[str, RecordedCurve]


class _Kept(Frozen):
    stamp: str
    runs: Runs


def ask(store: Store, keys: Sequence[str], receipts: Iterable[Path]) -> Runs:
    """The runs of these cells, from the store; kept for `recall`. Raises StoreError."""
    stamp = _stamp(store.uri, receipts)  # before the questions: a run logged meanwhile makes the copy unfit
    repeats, outcomes = store.fetch_repeats(keys), store.fetch_outcomes(keys)
    curves = store.fetch_curves([repeat.run_id for key in repeats for repeat in repeats[key]])
    runs = Runs(repeats=repeats, outcomes=outcomes, curves=curves)
    if stamp is not None:
        with contextlib.suppress(OSError):  # a copy that cannot be written costs seconds, not the answer
            write_atomic(_path(store.root, keys), _Kept(stamp=stamp, runs=runs).model_dump_json())
    return runs


def recall(root: Path, keys: Sequence[str], receipts: Iterable[Path]) -> Runs | None:
    """What `ask` kept of these cells; null where there is no copy or the store or a receipt has changed since."""
    try:
        kept = _Kept.model_validate_json(_path(root, keys).read_bytes())
    except (OSError, ValidationError):
        return None
    return kept.runs if kept.stamp == _stamp(uri_of(root), receipts) else None


def _path(root: Path, keys: Sequence[str]) -> Path:
    return root / CACHE / f"runs-{hashlib.sha256(' '.join(sorted(keys)).encode()).hexdigest()[:16]}.json"


def _stamp(uri: str, receipts: Iterable[Path]) -> str | None:
    """Sizes and times of the files that hold the runs; null for a store that is no sqlite file."""
    database = sqlite.path_of(uri)
    if database is None:
        return None
    held = [database, database.with_name(f"{database.name}-wal"), *sorted(receipts)]
    return json.dumps([uri, *(_seen(path) for path in held)])


def _seen(path: Path) -> list[int] | None:
    """null for a file that is not there, and for an empty log: sqlite makes and removes those while reading."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size] if found.st_size else None
