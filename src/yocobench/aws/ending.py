"""End a box for good: terminate, see it gone, meter it, and free its reservation. Also the sweep behind `reap`."""

from __future__ import annotations

import datetime as dt
import time
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


def sweep(ledger: Ledger, region: str, everything: bool = False) -> list[str]:
    """End every box of the project in the region that is past its time (or simply every one), one line for each.

    Then settle what this ledger holds open without a box and without a living client. Raises AwsError.
    """
    lines = []
    ours = {entry.run_id: entry for entry in ledger.entries() if entry.region == region and entry.state != "closed"}
    found = boxes.find(region)
    for box in found:
        tags = {tag["Key"]: tag["Value"] for tag in box.get("Tags", [])}
        expires_at = _expiry(tags.get("expires-at", ""), box["LaunchTime"])
        entry = ours.get(tags.get("run-id", ""))
        if not everything and now() <= expires_at:
            continue
        why = "reaped on request" if everything else f"reaped: expired at {expires_at:%Y-%m-%d %H:%M}Z"
        if entry is not None:
            ours.pop(entry.run_id)
            end(ledger, ledger.reread(entry), why)
        else:
            boxes.terminate(region, [box["InstanceId"]])
        lines.append(f"{box['InstanceId']} {box['InstanceType']} ({tags.get('Name', 'no name')}): {why}")
    alive = {tag["Value"] for box in found for tag in box.get("Tags", []) if tag["Key"] == "run-id"}
    for seen in ours.values():
        if seen.run_id in alive:
            continue
        with ledger.cell_if_free(seen.cell_key) as is_free:
            entry = ledger.reread(seen)  # since it was read its client may have ended the box, and closed it
            if is_free and entry.state not in ("ended", "closed"):
                after = end(ledger, entry, "its client is gone")
                lines.append(f"{entry.run_id} ({entry.label}): no box, entry {after.state}")
    return lines


def _expiry(tag: str, launched_at: dt.datetime) -> dt.datetime:
    try:
        said = dt.datetime.fromisoformat(tag)
    except ValueError:
        return launched_at + UNTAGGED_LIFE
    return said if said.tzinfo else said.replace(tzinfo=dt.UTC)
