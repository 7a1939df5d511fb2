"""One process for each box that the launch stage follows, and what they say to it.

A process tells its launcher's progress and every line that it prints; the stage tells it, at most once, that its number
is not wanted any more. A process whose stage was killed goes on: its box is collected by the cell's next run.
"""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path

from yocobench import config
from yocobench.bench.measurement import Measurement
from yocobench.launchers import build_launcher
from yocobench.launchers.base import NotWanted
from yocobench.paths import relative
from yocobench.plan import PlannedCell
from yocobench.progress import Screen
from yocobench.schema import CellSpec, Instance, LauncherConfig
from yocobench.telling import Progress, say


@dataclass
class Box:
    """A cell on its way."""

    cell: PlannedCell
    process: SpawnProcess
    connection: Connection
    is_gone: bool = False
    given_up: bool = False


def start(
    context: SpawnContext, launcher: LauncherConfig, cell: PlannedCell, root: Path, may_launch: bool = True
) -> Box:
    """Follow the cell in a process of its own; the launcher keeps the receipt for the train stage.

    Without `may_launch` only what is left of an earlier client is collected.
    """
    ours, theirs = context.Pipe()
    args = (launcher, cell.spec, config.instance(cell.spec.instance), root, theirs, may_launch)
    process = context.Process(target=_follow, args=args)
    process.start()
    theirs.close()  # so that its end is heard here
    return Box(cell, process, ours)


def hear(box: Box, screen: Screen) -> Measurement | None:
    """Take in one thing that was said: shown; the Measurement is returned when it comes."""
    spec = box.cell.spec
    try:
        said = box.connection.recv()
    except (EOFError, OSError):
        box.is_gone = True
        screen.gone(spec.label)
        return None
    if isinstance(said, Progress):
        screen.show(spec.label, spec.workload.sample_unit, said)
    elif isinstance(said, Measurement):
        screen.say(f"{spec.label}: {said.outcome} {said.reason}".rstrip())
        return said
    else:
        screen.say(str(said))
    return None


def give_up(box: Box, why: str) -> None:
    """Have the box ended, for that reason."""
    if not box.given_up:
        box.given_up = True
        with contextlib.suppress(OSError):  # it is done anyway
            box.connection.send(why)


def _follow(
    config_: LauncherConfig, spec: CellSpec, instance: Instance, root: Path, stage: Connection, may_launch: bool
) -> None:
    sys.stderr = _Lines(stage)

    def report(progress: Progress) -> None:
        with contextlib.suppress(OSError):
            stage.send(progress)
        if stage.poll():
            try:
                why = stage.recv()
            except (EOFError, OSError):
                return  # the stage was killed: follow the box all the same
            raise NotWanted(why)

    try:
        launcher = build_launcher(config_)
        measurement = (launcher.run if may_launch else launcher.collect)(spec, instance, root, report)
    except (ValueError, OSError) as error:
        say(f"{spec.label}: {relative(error)}")
        return
    if measurement is None:
        say(f"{spec.label}: its earlier box is gone, and left nothing")
        return
    with contextlib.suppress(OSError):
        stage.send(measurement)


class _Lines(io.TextIOBase):
    """Standard error, line by line, to the stage's screen."""

    def __init__(self, stage: Connection) -> None:
        self._stage, self._rest = stage, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            with contextlib.suppress(OSError):
                self._stage.send(line)
        return len(text)
