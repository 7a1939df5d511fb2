"""Hydra multirun: one failed job stops none of the others, and all failures are listed at the end."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

FAILURE = "failed.txt"


def running() -> bool:
    """Is this process working on a job of a multirun?"""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def name() -> str | None:
    """The multirun's folder name; null for a single run."""
    return Path(HydraConfig.get().sweep.dir).name if running() else None


def record_failure(error: BaseException) -> None:
    """Leave the job's failure in its folder: a user's mistake as one line, a bug with its traceback."""
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir) / str(hydra.job.num)
    folder.mkdir(parents=True, exist_ok=True)
    text = str(error) if isinstance(error, ValueError | OSError) else "".join(traceback.format_exception(error))
    (folder / FAILURE).write_text(f"{hydra.job.override_dirname}\n{text}\n")


class ListFailures(Callback):
    """conf/config.yaml: hydra.callbacks."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print every failure; exit status 1 if there is one."""
        folder = Path(config.hydra.sweep.dir)
        failures = sorted(folder.glob(f"*/{FAILURE}"), key=lambda path: int(path.parent.name))
        if not failures:
            return
        print(f"\n{len(failures)} job(s) failed, the others are recorded:", file=sys.stderr)
        for path in failures:
            overrides, _, reason = path.read_text().partition("\n")
            print(f"  job {path.parent.name} [{overrides}]: {reason.strip()}", file=sys.stderr)
        sys.exit(1)
