"""Stage `launch`: measure what is better measured together than one train stage after another.

Cells that share this machine take their repeats in turn (launchers/turns.py). Under `launch: ec2`, the boxes of all
cells that need measuring run side by side: this stage follows each box to its end and leaves its receipt where the
train stage of that cell collects it, without a second launch. The decision on file gives the order, and leaves out what
cannot win (worth.py); each number that comes home is weighed at once, and a box that cannot win any more is ended
(outlook.py). The box of a client that was killed is followed whatever its cell is worth: it is paid for. Ctrl-C and
SIGTERM end every box.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from yocobench import config, evidence, fleet, receipt, worth
from yocobench.aws.ledger import Ledger
from yocobench.bench import hardware
from yocobench.bench.measurement import Measurement
from yocobench.files import write_atomic
from yocobench.fleet import Box
from yocobench.launchers import build_launcher
from yocobench.launchers.signals import INTERRUPTED_STATUS, stop_requests
from yocobench.outlook import Outlook
from yocobench.paths import relative
from yocobench.plan import PlannedCell, plan_cells
from yocobench.progress import Reporter, Screen
from yocobench.schema import CellSpec, Config
from yocobench.selection.decision import Decision

LAUNCHED = Path("data/launched.txt")
POLL_S = 0.5


def main(cfg: Config) -> int:
    """Launch what is missing, at most `parallelism` cells at once."""
    root, launcher = config.root(), build_launcher(cfg.launcher)
    receipt.set_aside(root)
    may_run = [cell for cell in cells(cfg, root) if cell.exclusion is None]
    unrecorded = [cell for cell in may_run if not recorded(cell.spec, cfg.launcher.name, root)]
    named = [(cell.spec, config.instance(cell.spec.instance)) for cell in unrecorded]
    if launcher.in_turn(named, root, _show):
        return INTERRUPTED_STATUS
    waiting = [cell for cell in unrecorded if launcher.waits(cell.spec, root)]
    missing = [] if launcher.is_free else [cell for cell in unrecorded if _needs_box(cell.spec, cfg, root)]
    left = [cell for cell in waiting if launcher.left(cell.spec, root)]
    known = worth.decisions(cfg, root)
    started = worthwhile([cell for cell in missing if cell not in left], cfg, known, print)
    for line in strays(root, {cell.spec.key for cell in left}):
        print(line)
    for cell in (*waiting, *started):
        path_of(cell.spec, root).unlink(missing_ok=True)  # a receipt without a number: DVC takes its cell up again
    if launcher.parallelism > 1:
        print(f"launch {cfg.launcher.name}: {len(started)} cell(s) to measure, {launcher.parallelism} at once")
        if left:
            print(f"launch {cfg.launcher.name}: {len(left)} cell(s) whose client was killed, to collect")
        collected = [(cell, cell in missing and not worth.why_not(cell, cfg, known)) for cell in left]
        if _side_by_side(started, cfg, root, launcher.parallelism, collected):
            return INTERRUPTED_STATUS
    else:
        print(f"launch {cfg.launcher.name}: no boxes to run side by side; what is left is measured by its own stage")
    # For DVC, which runs the train stages after this one: always the same text, so that it makes none of them stale.
    write_atomic(root / LAUNCHED, f"{cfg.launcher.name}\n")
    return 0


def _side_by_side(
    waiting: list[PlannedCell],
    cfg: Config,
    root: Path,
    parallelism: int,
    left: Sequence[tuple[PlannedCell, bool]] = (),
) -> bool:
    """Launch these and follow them; True if it was interrupted.

    `left`: with a box that runs already, so that none of them waits for a place; and whether another one may be
    started where that one turns out to be gone.
    """
    context, outlook = multiprocessing.get_context("spawn"), Outlook(cfg, root)
    boxes: dict[Connection, Box] = {}
    with stop_requests() as stop, Screen() as screen:
        stopped = False
        for cell, may_launch in left:
            box = fleet.start(context, cfg.launcher, cell, root, may_launch)
            boxes[box.connection] = box
        while boxes or (waiting and not stop):
            while waiting and len(boxes) < parallelism and not stop:
                box = fleet.start(context, cfg.launcher, waiting.pop(0), root)
                boxes[box.connection] = box
            if stop and not stopped:
                stopped = True
                for box in boxes.values():
                    box.process.terminate()  # each ends its own: all at once, for each is paid by the second
            # Heard to their end also after a stop: a box with nobody to tell could not finish.
            for ready in wait(list(boxes), timeout=POLL_S):
                assert isinstance(ready, Connection)
                measurement = fleet.hear(boxes[ready], screen)
                if measurement is not None and measurement.repeats and not stop:
                    waiting = _weigh(boxes[ready].cell, measurement, waiting, boxes, outlook, screen)
                if boxes[ready].is_gone:
                    boxes.pop(ready).process.join()
    return bool(stop)


def _weigh(
    cell: PlannedCell,
    measurement: Measurement,
    waiting: list[PlannedCell],
    boxes: dict[Connection, Box],
    outlook: Outlook,
    screen: Screen,
) -> list[PlannedCell]:
    """End the boxes that cannot win any more, and return those that are still worth a start, best value first."""
    if outlook.cfg.force or not (waiting or len(boxes) > 1):
        return waiting
    try:
        known = outlook.learn(cell.spec, measurement)
    except (ValueError, OSError) as error:
        screen.say(f"not weighed against the others: {error}")
        return waiting
    for box in boxes.values():
        why = worth.why_not(box.cell, outlook.cfg, known)
        if why and box.cell is not cell and not box.is_gone:
            fleet.give_up(box, why)
    return worthwhile(waiting, outlook.cfg, known, screen.say)


def worthwhile(
    waiting: list[PlannedCell], cfg: Config, known: dict[str, Decision], say: Callable[[str], None]
) -> list[PlannedCell]:
    """Those that could still win, best value first; says of the others why not."""
    wasted = {cell.spec.label: worth.why_not(cell, cfg, known) for cell in waiting}
    for label, why in wasted.items():
        if why:
            say(f"{label}: not started, {why}")
    return worth.in_order([cell for cell in waiting if not wasted[cell.spec.label]], known)


def strays(root: Path, collected: set[str]) -> Iterator[str]:
    """A line for each box that a dead client left and that no cell of this stage, by its key, collects.

    The cell has changed or left the study, its number is on file already, or the launcher is another one today.
    """
    ledger = Ledger(root)
    entries, damaged = ledger.readable()
    yield from map(relative, damaged)
    for entry in ledger.unfollowed(entries):
        if entry.cell_key not in collected:
            name = f"box {entry.instance_id or entry.run_id} ({entry.region})"
            yield f"{entry.label}: {name} still runs, or nobody saw its end: python -m yocobench.reap --all"


def cells(cfg: Config, root: Path) -> Iterator[PlannedCell]:
    """The study's cells."""
    return plan_cells(cfg, config.instances(cfg.instances), hardware.detect(), root)


def _show(spec: CellSpec) -> Reporter:
    return Reporter(spec.label, spec.workload.sample_unit)


def path_of(spec: CellSpec, root: Path) -> Path:
    """Where DVC keeps the cell's receipt (dvc.yaml)."""
    return root / receipt.STUDY / spec.workload.name / spec.subset / f"{spec.instance}.json"


def _needs_box(spec: CellSpec, cfg: Config, root: Path) -> bool:
    """It is not this machine's, and there is no receipt that its own stage, killed before it could, will hand back."""
    here = config.instance(spec.instance).detect
    return not here and (cfg.force or receipt.aside(spec, root) is None)


def recorded(spec: CellSpec, launcher: str, root: Path) -> bool:
    """Does DVC hold this cell's receipt already, from this launcher and for the same work?

    Not if nothing was tried (no yes, over the cap, a number that could not win on the terms of that day), nor if no
    box was to be had or it was lost before a repeat began: what stood in the way may have passed.
    """
    try:
        found = receipt.read(path_of(spec, root))
    except (OSError, ValueError):
        return False
    same = found.cell_key == spec.key and found.provenance.launcher == launcher
    return same and not evidence.may_pass(found.measurement.outcome, len(found.measurement.repeats))


if __name__ == "__main__":
    config.stage(main)()
