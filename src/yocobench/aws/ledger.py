"""The local ledger of boxes: what was reserved, started, ended and collected. One JSON a box in mlruns/ledger/.

An entry is written before AWS is asked for the box, so a client that is killed at any moment leaves a trace that the
next one, or `python -m yocobench.reap`, follows. Several processes share it: a lock a cell, and one for the sums.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import filelock
from pydantic import ValidationError

from yocobench.bench.measurement import Outcome
from yocobench.files import write_atomic
from yocobench.paths import first_fault
from yocobench.schema import Frozen, Name

FOLDER = Path("mlruns/ledger")
State = Literal[
    "intended",  # reserved; AWS was not asked for a box, or said no
    "asked",  # a box may exist
    "running",  # a box exists, or did when we last looked
    "ended",  # the box is gone and its bill known; its receipt, or its `outcome`, may wait to be recorded
    "closed",  # nothing left to do
]


HOLDING = ("intended", "asked", "running")
"""States in which the worst case counts, whenever it was reserved."""
OUT = ("asked", "running")
"""States in which a box may exist."""


class OverCap(Exception):
    """The launch would take the sum of reservations over the cap."""


class Entry(Frozen):
    """One box: planned, running or gone."""

    run_id: Name
    cell_key: str
    label: str
    instance_type: str
    region: str
    bucket: str
    created_at: dt.datetime
    expires_at: dt.datetime
    """No box of this entry may live longer: `reap` ends it."""
    usd_per_hour: Decimal
    """Instance, volume and address together; in the dearest zone that may be tried."""
    zone_usd_per_hour: dict[str, Decimal] = {}
    """The same by zone, where the class has prices by zone."""
    worst_usd: Decimal
    state: State = "intended"
    zone: str | None = None
    instance_id: str | None = None
    tried: tuple[str, ...] = ()
    """Zones asked, each with the time and AWS's answer."""
    asked_at: dt.datetime | None = None
    """Just before the last RunInstances: one for each zone, and for each retry."""
    launched_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    billed_s: float | None = None
    cost_usd: Decimal | None = None
    outcome: Outcome | None = None
    """How a box ended that left no number, until that is recorded in the cell's receipt; the note is the reason."""
    note: str = ""

    def with_(self, **changes: Any) -> Entry:
        """A copy with other values."""
        return self.model_copy(update=changes)

    def hourly_usd(self, zone: str | None) -> Decimal:
        """What an hour in that zone is billed; null: not known yet."""
        return self.zone_usd_per_hour.get(zone or "", self.usd_per_hour)

    @property
    def reserved_usd(self) -> Decimal:
        """What the entry takes of the cap: its cost once that is known, its worst case until then."""
        return self.worst_usd if self.cost_usd is None else self.cost_usd

    def key(self, name: str) -> str:
        """S3 key of one of the run's objects."""
        return f"yocobench/runs/{self.run_id}/{name}"


def now() -> dt.datetime:
    """UTC, to the second."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def new_run_id() -> str:
    """Sorts by time; unique among everybody who shares the bucket."""
    return f"{now():%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


class Ledger:
    """The entries under <root>/mlruns/ledger/."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises ValueError naming a damaged file."""
        return [self._read(path) for path in sorted(self.folder.glob("*.json"))]

    def readable(self) -> tuple[list[Entry], list[str]]:
        """The entries that can be read, oldest first, and what is wrong with the other files.

        For who ends boxes or tells of them. Where money is counted an entry that cannot be read may stand for some.
        """
        good, damaged = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                good.append(self._read(path))
            except (ValueError, OSError) as error:
                damaged.append(str(error))
        return good, damaged

    def open_entries(self, cell_key: str) -> list[Entry]:
        """The cell's entries that still need something done."""
        return [entry for entry in self.entries() if entry.cell_key == cell_key and entry.state != "closed"]

    def unfollowed(self, entries: Iterable[Entry]) -> list[Entry]:
        """Of these, what a dead client left: a box may exist, and no process on this machine is busy with its cell."""
        return [entry for entry in entries if entry.state in OUT and not self.held(entry.cell_key)]

    def put(self, entry: Entry) -> Entry:
        """Write the entry, in one step."""
        write_atomic(self.folder / f"{entry.run_id}.json", entry.model_dump_json(indent=1) + "\n")
        return entry

    def file(self, entry: Entry, suffix: str) -> Path:
        """Where something that came back from the box is kept: its receipt, its log."""
        return self.folder / f"{entry.run_id}.{suffix}"

    def taken_usd(self, window_h: float) -> Decimal:
        """What was spent, or is reserved, by entries of the last `window_h` hours and by every open box."""
        since = now() - dt.timedelta(hours=window_h)
        counted = [e for e in self.entries() if e.created_at >= since or e.state in HOLDING]
        return sum((e.reserved_usd for e in counted), Decimal(0))

    def reserve(self, entry: Entry, max_usd: Decimal, window_h: float, most_boxes: int) -> bool:
        """Write a new entry if the sum stays under the cap; False while `most_boxes` are open already.

        Raises OverCap. Reading the sum and writing the entry are one step for all processes.
        """
        with self._lock("sum"):
            taken = self.taken_usd(window_h)
            if taken + entry.worst_usd > max_usd:
                raise OverCap(
                    f"worst case {entry.worst_usd:.2f} USD, and {taken:.2f} USD are spent or reserved in the last "
                    f"{window_h:g} h: over the cap of {max_usd} USD (launcher.max_usd)"
                )
            if sum(other.state in HOLDING for other in self.entries()) >= most_boxes:
                return False
            self.put(entry)
            return True

    @contextlib.contextmanager
    def cell(self, cell_key: str, timeout_s: float = 2.0) -> Iterator[None]:
        """Hold the cell: one process at a time launches or collects it. Raises ValueError if another one does.

        The lock dies with its process, also one that is killed.
        """
        lock = self._lock(f"cell-{cell_key}", timeout_s)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise ValueError(
                f"cell {cell_key} is being measured by another process on this machine; wait for it"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def held(self, cell_key: str) -> bool:
        """Is a living process on this machine busy with the cell?"""
        with self.cell_if_free(cell_key) as is_free:
            return not is_free

    @contextlib.contextmanager
    def cell_if_free(self, cell_key: str) -> Iterator[bool]:
        """Hold the cell unless another process does: whether it is held here."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.cell(cell_key, timeout_s=0))
            except ValueError:
                is_free = False
            else:
                is_free = True
            yield is_free

    def reread(self, entry: Entry) -> Entry:
        """The entry as it is on file now: whoever held it before may have gone on."""
        return self._read(self.folder / f"{entry.run_id}.json")

    def _lock(self, name: str, timeout_s: float = 60.0) -> filelock.BaseFileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.folder / f".{name}.lock", timeout=timeout_s)

    def _read(self, path: Path) -> Entry:
        try:
            return Entry.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(
                f"{path}: not a ledger entry ({first_fault(error)}). It may stand for a box that runs: "
                "`python -m yocobench.reap --all` ends every box (of params.yaml's region; --region names another); "
                "then remove the file"
            ) from None
