"""Measure on a box of the cell's instance type: plan, start, watch, collect, terminate.

Three things end a box: its own timer, this client (also on Ctrl-C and SIGTERM), and `python -m yocobench.reap`, which
goes by tags and runs before each launch. A client that was killed finds its box by the ledger and the tags and collects
it. The number comes back as the Measurement inside the box's receipt.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from yocobench import config
from yocobench.aws import bundle, ending, planning, session
from yocobench.aws.ec2_settings import Ec2Settings
from yocobench.aws.launch_plan import LaunchPlan
from yocobench.aws.ledger import Entry, Ledger, OverCap, new_run_id, now
from yocobench.bench.measurement import Measurement
from yocobench.launchers.base import Launcher, NotWanted, Show
from yocobench.launchers.ec2_box import BoxRun, expiry, nothing, resumable
from yocobench.launchers.local import LocalLauncher
from yocobench.schema import CellSpec, Instance
from yocobench.telling import Progress, say


class Ec2Launcher(Launcher):
    """One box a cell. Safe for several processes: the ledger has a lock a cell, and one for the sums."""

    def __init__(self, **args: object) -> None:
        self.settings = config.validate(Ec2Settings, args, "its settings")
        # Without a confirmation each cell asks, one by one.
        self.parallelism = self.settings.launch_parallelism if self.settings.confirm else 1
        self._waiting: tuple[Ledger, Entry] | None = None
        self._here = LocalLauncher()

    def run(self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]) -> Measurement:
        """See Launcher.run. Raises ValueError and AwsError (an OSError) for what the user must mend first."""
        if instance.detect:  # this machine, which calibrates the estimates: nothing to launch
            return self._here.run(spec, instance, root, report)

        def reserve(ledger: Ledger) -> tuple[Entry, LaunchPlan, str] | Measurement:
            return self._reserve(spec, instance, root, ledger, report)

        measurement = self._measured(spec, instance, root, report, reserve)
        assert measurement is not None
        return measurement

    def collect(
        self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]
    ) -> Measurement | None:
        """See Launcher.collect."""
        return self._measured(spec, instance, root, report, lambda _: None)

    def _measured(
        self,
        spec: CellSpec,
        instance: Instance,
        root: Path,
        report: Callable[[Progress], None],
        reserve: Callable[[Ledger], tuple[Entry, LaunchPlan, str] | Measurement | None],
    ) -> Measurement | None:
        """`reserve`: asked where no earlier box is left; null: then nothing is started."""
        ledger = Ledger(root)
        with ledger.cell(spec.key), _signals() as hold_signals:
            try:
                entry = resumable(ledger, spec)
                planned = reserve(ledger) if entry is None else None
            except KeyboardInterrupt:
                return nothing("interrupted", "interrupted before anything was started")
            except NotWanted as why:
                return nothing("unmeasured", str(why))
            if isinstance(planned, Measurement) or (entry is None and planned is None):
                return planned
            cell = BoxRun(self.settings, spec, ledger, report, hold_signals)
            if planned is not None:
                entry, plan, commit = planned
                measurement = cell.launch(entry, plan, instance, root, commit)
            else:
                assert entry is not None
                what = "collecting box" if entry.outcome is None else "not started again: recording the end of box"
                say(f"{spec.label}: {what} {entry.run_id}, started earlier")
                measurement = cell.follow(entry)
        waits = cell.entry is not None and cell.entry.state == "ended" and measurement.outcome != "interrupted"
        self._waiting = (ledger, cell.entry) if cell.entry is not None and waits else None
        return measurement

    def in_turn(self, cells: Sequence[tuple[CellSpec, Instance]], root: Path, show: Show) -> bool:
        """Of this machine's own cells, before the boxes start."""
        return self._here.in_turn([one for one in cells if one[1].detect], root, show)

    def waits(self, spec: CellSpec, root: Path) -> bool:
        """A box that has ended, with its receipt or its outcome; a dead client's box; or this machine has measured."""
        ledger = Ledger(root)
        entries = ledger.open_entries(spec.key)
        ended = any(entry.state == "ended" for entry in entries)
        return ended or bool(ledger.unfollowed(entries)) or self._here.waits(spec, root)

    def left(self, spec: CellSpec, root: Path) -> bool:
        """A box whose client is dead. One that a living process follows is left to that."""
        ledger = Ledger(root)
        return bool(ledger.unfollowed(ledger.open_entries(spec.key)))

    def recorded(self) -> None:
        """The receipt is on disk: the copy in S3, or the outcome in the ledger, need not be taken again."""
        self._here.recorded()
        if self._waiting is not None:
            ledger, entry = self._waiting
            ledger.put(entry.with_(state="closed"))
            self._waiting = None

    def _reserve(
        self, spec: CellSpec, instance: Instance, root: Path, ledger: Ledger, report: Callable[[Progress], None]
    ) -> tuple[Entry, LaunchPlan, str] | Measurement:
        """Plan, show, sweep, ask, and reserve the worst case; or why nothing will be started."""
        settings = self.settings
        commit = bundle.commit_to_send(root, settings.allow_dirty)
        try:
            plan = planning.make(spec, instance, root, settings)
        except planning.NotPossible as error:
            return nothing(error.outcome, str(error))
        taken = ledger.taken_usd(settings.max_usd_window_h)
        print(plan.text(), file=sys.stderr)
        print(f"  cap {settings.max_usd} USD, of which {taken:.2f} USD are spent or reserved", file=sys.stderr)
        for line in ending.sweep(ledger, plan.region):
            print(f"  {line}", file=sys.stderr)
        if not self._agreed():
            reason = f"planned only, worst case {plan.worst_usd:.2f} USD: launcher.confirm=true starts it"
            return nothing("unmeasured", reason)
        entry = Entry(
            run_id=new_run_id(),
            cell_key=spec.key,
            label=spec.label,
            instance_type=plan.instance_type,
            region=plan.region,
            bucket=plan.bucket,
            created_at=now(),
            expires_at=expiry(plan),
            usd_per_hour=plan.usd_per_hour,
            zone_usd_per_hour=plan.zone_usd_per_hour,
            worst_usd=plan.worst_usd,
        )
        try:
            while not ledger.reserve(entry, settings.max_usd, settings.max_usd_window_h, settings.launch_parallelism):
                report(Progress(f"waiting: {settings.launch_parallelism} boxes at once", 0, spec.protocol.repeats))
                time.sleep(settings.poll_s)
                # Waited out, as in watch(); what is wrong with the ledger itself, the next reserve() says.
                with contextlib.suppress(session.Unreachable, session.Throttled, ending.Unfinished):
                    ending.sweep(ledger, plan.region)  # a client that died holds a place
        except OverCap as error:
            return nothing("unmeasured", f"not started: {error}")
        return entry, plan, commit

    def _agreed(self) -> bool:
        if self.settings.confirm or not sys.stdin.isatty():
            return self.settings.confirm
        print("  start it? (yes/no) ", file=sys.stderr, end="", flush=True)
        return sys.stdin.readline().strip().lower() == "yes"


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], None]]:
    """SIGTERM is Ctrl-C. After the yielded function is called both wait: a box is being ended."""
    ending_box = False

    def handle(number: int, _frame: object) -> None:
        nonlocal ending_box
        if not ending_box:
            ending_box = True  # one is enough: what follows it ends the box
            raise KeyboardInterrupt
        with contextlib.suppress(RuntimeError):  # stderr was being written to just now
            say("the box is being ended; wait, or it must be reaped")

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
