"""The seam for places to run: one YAML under conf/launcher/ and one class here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from yocobench.bench.measurement import Measurement
from yocobench.schema import CellSpec, Instance


@dataclass(frozen=True)
class BoxState:
    """A machine that is paid for."""

    zone: str | None
    """Null: none was found yet."""
    alive_s: float
    """Since its launch."""
    usd: float
    """So far."""
    worst_usd: float
    """What is reserved for it."""


@dataclass(frozen=True)
class Progress:
    """What a running cell tells: shown, never recorded."""

    phase: str
    """setup, warm-up, measure, evaluate; launchers add their own (boot ...)."""
    repeat: int
    repeats: int
    step: int | None = None
    fraction: float | None = None
    """Share of the repeat that is done, in [0, 1]."""
    samples_per_second: float | None = None
    remaining_s: float | None = None
    box: BoxState | None = None
    """Of a launcher that pays for a machine."""

    def text(self, unit: str) -> str:
        """Phase, rate, time left and money in words."""
        parts = [f"repeat {self.repeat + 1} of {self.repeats}", self.phase]
        if self.samples_per_second is not None:
            parts.append(f"{self.samples_per_second:,.0f} {unit}s/s")
        if self.remaining_s is not None:
            parts.append(f"{self.remaining_s:.0f} s left in this repeat at most")
        if self.box is not None:
            parts.append(f"{self.box.usd:.3f} of at most {self.box.worst_usd:.2f} USD")
        return ", ".join(parts)


Show = Callable[[CellSpec], AbstractContextManager[Callable[[Progress], None]]]
"""A display of one cell's progress, for as long as it is entered."""


class NotWanted(Exception):
    """Raised by a `report`: whoever asked for the number has no use for it any more. Says why."""


class Launcher(ABC):
    """Runs one cell and returns what was measured. Talks to nobody's tracking store."""

    is_free: ClassVar[bool] = False
    """Costs nothing beyond this machine's time: what cannot win may run as well."""

    parallelism: int = 1
    """How many cells may run side by side: more than one only where each has a machine of its own."""

    @abstractmethod
    def run(self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]) -> Measurement:
        """Measure the cell. Everything that can happen to a run is an outcome; a raised exception is a bug.

        `root` is the repository (dataset paths in `spec` are relative to it). `report` may raise NotWanted: then what
        was started is ended, and the outcome is `unmeasured` with that reason.
        """

    def in_turn(self, cells: Sequence[tuple[CellSpec, Instance]], root: Path, show: Show) -> bool:
        """Measure those of the cells that share this machine, taking their repeats in turn; `run` then gives them.

        True: it was interrupted. Launchers that measure nothing here have nothing to do.
        """
        return False

    def waits(self, spec: CellSpec, root: Path) -> bool:
        """Is there something of an earlier run of the cell, paid for and not recorded yet, that `run` would give?"""
        return False

    def recorded(self) -> None:  # noqa: B027 (nothing to do, for most)
        """The receipt of the last `run` is on disk: forget whatever was kept to be able to give it again."""
