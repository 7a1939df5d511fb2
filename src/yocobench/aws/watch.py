"""Watch one box until it is done, dead, silent or late. Nothing is ended here."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from yocobench.aws import boxes, mailbox, session
from yocobench.aws.ledger import Entry, now
from yocobench.bench.measurement import Outcome
from yocobench.schema import Frozen
from yocobench.telling import BoxState, Progress

NEW_BOX_S = 60.0
"""EC2 may not know a box yet that it has just started."""


class Marker(Frozen):
    """The box's last word. Times are seconds since the epoch by its clock; 0: not reached."""

    status: int
    phase: str
    started_at: int
    train_at: int
    trained_at: int
    receipt_sha256: str
    """Empty when no receipt was uploaded."""


@dataclass(frozen=True)
class Verdict:
    """How it went: the marker, or the outcome without one."""

    marker: Marker | None
    outcome: Outcome = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Patience:
    """How often to look and for how long to wait."""

    poll_s: float
    boot_s: float
    """Until the first sign of life."""
    silence_s: float
    """Between two signs of life."""


def read_marker(entry: Entry) -> Marker | None:
    """The box's last word, once it is there. A damaged one says status 1. Raises AwsError."""
    content = mailbox.read(entry, mailbox.MARKER)
    if content is None:
        return None
    try:
        return Marker.model_validate_json(content)
    except ValidationError:
        return Marker(status=1, phase="damaged marker", started_at=0, train_at=0, trained_at=0, receipt_sha256="")


def watch(entry: Entry, patience: Patience, repeats: int, report: Callable[[Progress], None]) -> Verdict:
    """Look every `poll_s` until there is a verdict. A network, or an AWS, that comes and goes is waited out.

    Raises AwsError for what does not pass by itself: credentials, permissions.
    """
    life, heard_at, ever = b"", time.monotonic(), False
    while True:
        try:
            verdict = _look(entry)
            if verdict is not None:
                return verdict
            sign = mailbox.read(entry, mailbox.HEARTBEAT) or b""
        except (session.NoCredentials, session.Denied):
            raise
        except session.AwsError:
            sign = life
            heard_at = time.monotonic()  # deaf ourselves: the box may well be talking
        if sign != life:
            life, heard_at, ever = sign, time.monotonic(), True
        silent_s = time.monotonic() - heard_at
        if silent_s > (patience.silence_s if ever else patience.boot_s):
            said = "after the last one" if ever else "after the launch"
            return Verdict(None, "killed", f"no heartbeat {silent_s:.0f} s {said}: {last_words(life)}")
        if now() > entry.expires_at:
            return Verdict(None, "timeout", f"not done at {entry.expires_at:%H:%M:%S}Z, the plan's wall clock")
        report(progress(life, repeats))
        time.sleep(patience.poll_s)


def _look(entry: Entry) -> Verdict | None:
    box = boxes.describe(entry.region, entry.instance_id) if entry.instance_id else None
    marker = read_marker(entry)  # after the box: a box that is gone has written all that it will ever write
    if marker is not None:
        return Verdict(marker)
    if box is None and entry.launched_at and (now() - entry.launched_at).total_seconds() < NEW_BOX_S:
        return None
    if box is None or box["State"]["Name"] in ("shutting-down", "terminated", "stopped"):
        return Verdict(None, "killed", f"{boxes.death(box)} before it was done")
    return None


def last_words(life: bytes) -> str:
    """Phase and last line of the log, from a heartbeat."""
    lines = life.decode(errors="replace").splitlines()
    return " / ".join(line for line in lines[1:3] if line) or "it never spoke"


def spent(entry: Entry) -> BoxState:
    """Where the box is, since when, and what it has cost so far."""
    lived: dt.timedelta = (entry.ended_at or now()) - (entry.launched_at or now())
    alive_s = max(0.0, lived.total_seconds())
    usd = float(entry.hourly_usd(entry.zone)) * alive_s / 3600 if entry.cost_usd is None else float(entry.cost_usd)
    return BoxState(entry.zone, alive_s, usd, float(entry.worst_usd))


def progress(life: bytes, repeats: int) -> Progress:
    """What the box's last heartbeat says; `repeat 2 of 3, measure, 310 images/s` is yocobench.train's own line."""
    lines = life.decode(errors="replace").splitlines()
    phase, line = lines[1] if len(lines) > 1 else "boot", lines[2] if len(lines) > 2 else ""
    at = re.search(r"repeat (\d+) of \d+, ([a-z -]+)(?:, ([\d,.]+) \w+/s)?", line) if phase == "train" else None
    if at is None:
        return Progress(f"{phase} on the box", 0, repeats)
    rate = float(at.group(3).replace(",", "")) if at.group(3) else None
    return Progress(f"{at.group(2)} on the box", int(at.group(1)) - 1, repeats, samples_per_second=rate)
