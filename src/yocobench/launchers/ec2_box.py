"""One cell's box, from the reservation to the bill: whatever happens on the way, the box is ended."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yocobench.aws import boxes, delivery, ending, session, watch
from yocobench.aws.collect import collect, finished
from yocobench.aws.ec2_settings import Ec2Settings
from yocobench.aws.launch_plan import END_ALLOWANCE_S, LaunchPlan
from yocobench.aws.ledger import Entry, Ledger, now
from yocobench.bench.measurement import Measurement, Outcome
from yocobench.launchers.base import NotWanted
from yocobench.schema import CellSpec, Instance
from yocobench.telling import Progress, say

NOT_ITS_END = ("ok", "unmeasured", "interrupted")
"""Measured, not wanted any more, stopped by the user: no failure of the box that a receipt must state."""


class BoxRun:
    """A cell with a reservation: whatever happens from here, `entry`'s box is ended before control leaves."""

    def __init__(
        self,
        settings: Ec2Settings,
        spec: CellSpec,
        ledger: Ledger,
        report: Callable[[Progress], None],
        hold_signals: Callable[[], None],
    ) -> None:
        self.settings, self.spec, self.ledger = settings, spec, ledger
        self.hold_signals, self._show = hold_signals, report
        self.entry: Entry | None = None

    def report(self, progress: Progress) -> None:
        """Show it here, and leave it where `python -m yocobench.reap --list` finds it."""
        if self.entry is not None:
            progress = dataclasses.replace(progress, box=watch.spent(self.entry))
            text = progress.text(self.spec.workload.sample_unit)
            with contextlib.suppress(OSError):
                self.ledger.file(self.entry, "now").write_text(text, encoding="utf-8")
        with contextlib.suppress(OSError):  # a full disk or a terminal that is gone costs no measurement
            self._show(progress)

    def launch(self, entry: Entry, plan: LaunchPlan, instance: Instance, root: Path, commit: str) -> Measurement:
        """Start a box for the entry and follow it."""

        def work() -> tuple[Measurement, watch.Marker | None]:
            self.report(Progress("packing and uploading", 0, self.spec.protocol.repeats))
            parts = delivery.send_parts(entry, self.spec, instance, root, commit)
            timed = self.ledger.put(entry.with_(expires_at=expiry(plan)))  # packing took its time
            script = delivery.user_data(timed, plan, self.spec, parts, self.settings)
            self.report(Progress("asking for a box", 0, self.spec.protocol.repeats))

            def asking() -> None:
                # Anew for each zone and each retry: a whole walk may take longer than a box takes to be listed.
                self.entry = self.ledger.put(timed.with_(state="asked", asked_at=now()))

            def refused() -> None:
                self.entry = self.ledger.put(timed)  # there is no box to wait for

            started = boxes.start(plan, timed, script, asking, refused)
            assert self.entry is not None
            if isinstance(started, boxes.NotStarted):
                self.entry = self.ledger.put(self.entry.with_(tried=started.tried))
                return nothing(started.outcome, started.reason), None
            self.entry = self.ledger.put(
                self.entry.with_(
                    state="running",
                    instance_id=started.instance_id,
                    zone=started.zone,
                    launched_at=started.launched_at,
                    tried=started.tried,
                )
            )
            return self._watch(self.entry)

        return self._ended(entry, work)

    def follow(self, entry: Entry) -> Measurement:
        """Collect a box that an earlier client started, or how it ended where that client could not record it."""
        marker = watch.read_marker(entry) if entry.outcome is not None else None
        if entry.outcome is not None and not (marker and marker.receipt_sha256):
            self.entry = entry
            return finished(nothing(entry.outcome, entry.note), entry, marker)
        return self._ended(entry, lambda: self._watch(entry))

    def _watch(self, entry: Entry) -> tuple[Measurement, watch.Marker | None]:
        patience = watch.Patience(self.settings.poll_s, self.settings.boot_s, self.settings.silence_s)
        verdict = watch.watch(entry, patience, self.spec.protocol.repeats, self.report)
        if verdict.marker is None:
            return nothing(verdict.outcome, verdict.reason), None
        return collect(self.ledger, entry, self.spec, verdict.marker), verdict.marker

    def _ended(self, entry: Entry, work: Callable[[], tuple[Measurement, watch.Marker | None]]) -> Measurement:
        """Do the work, and end the box after it, however it goes."""
        self.entry, marker = entry, None
        measurement = nothing("interrupted", "the launch was interrupted")
        try:
            measurement, marker = work()
        except KeyboardInterrupt:
            pass
        except NotWanted as why:
            measurement = nothing("unmeasured", str(why))
        finally:
            with contextlib.suppress(KeyboardInterrupt):
                self.hold_signals()
            self.entry = self._end(self.entry, measurement)
        if self.entry.state == "ended" and measurement.outcome != "interrupted":
            last_word = marker or watch.read_marker(self.entry)
            if marker is None and last_word is not None and last_word.receipt_sha256:
                # Given up, and yet its receipt came before the end did.
                marker, measurement = last_word, collect(self.ledger, self.entry, self.spec, last_word)
            known = {} if measurement.repeats else {"outcome": measurement.outcome, "note": measurement.reason}
            self.entry = self.ledger.put(self.entry.with_(**{"outcome": None, **known}))
        return finished(measurement, self.entry, marker)

    def _end(self, entry: Entry, measurement: Measurement) -> Entry:
        # Whatever showing raises, the end follows: NotWanted is known already, and rich exits on a closed pipe.
        with contextlib.suppress(Exception, SystemExit):
            self.report(Progress("ending the box", 0, self.spec.protocol.repeats))
        try:
            outcome = None if measurement.outcome in NOT_ITS_END else measurement.outcome
            return ending.end(self.ledger, entry, measurement.reason, outcome)
        except session.AwsError as error:
            say(
                f"{self.spec.label}: BOX {entry.instance_id or entry.run_id} IN {entry.region} MAY STILL RUN: {error}. "
                f"Run `python -m yocobench.reap --all`; its own timer ends it by {entry.expires_at:%H:%M}Z"
            )
            return entry


def resumable(ledger: Ledger, spec: CellSpec) -> Entry | None:
    """The cell's box of an earlier client: alive, or with a receipt or an outcome that waits to be recorded.

    Every other open entry is settled.
    """
    chosen: Entry | None = None
    for entry in ledger.open_entries(spec.key):
        if entry.outcome is not None and chosen is None:
            chosen = entry
            continue
        found = ending.look(entry)
        marker = watch.read_marker(entry)
        alive = [box for box in found if box["State"]["Name"] in ("pending", "running")]
        if chosen is None and (alive or (marker is not None and marker.receipt_sha256)):
            known = alive or found
            chosen = _adopted(ledger, entry, known[0]) if known else entry
        else:
            ending.end(ledger, entry, "its client was killed before the box was done")
    return chosen


def _adopted(ledger: Ledger, entry: Entry, box: dict[str, Any]) -> Entry:
    """The entry with what EC2 knows of its box: the client may have been killed before it could write that down."""
    if entry.state == "ended":
        return entry
    zone = box["Placement"]["AvailabilityZone"]
    return ledger.put(
        entry.with_(state="running", instance_id=box["InstanceId"], zone=zone, launched_at=box["LaunchTime"])
    )


def expiry(plan: LaunchPlan) -> dt.datetime:
    """When a box that is started now must be gone."""
    return now() + dt.timedelta(seconds=plan.wall_clock_s + END_ALLOWANCE_S)


def nothing(outcome: Outcome, reason: str) -> Measurement:
    """The Measurement of a cell that was not measured."""
    return Measurement(outcome=outcome, reason=reason, source="measured", detected=None)
