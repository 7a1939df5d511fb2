"""Measure on a box of the cell's instance type: plan, start, watch, collect, terminate.

Three things end a box: its own timer, this client (also on Ctrl-C and SIGTERM), and `python -m yocobench.reap`, which
goes by tags and runs before each launch. A client that was killed finds its box by the ledger and the tags and collects
it. The number comes back as the Measurement inside the box's receipt.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from yocobench.aws import boxes, bundle, delivery, ending, planning, session, watch
from yocobench.aws.collect import collect, finished
from yocobench.aws.ec2_settings import Ec2Settings
from yocobench.aws.launch_plan import END_ALLOWANCE_S, LaunchPlan
from yocobench.aws.ledger import Entry, Ledger, OverCap, new_run_id, now
from yocobench.bench.measurement import Measurement, Outcome
from yocobench.launchers.base import Launcher, Progress
from yocobench.schema import CellSpec, Instance


class Ec2Launcher(Launcher):
    """One box a cell. Safe for several processes: the ledger has a lock a cell, and one for the sums."""

    def __init__(self, **args: object) -> None:
        self.settings = Ec2Settings.model_validate(args)
        self._waiting: tuple[Ledger, Entry] | None = None

    def run(self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]) -> Measurement:
        """See Launcher.run. Raises ValueError and AwsError (an OSError) for what the user must mend first."""
        ledger = Ledger(root)
        with ledger.cell(spec.key), _signals() as hold_signals:
            try:
                entry = _resumable(ledger, spec)
                planned = self._reserve(spec, instance, root, ledger) if entry is None else None
            except KeyboardInterrupt:
                return _none("interrupted", "interrupted before anything was started")
            if isinstance(planned, Measurement):
                return planned
            cell = _Cell(self.settings, spec, ledger, report, hold_signals)
            if planned is not None:
                entry, plan, commit = planned
                measurement = cell.launch(entry, plan, instance, root, commit)
            else:
                assert entry is not None
                print(f"{spec.label}: collecting box {entry.run_id}, started earlier", file=sys.stderr)
                measurement = cell.follow(entry)
        waits = cell.entry is not None and cell.entry.state == "ended" and measurement.repeats
        self._waiting = (ledger, cell.entry) if cell.entry is not None and waits else None
        return measurement

    def recorded(self) -> None:
        """The receipt is on disk: the copy in S3 need not be collected again."""
        if self._waiting is not None:
            ledger, entry = self._waiting
            ledger.put(entry.with_(state="closed"))
            self._waiting = None

    def _reserve(
        self, spec: CellSpec, instance: Instance, root: Path, ledger: Ledger
    ) -> tuple[Entry, LaunchPlan, str] | Measurement:
        """Plan, show, sweep, ask, and reserve the worst case; or why nothing will be started."""
        settings = self.settings
        commit = bundle.commit_to_send(root, settings.allow_dirty)
        try:
            plan = planning.make(spec, instance, root, settings)
        except planning.NotPossible as error:
            return _none(error.outcome, str(error))
        taken = ledger.taken_usd(settings.max_usd_window_h)
        print(plan.text(), file=sys.stderr)
        print(f"  cap {settings.max_usd} USD, of which {taken:.2f} USD are spent or reserved", file=sys.stderr)
        for line in ending.sweep(ledger, plan.region):
            print(f"  {line}", file=sys.stderr)
        if not self._agreed():
            reason = f"planned only, worst case {plan.worst_usd:.2f} USD: launcher.args.confirm=true starts it"
            return _none("unmeasured", reason)
        entry = Entry(
            run_id=new_run_id(),
            cell_key=spec.key,
            label=spec.label,
            instance_type=plan.instance_type,
            region=plan.region,
            bucket=plan.bucket,
            created_at=now(),
            expires_at=_expiry(plan),
            usd_per_hour=plan.usd_per_hour,
            worst_usd=plan.worst_usd,
        )
        try:
            while not ledger.reserve(entry, settings.max_usd, settings.max_usd_window_h, settings.launch_parallelism):
                time.sleep(settings.poll_s)
        except OverCap as error:
            return _none("unmeasured", f"not started: {error}")
        return entry, plan, commit

    def _agreed(self) -> bool:
        if self.settings.confirm or not sys.stdin.isatty():
            return self.settings.confirm
        print("  start it? (yes/no) ", file=sys.stderr, end="", flush=True)
        return sys.stdin.readline().strip().lower() == "yes"


class _Cell:
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
        self.report, self.hold_signals = report, hold_signals
        self.entry: Entry | None = None

    def launch(self, entry: Entry, plan: LaunchPlan, instance: Instance, root: Path, commit: str) -> Measurement:
        """Start a box for the entry and follow it."""

        def work() -> tuple[Measurement, watch.Marker | None]:
            self.report(Progress("packing and uploading", 0, self.spec.protocol.repeats))
            parts = delivery.send_parts(entry, self.spec, instance, root, commit)
            timed = self.ledger.put(entry.with_(expires_at=_expiry(plan)))  # packing took its time
            script = delivery.user_data(timed, plan, self.spec, parts, self.settings)
            self.report(Progress("asking for a box", 0, self.spec.protocol.repeats))
            self.entry = self.ledger.put(timed.with_(state="asked", asked_at=now()))
            started = boxes.start(plan, self.entry, script)
            if isinstance(started, boxes.NotStarted):
                self.entry = self.ledger.put(timed.with_(tried=started.tried))
                return _none(started.outcome, started.reason), None
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
        """Collect a box that an earlier client started."""
        return self._ended(entry, lambda: self._watch(entry))

    def _watch(self, entry: Entry) -> tuple[Measurement, watch.Marker | None]:
        patience = watch.Patience(self.settings.poll_s, self.settings.boot_s, self.settings.silence_s)
        verdict = watch.watch(entry, patience, self.spec.protocol.repeats, self.report)
        if verdict.marker is None:
            return _none(verdict.outcome, verdict.reason), None
        return collect(self.ledger, entry, self.spec, verdict.marker), verdict.marker

    def _ended(self, entry: Entry, work: Callable[[], tuple[Measurement, watch.Marker | None]]) -> Measurement:
        """Do the work, and end the box after it, however it goes."""
        self.entry, marker = entry, None
        measurement = _none("interrupted", "the launch was interrupted")
        try:
            measurement, marker = work()
        except KeyboardInterrupt:
            pass
        finally:
            with contextlib.suppress(KeyboardInterrupt):
                self.hold_signals()
            self.entry = self._end(self.entry, measurement)
        return finished(measurement, self.entry, marker)

    def _end(self, entry: Entry, measurement: Measurement) -> Entry:
        self.report(Progress("ending the box", 0, self.spec.protocol.repeats))
        try:
            entry = ending.end(self.ledger, entry, measurement.reason)
        except session.AwsError as error:
            print(
                f"{self.spec.label}: BOX {entry.instance_id or entry.run_id} IN {entry.region} MAY STILL RUN: {error}. "
                f"Run `python -m yocobench.reap --all`; its own timer ends it by {entry.expires_at:%H:%M}Z",
                file=sys.stderr,
            )
            return entry
        if entry.state == "ended" and measurement.outcome != "interrupted" and not measurement.repeats:
            entry = self.ledger.put(entry.with_(state="closed"))  # the receipt that waits is of no use
        return entry


def _resumable(ledger: Ledger, spec: CellSpec) -> Entry | None:
    """The cell's box of an earlier client, alive or with a receipt that waits; every other open entry is settled."""
    chosen: Entry | None = None
    for entry in ledger.open_entries(spec.key):
        found = ending.look(entry)
        marker = watch.read_marker(entry)
        alive = [box for box in found if box["State"]["Name"] in ("pending", "running")]
        if chosen is None and (alive or (marker is not None and marker.receipt_sha256)):
            known = alive or found
            chosen = _adopted(ledger, entry, known[0]) if known else entry
        else:
            ending.end(ledger, entry, "its client was killed before the box was done")
    return chosen


def _adopted(ledger: Ledger, entry: Entry, box: dict[str, object]) -> Entry:
    """The entry with what EC2 knows of its box: the client may have been killed before it could write that down."""
    if entry.state == "ended":
        return entry
    placed = box["Placement"]
    assert isinstance(placed, dict)
    changes = {"instance_id": box["InstanceId"], "zone": placed["AvailabilityZone"], "launched_at": box["LaunchTime"]}
    return ledger.put(entry.with_(state="running", **changes))


def _expiry(plan: LaunchPlan) -> dt.datetime:
    return now() + dt.timedelta(seconds=plan.wall_clock_s + END_ALLOWANCE_S)


def _none(outcome: Outcome, reason: str) -> Measurement:
    return Measurement(outcome=outcome, reason=reason, source="measured", detected=None)


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], None]]:
    """SIGTERM is Ctrl-C. After the yielded function is called both wait: a box is being ended."""
    ending_box = False

    def handle(number: int, _frame: object) -> None:
        nonlocal ending_box
        if not ending_box:
            ending_box = True  # one is enough: what follows it ends the box
            raise KeyboardInterrupt
        print("the box is being ended; wait, or it must be reaped", file=sys.stderr)

    def hold() -> None:
        nonlocal ending_box
        ending_box = True

    if threading.current_thread() is not threading.main_thread():
        yield hold
        return
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield hold
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
