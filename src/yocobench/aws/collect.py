"""Take in what a box left behind: its receipt, checked against the marker and the cell, or why there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

from yocobench import receipt
from yocobench.aws import mailbox
from yocobench.aws.ledger import Entry, Ledger
from yocobench.aws.watch import Marker
from yocobench.bench.measurement import Measurement
from yocobench.bench.statistics import occupied_s
from yocobench.schema import CellSpec


def collect(ledger: Ledger, entry: Entry, spec: CellSpec, marker: Marker) -> Measurement:
    """The Measurement in the box's receipt; `killed` with the reason where there is no good one. Raises AwsError.

    Receipt and log are kept beside the ledger.
    """
    log = _log(ledger, entry)
    if not marker.receipt_sha256:
        return _lost(f"the box gave up (status {marker.status}) in phase {marker.phase!r}: {_last_line(log)}")
    content = mailbox.read(entry, mailbox.RECEIPT)
    if content is None:
        return _lost("its receipt is missing, though the box said that it had written one")
    if hashlib.sha256(content).hexdigest() != marker.receipt_sha256:
        return _lost("its receipt was damaged on the way: the sha256 is not the one that the box gave")
    path = ledger.file(entry, "receipt")
    path.write_bytes(content)
    try:
        found = receipt.read(path)
    except ValueError as error:
        return _lost(f"its receipt cannot be used: {error}")
    if found.spec.key != spec.key:
        return _lost(f"its receipt is of another cell ({found.spec.label}, {found.spec.key}, not {spec.key})")
    return found.measurement


def finished(measurement: Measurement, entry: Entry, marker: Marker | None) -> Measurement:
    """With the bill, and the billed time around the repeats split up. phases_s and the repeats add up to billed_s."""
    extra: dict[str, object] = {
        "run_id": entry.run_id,
        "zone": entry.zone,
        "tried": list(entry.tried),
        "planned_worst_usd": float(entry.worst_usd),
    }
    phases: dict[str, float] = {}
    if entry.cost_usd is not None:
        extra["cost_usd"] = float(entry.cost_usd)
        extra["over_plan"] = entry.cost_usd > entry.worst_usd
    if entry.billed_s is not None:
        extra["billed_s"] = entry.billed_s
        if marker is not None and marker.train_at and entry.launched_at is not None:
            boot = max(0.0, marker.started_at - entry.launched_at.timestamp())
            setup = float(marker.train_at - marker.started_at)
            rest = entry.billed_s - boot - setup - sum(occupied_s(repeat) for repeat in measurement.repeats)
            phases = {"boot": boot, "setup": setup, "other": max(0.0, rest)}
    return measurement.model_copy(update={"phases_s": phases, "extra": {**measurement.extra, **extra}})


def _lost(reason: str) -> Measurement:
    return Measurement(outcome="killed", reason=reason, source="measured", detected=None)


def _log(ledger: Ledger, entry: Entry) -> Path:
    path = ledger.file(entry, "log")
    path.write_bytes(mailbox.read(entry, mailbox.LOG) or b"")
    return path


def _last_line(log: Path) -> str:
    """The last error of the log, or its last line."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error:", "ERROR:"))]
    said = " / ".join(errors[-2:]) or (lines[-1] if lines else "it left no log")
    return f"{said} (log: mlruns/ledger/{log.name})"
