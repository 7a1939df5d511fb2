"""Progress of running cells: a bar, or a table of boxes, in a terminal; a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from yocobench.telling import Progress

PLAIN_EVERY_S = 15.0
COLUMNS = ("box", "zone", "phase", "rate", "seconds", "USD so far", "at worst")


class _Unheard:
    """A stream where what cannot be written is dropped: a closed pipe or a full disk must not end a measurement."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As many characters as were given, heard or not."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """What waits, if it can be heard."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def console() -> Console:
    """Where a command that measures says how it goes: stderr."""
    if sys.stderr is None:  # closed by the shell (2>&-): rich knows what to do
        return Console(stderr=True)
    return Console(stderr=True, file=cast(IO[str], _Unheard(sys.stderr)))


class Plain:
    """Lines for where there is no terminal: one a phase and repeat, except warm-up steps; then one now and then."""

    def __init__(self, label: str, unit: str, console: Console) -> None:
        self.label, self.unit, self.console = label, unit, console
        self._last: tuple[str, int, float] = ("", -1, 0.0)

    def __call__(self, progress: Progress) -> None:
        """Print one report, if it is due."""
        phase, repeat, at = self._last
        now = time.monotonic()
        if (progress.phase, progress.repeat) != (phase, repeat) or now - at >= PLAIN_EVERY_S:
            self._last = (progress.phase, progress.repeat, now)
            self.console.print(f"{self.label}: {progress.text(self.unit)}", highlight=False, soft_wrap=True)


class Reporter:
    """Shows what a launcher reports. Use as a context manager; calling it is the launcher's `report`."""

    def __init__(self, label: str, sample_unit: str, shown_on: Console | None = None) -> None:
        self.unit, self.console = sample_unit, shown_on or console()
        self._plain = Plain(label, sample_unit, self.console)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=1.0, detail="")

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show one report."""
        self._bar.start()  # not before: until then the launcher may print its plan and ask
        done = (progress.repeat + (progress.fraction or 0.0)) / max(1, progress.repeats)
        self._bar.update(self._task, completed=done, detail=progress.text(self.unit))
        if not self.console.is_terminal:
            self._plain(progress)


class Screen:
    """All boxes at once: one row each in a terminal, with what is said above the table; plain lines elsewhere."""

    def __init__(self, shown_on: Console | None = None) -> None:
        self.console = shown_on or console()
        self._rows: dict[str, tuple[Progress, str]] = {}
        self._plain: dict[str, Plain] = {}
        self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, label: str, unit: str, progress: Progress) -> None:
        """One box's report."""
        if self.console.is_terminal:
            self._rows[label] = (progress, unit)
            self._live.update(self.table(), refresh=True)
        else:
            self._plain.setdefault(label, Plain(label, unit, self.console))(progress)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def gone(self, label: str) -> None:
        """That box is done: its row goes."""
        self._rows.pop(label, None)
        if self.console.is_terminal:
            self._live.update(self.table(), refresh=True)

    def table(self) -> Table:
        """The boxes as they stand, with their sum."""
        table = Table(*COLUMNS)
        spent, worst = 0.0, 0.0
        for label, (progress, unit) in self._rows.items():
            rate = progress.samples_per_second
            cells = [label, "", progress.phase, f"{rate:,.0f} {unit}s/s" if rate is not None else "", "", "", ""]
            if (box := progress.box) is not None:
                cells[1] = box.zone or ""
                cells[4:] = [f"{box.alive_s:.0f}", f"{box.usd:.3f}", f"{box.worst_usd:.2f}"]
                spent, worst = spent + box.usd, worst + box.worst_usd
            table.add_row(*cells)
        table.add_section()
        table.add_row("all", *[""] * 4, f"{spent:.3f}", f"{worst:.2f}")
        return table
