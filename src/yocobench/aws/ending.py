"""End a box for good: terminate, see it gone, meter it, and free its reservation. Also the sweep behind `reap`."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from yocobench.aws import boxes, session, watch
from yocobench.aws.launch_plan import bill
from yocobench.aws.ledger import Entry, Ledger, now
from yocobench.bench.measurement import Outcome

SETTLE_S = session.READ_TIMEOUT_S + 60.0
"""A box that was asked for so recently may not be listed yet: the request may be under way until it times out, and
EC2's answers are eventually consistent."""
UNTAGGED_LIFE = dt.timedelta(hours=24)
"""A box of ours whose expires-at tag cannot be read is taken to be this old at most."""


def look(entry: Entry) -> list[dict[str, Any]]:
    """The entry's boxes as EC2 lists them, alive or just ended; waits while one may not be listed yet.

    Raises AwsError.
    """
    while True:
        found = boxes.find(entry.region, entry.run_id, states=(*boxes.LIVE, "terminated"))
        if found or entry.asked_at is None or entry.state not in ("asked", "running"):
            return found
        if (now() - entry.asked_at).total_seconds() > SETTLE_S:
            return found
        time.sleep(2)


def end(ledger: Ledger, entry: Entry, note: str = "", outcome: Outcome | None = None) -> Entry:
    """See the entry's box, if there is one, terminated and billed. Raises AwsError: then the entry stays open.

    The entry is closed, unless a receipt waits in S3, or `outcome` (why there is no number) is still to be recorded:
    then it is `ended`, and the cell's next run takes that, without a second box.
    """
    found = look(entry)
    live = [box["InstanceId"] for box in found if box["State"]["Name"] != "terminated"]
    boxes.terminate(entry.region, live)
    if entry.cost_usd is None:
        entry = ledger.put(
            _metered(entry, found, asked=bool(live)).with_(state="ended", note=note or entry.note, outcome=outcome)
        )
    marker = watch.read_marker(entry)
    waiting = entry.outcome is not None or (marker is not None and bool(marker.receipt_sha256))
    return ledger.put(entry.with_(state="ended" if waiting else "closed"))


def _metered(entry: Entry, found: list[dict[str, Any]], asked: bool) -> Entry:
    """With the bill. EC2 forgets a box an hour after its end: one that we knew then counts at its worst case."""
    if not found:
        return entry.with_(cost_usd=entry.worst_usd if entry.instance_id else Decimal(0))
    usd, longest_s = Decimal(0), 0.0
    for known in found:
        box = boxes.describe(entry.region, known["InstanceId"]) if asked else known
        launched_at, rate = known["LaunchTime"], entry.hourly_usd(known["Placement"]["AvailabilityZone"])
        billed_s, cost = bill(rate, (boxes.ended_at(box) - launched_at).total_seconds())
        usd, longest_s = usd + cost, max(longest_s, billed_s)
    return entry.with_(
        instance_id=found[0]["InstanceId"],
        launched_at=found[0]["LaunchTime"],
        ended_at=found[0]["LaunchTime"] + dt.timedelta(seconds=longest_s),
        billed_s=longest_s,
        cost_usd=usd,
    )


class Unfinished(session.AwsError):
    """A sweep that met obstacles, after it did all else: `done` is what it did, `errors` what it met."""

    def __init__(self, done: list[str], errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.done, self.errors = done, errors


def sweep(ledger: Ledger, region: str, everything: bool = False) -> list[str]:
    """End every box of the project in the region that is past its time (or simply every one), one line for each.

    Then settle what this ledger holds open without a box and without a living client. All are asked to end before one
    is waited for: the others are billed meanwhile. Raises AwsError where EC2 lists no boxes, and Unfinished at the end.
    """
    entries, errors = ledger.readable()
    ours = {entry.run_id: entry for entry in entries if entry.region == region and entry.state != "closed"}
    found, done = boxes.find(region), []
    due = [(box, why) for box in found if (why := _why_due(box, everything))]
    asked = [_tried(errors, _named(box), boxes.ask_to_end, region, box["InstanceId"]) for box, _ in due]
    for (box, why), is_ending in zip(due, asked, strict=True):
        entry = ours.pop(_tags(box).get("run-id", ""), None)
        if is_ending and _tried(errors, _named(box), _see_ended, ledger, region, box, entry, why):
            done.append(f"{_named(box)}: {why}")
    alive = {_tags(box).get("run-id") for box in found}
    for seen in ours.values():
        if seen.run_id not in alive:
            _tried(errors, f"{seen.run_id} ({seen.label})", _settle, ledger, seen, done)
    if errors:
        raise Unfinished(done, errors)
    return done


def _tried(errors: list[str], name: str, step: Callable[..., None], *args: Any) -> bool:
    """Take the step; what hinders it is noted under that name, for it must not hinder the next one."""
    try:
        step(*args)
    except (ValueError, OSError) as error:  # the entry cannot be read again, or AwsError
        errors.append(f"{name}: {error}")
        return False
    return True


def _see_ended(ledger: Ledger, region: str, box: dict[str, Any], entry: Entry | None, why: str) -> None:
    if entry is not None and (entry := ledger.reread(entry)).state != "closed":
        end(ledger, entry, why)
    else:
        boxes.terminate(region, [box["InstanceId"]])


def _settle(ledger: Ledger, seen: Entry, done: list[str]) -> None:
    with ledger.cell_if_free(seen.cell_key) as is_free:
        entry = ledger.reread(seen)  # since it was read its client may have ended the box, and closed it
        if is_free and entry.state not in ("ended", "closed"):
            after = end(ledger, entry, "its client is gone")
            done.append(f"{entry.run_id} ({entry.label}): no box, entry {after.state}")


def _why_due(box: dict[str, Any], everything: bool) -> str:
    """Why the box is to be ended; empty: it is not."""
    expires_at = _expiry(_tags(box).get("expires-at", ""), box["LaunchTime"])
    if everything:
        return "reaped on request"
    return f"reaped: expired at {expires_at:%Y-%m-%d %H:%M}Z" if now() > expires_at else ""


def _named(box: dict[str, Any]) -> str:
    return f"{box['InstanceId']} {box['InstanceType']} ({_tags(box).get('Name', 'no name')})"


def _tags(box: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in box.get("Tags", [])}


def _expiry(tag: str, launched_at: dt.datetime) -> dt.datetime:
    try:
        said = dt.datetime.fromisoformat(tag)
    except ValueError:
        return launched_at + UNTAGGED_LIFE
    return said if said.tzinfo else said.replace(tzinfo=dt.UTC)
