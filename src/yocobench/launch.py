"""Stage `launch`: under `launch: ec2`, start the boxes of all cells that need measuring, side by side.

DVC runs the train stages one after another; boxes need not wait for each other. This stage follows each box to its end
and leaves its receipt where the train stage of that cell collects it, without a second launch. The decision on file
gives the order, and leaves out what cannot win (worth.py). Launchers that measure here have nothing to start: the stage
then ends at once. Ctrl-C and SIGTERM end every box.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path

from rich.console import Console

from yocobench import config, receipt, worth
from yocobench.bench import hardware
from yocobench.launchers import build_launcher
from yocobench.launchers.signals import INTERRUPTED_STATUS, stop_requests
from yocobench.paths import relative
from yocobench.plan import PlannedCell, plan_cell
from yocobench.progress import Reporter
from yocobench.receipt import write_atomic
from yocobench.schema import CellSpec, Config, Instance, LauncherConfig

LAUNCHED = Path("data/launched.txt")
POLL_S = 0.5


def main(cfg: Config) -> int:
    """Launch what is missing, at most `parallelism` cells at once."""
    root, parallelism = config.root(), build_launcher(cfg.launcher).parallelism
    if parallelism > 1:
        if _side_by_side(cfg, root, parallelism):
            return INTERRUPTED_STATUS
    else:
        print(f"launch {cfg.launcher.name}: cells are measured one by one by their own stages")
    # For DVC, which runs the train stages after this one: always the same text, so that it makes none of them stale.
    write_atomic(root / LAUNCHED, f"{cfg.launcher.name}\n")
    return 0


def _side_by_side(cfg: Config, root: Path, parallelism: int) -> bool:
    """Launch what is missing and follow it; True if it was interrupted."""
    waiting = worthwhile([c for c in cells(cfg, root) if not recorded(c.spec, cfg.launcher.name, root)], cfg, root)
    print(f"launch {cfg.launcher.name}: {len(waiting)} cell(s) to measure, {parallelism} at once")
    context = multiprocessing.get_context("spawn")
    running: list[SpawnProcess] = []
    with stop_requests() as stop:
        while (waiting or running) and not stop:
            running = [process for process in running if process.is_alive()]
            while waiting and len(running) < parallelism:
                spec = waiting.pop(0).spec
                process = context.Process(target=_one, args=(cfg.launcher, spec, config.instance(spec.instance), root))
                process.start()
                running.append(process)
            time.sleep(POLL_S)
        for process in running:
            process.terminate()  # each ends its own box: all at once, for each is paid by the second
        for process in running:
            process.join()
    return bool(stop)


def worthwhile(missing: list[PlannedCell], cfg: Config, root: Path) -> list[PlannedCell]:
    """Those that could still win, best value first; says of the others why not."""
    known = worth.decisions(cfg, root)
    wasted = {cell.spec.label: worth.why_not(cell, cfg, known) for cell in missing}
    for label, why in wasted.items():
        if why:
            print(f"{label}: not started, {why}")
    return worth.in_order([cell for cell in missing if not wasted[cell.spec.label]], known)


def cells(cfg: Config, root: Path) -> Iterator[PlannedCell]:
    """The study's cells that may run at all."""
    detected = hardware.detect()
    instances = [one for one in config.instances(cfg.instances) if not one.detect]
    for workload in map(config.workload, cfg.workloads):
        for subset in config.subsets(cfg.subsets):
            for instance in instances:
                planned = plan_cell(cfg, workload, subset, instance, detected, root)
                if planned.exclusion is None:
                    yield planned


def recorded(spec: CellSpec, launcher: str, root: Path) -> bool:
    """Does DVC hold this cell's receipt already, from this launcher and for the same work?"""
    path = root / "results/receipts" / spec.workload.name / spec.subset / f"{spec.instance}.json"
    try:
        found = receipt.read(path)
    except (OSError, ValueError):
        return False
    return found.cell_key == spec.key and found.provenance.launcher == launcher


def _one(launcher: LauncherConfig, spec: CellSpec, instance: Instance, root: Path) -> None:
    """One cell, in a process of its own; the launcher keeps the receipt for the train stage."""
    console = Console(stderr=True, force_terminal=False)
    with Reporter(spec.label, spec.workload.sample_unit, console) as report:
        try:
            measurement = build_launcher(launcher).run(spec, instance, root, report)
        except (ValueError, OSError) as error:
            console.print(f"{spec.label}: {relative(error)}", highlight=False, soft_wrap=True)
            return
    console.print(f"{spec.label}: {measurement.outcome} {measurement.reason}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    config.stage(main)()
