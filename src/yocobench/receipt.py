"""The receipt: the JSON that a cell leaves behind, complete enough to log its runs again into an empty store.

Written whole or not at all, with a checksum, so that one cut in half or edited by hand is noticed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from yocobench.bench.measurement import Measurement
from yocobench.files import write_atomic
from yocobench.paths import first_fault
from yocobench.schema import CellSpec, Frozen

SCHEMA = "yocobench.receipt/1"
STUDY = Path("results/receipts")
"""Of the study's cells: DVC owns these."""
STANDALONE = Path("mlruns/receipts")
"""Of cells trained by hand or in a sweep, and of the trials of a tuning."""
ASIDE = STANDALONE / "study"
"""Copies of the study's measured receipts: DVC removes a receipt before its stage runs again."""


class Provenance(Frozen):
    """Where the code stood. No absolute path, user or host name."""

    git_commit: str | None
    git_dirty: bool | None
    launcher: str
    sweep: str | None
    """Groups the runs of one Hydra multirun, or the trials of one tuning."""
    purpose: Literal["measure", "tune"] = "measure"
    """tune: a trial, which no decision counts."""
    tuned: str | None = None
    """What tuning chose the settings, and what it gained; null: they are the workload's own."""


class Receipt(Frozen):
    """A measured (or refused) cell."""

    cell_key: str
    spec: CellSpec
    provenance: Provenance
    measurement: Measurement
    burstable: bool = False
    """Its type has CPU credits: steps that grow longer are those running out."""
    recorded_at: str
    run_id: str | None = None
    """MLflow run of the cell; null while the store has not been reached."""


def _checksum(body: dict[str, object]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write(receipt: Receipt, path: Path) -> None:
    """Write atomically: a full disk or a kill leaves the old file or none. Raises OSError."""
    write_atomic(path, json.dumps(document(receipt), indent=1, sort_keys=True) + "\n")


def document(receipt: Receipt) -> dict[str, object]:
    """What stands in its file."""
    body = receipt.model_dump(mode="json", by_alias=True)
    return {"schema": SCHEMA, "sha256": _checksum(body), **body}


def standalone(receipt: Receipt, root: Path) -> Path:
    """Where a receipt goes that DVC does not own: a file that is not there yet.

    Jobs of a parallel sweep may end in the same second, and those over a workload's settings share the cell's label.
    """
    stem = f"{receipt.spec.label}-{receipt.recorded_at.replace(':', '-')}-{receipt.cell_key}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(path for name in names if not (path := root / STANDALONE / f"{name}.json").exists())


def set_aside(root: Path) -> None:
    """Copy each measured receipt of the study to where nothing removes it. Raises OSError.

    Its stage may run again and measure nothing: under another launcher, without credentials, for another protocol.
    """
    for path in sorted((root / STUDY).rglob("*.json")):
        try:
            found = read(path)
        except (ValueError, OSError):
            continue  # damaged: `compare` names it
        if found.measurement.source == "measured" and any(r.outcome == "ok" for r in found.measurement.repeats):
            body = found.model_dump(mode="json", by_alias=True, exclude={"run_id"})
            copy = root / ASIDE / f"{found.spec.label}-{_checksum(body)[:16]}.json"
            if not copy.exists():
                write(found, copy)


def aside(spec: CellSpec, root: Path) -> Receipt | None:
    """The latest copy that `set_aside` made of this very cell's receipt. Raises ValueError for a damaged one."""
    found = [read(path) for path in sorted((root / ASIDE).glob(f"{spec.label}-*.json"))]
    return max((one for one in found if one.cell_key == spec.key), key=lambda one: one.recorded_at, default=None)


def read(path: Path) -> Receipt:
    """The receipt at `path`. Raises ValueError naming what is wrong and what to do, FileNotFoundError if absent."""
    again = f"remove it and run `dvc repro` to measure the cell again, or `git checkout -- {path}`"
    if f"{STANDALONE.as_posix()}/" in path.as_posix():  # git has none of these, and no stage writes them again
        again = f"move it out of {STANDALONE}: what was logged of it stays in the MLflow store"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # json's, of bytes that are no text, of a number without end
        raise ValueError(f"{path}: not a whole receipt ({error}); {again}") from None
    stated = document.pop("schema", None) if isinstance(document, dict) else None
    if stated != SCHEMA:
        if str(stated).startswith(SCHEMA.rpartition("/")[0]):  # of a later version: nothing is wrong with it
            again = f"this one is of {stated}: `git pull` for code that reads it, else {again}"
        raise ValueError(f"{path}: not a receipt of schema {SCHEMA}; {again}")
    stated = document.pop("sha256", None)
    if stated != _checksum(document):
        raise ValueError(f"{path}: changed since it was written (its sha256 does not fit); {again}")
    try:
        return Receipt.model_validate(document)
    except ValidationError as error:
        raise ValueError(f"{path}: {first_fault(error)}; {again}") from None
