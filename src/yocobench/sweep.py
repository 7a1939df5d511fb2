"""Hydra multirun: one failed job stops none of the others; failures and scenarios are listed at the end.

A signal to the command does stop the others: stops.py.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from yocobench import stops
from yocobench.paths import relative

FAILURE = "failed.txt"
SCENARIO = "decision.json"


def running() -> bool:
    """Is this process working on a job of a multirun?"""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def name() -> str | None:
    """The multirun's folder name; null for a single run."""
    return Path(HydraConfig.get().sweep.dir).name if running() else None


def stopped() -> bool:
    """Is this a job of a multirun that a signal has ended?"""
    return running() and stops.stopped(Path(HydraConfig.get().sweep.dir))


def job() -> AbstractContextManager[None]:
    """Around one job of a multirun, or a single run: see stops.job."""
    return stops.job(Path(HydraConfig.get().sweep.dir)) if running() else contextlib.nullcontext()


def record_failure(error: BaseException) -> None:
    """Leave the job's failure in its folder: a user's mistake as one line, a bug with its traceback."""
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir) / str(hydra.job.num)
    folder.mkdir(parents=True, exist_ok=True)
    text = str(error) if isinstance(error, ValueError | OSError) else "".join(traceback.format_exception(error))
    (folder / FAILURE).write_text(f"{hydra.job.override_dirname}\n{relative(text)}\n", encoding="utf-8")


def record_scenario(decision: str) -> None:
    """Leave what the job decided (a text as in results/decision.json) in its folder, its overrides before it."""
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir) / str(hydra.job.num)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCENARIO).write_text(f"{' '.join(hydra.overrides.task)}\n{decision}\n", encoding="utf-8")


def _show_scenarios(folder: Path) -> None:
    """All that was decided, one under the other, in the order of the jobs."""
    paths = sorted(folder.glob(f"*/{SCENARIO}"), key=lambda path: int(path.parent.name))
    if not paths:
        return
    from rich.console import Console

    from yocobench.selection import decision, tables

    read = [path.read_text(encoding="utf-8").partition("\n") for path in paths]
    table = tables.scenarios([(overrides, decision.load(text)) for overrides, _, text in read])
    (Console() if sys.stdout.isatty() else Console(width=tables.PLAIN_COLUMNS)).print(table)


def _show_failures(failures: list[Path]) -> None:
    print(f"\n{len(failures)} job(s) failed, the others are recorded:", file=sys.stderr)
    for path in failures:
        overrides, _, reason = path.read_text(encoding="utf-8").partition("\n")
        print(f"  job {path.parent.name} [{overrides}]: {reason.strip()}", file=sys.stderr)


class ListFailures(Callback):
    """conf/config.yaml: hydra.callbacks."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Ctrl-C and SIGTERM end the sweep from here on."""
        stops.heed(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print every scenario and every failure; exit status 130 if it was interrupted, 1 if there is a failure."""
        folder = Path(config.hydra.sweep.dir)
        _show_scenarios(folder)
        failures = sorted(folder.glob(f"*/{FAILURE}"), key=lambda path: int(path.parent.name))
        if failures:
            _show_failures(failures)
        if stops.stopped(folder):
            stops.end()
        if failures:
            sys.exit(1)
