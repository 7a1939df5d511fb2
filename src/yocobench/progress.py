"""Progress of a running cell: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from yocobench.launchers.base import Progress

PLAIN_EVERY_S = 15.0


class Reporter:
    """Shows what a launcher reports. Use as a context manager; calling it is the launcher's `report`."""

    def __init__(self, label: str, sample_unit: str, console: Console | None = None) -> None:
        self.label, self.unit = label, sample_unit
        self.console = console or Console(stderr=True)
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
        self._last: tuple[str, int, float] = ("", -1, 0.0)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show one report."""
        self._bar.start()  # not before: until then the launcher may print its plan and ask
        detail = self.describe(progress)
        done = (progress.repeat + (progress.fraction or 0.0)) / max(1, progress.repeats)
        self._bar.update(self._task, completed=done, detail=detail)
        if self.console.is_terminal:
            return
        phase, repeat, at = self._last
        now = time.monotonic()
        # One line a phase and repeat, except warm-up steps; while measuring, one now and then.
        if (progress.phase, progress.repeat) != (phase, repeat) or now - at >= PLAIN_EVERY_S:
            self._last = (progress.phase, progress.repeat, now)
            self.console.print(f"{self.label}: {detail}", highlight=False, soft_wrap=True)

    def describe(self, progress: Progress) -> str:
        """Phase, rate and time left in words."""
        parts = [f"repeat {progress.repeat + 1} of {progress.repeats}", progress.phase]
        if progress.samples_per_second is not None:
            parts.append(f"{progress.samples_per_second:,.0f} {self.unit}s/s")
        if progress.remaining_s is not None:
            parts.append(f"{progress.remaining_s:.0f} s left in this repeat at most")
        return ", ".join(parts)
