"""The seam for places to run: one YAML under conf/launcher/ and one class here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from yocobench.bench.measurement import Measurement
from yocobench.schema import CellSpec, Instance
from yocobench.telling import Progress

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

    def left(self, spec: CellSpec, root: Path) -> bool:
        """May something of the cell still run, and be paid for, that nobody follows? Then `waits` is true as well."""
        return False

    def collect(
        self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]
    ) -> Measurement | None:
        """What `run` gives where `waits` is true, and nothing new is started: null where it turns out to be gone."""
        return self.run(spec, instance, root, report)

    def recorded(self) -> None:  # noqa: B027 (nothing to do, for most)
        """The receipt of the last `run` is on disk: forget whatever was kept to be able to give it again."""
