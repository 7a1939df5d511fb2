"""What tuning found for a workload on an instance type: conf/tuned/<workload>/<instance>.yaml, written by tune.py.

The plan takes these settings in place of the workload's own, so that the cell is measured, and judged, by them. They
hold for the workload that was tuned, as its file stood then: edited since or overridden on the command line, it
runs as it says. Of a machine that is read (`instance=local`) they hold for that machine alone.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import yaml
from pydantic import PositiveFloat, PositiveInt, ValidationError

from yocobench import plain
from yocobench.files import write_atomic
from yocobench.paths import first_fault
from yocobench.schema import Frozen, Name, Protocol, WorkloadConfig

FOLDER = Path("conf/tuned")
HEADER = "# Written by `python -m yocobench.tune`: what makes this workload fastest there. Delete it to go back.\n"


class Rate(Frozen):
    """Samples per second of a short run and its 95 % interval."""

    samples_per_second: PositiveFloat
    low: float
    high: float


class Settings(Frozen):
    """What tuning chooses; null leaves the workload's own."""

    micro_batch_size: PositiveInt | None = None
    compile: bool | None = None
    threads: PositiveInt | None = None
    num_workers: int | None = None
    """Of the loader: `args.num_workers` of the workload."""

    def on(self, workload: WorkloadConfig) -> WorkloadConfig:
        """The workload with these settings."""
        chosen = self.model_dump(exclude_none=True)
        workers = chosen.pop("num_workers", None)
        if workers is not None:
            chosen["args"] = {**workload.args, "num_workers": workers}
        return workload.model_copy(update=chosen)


class Tuned(Frozen):
    """What one file says."""

    settings: Settings
    workload: dict[str, Any]
    """The workload's file as it stood, which the settings change."""
    host_id: str | None
    """The machine, where the instance is one that is read."""
    machine: str
    best: Rate
    default: Rate
    trials: PositiveInt
    protocol: Protocol
    """Of a trial: shorter than a cell's."""
    code_md5: str
    tuned_at: dt.date

    @property
    def note(self) -> str:
        """One line for receipts and runs."""
        gain = self.best.samples_per_second / self.default.samples_per_second
        return f"{self.tuned_at}: {gain:.2f} x the default in {self.trials} trials"


def path_of(workload: str, instance: Name, root: Path) -> Path:
    """Where the file is, or would be."""
    return root / FOLDER / workload / f"{instance}.yaml"


def read(path: Path) -> Tuned | None:
    """The file; null where there is none. Raises ValueError when it is damaged."""
    try:
        return Tuned.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        said = first_fault(error) if isinstance(error, ValidationError) else plain.one_line(error)
        where = path.relative_to(path.parents[3])
        raise ValueError(f"{where}: not what tuning writes ({said}); delete it or tune again") from None


def write(found: Tuned, path: Path) -> None:
    """Write the file. Raises OSError."""
    body = yaml.safe_dump(found.model_dump(mode="json", exclude_none=True, by_alias=True), sort_keys=False)
    write_atomic(path, HEADER + body)


def find(workload: WorkloadConfig, instance: Name, host_id: str | None, root: Path) -> Tuned | None:
    """What was tuned for exactly this workload on this instance, and this machine where it is read."""
    found = read(path_of(workload.name, instance, root))
    if found is None or found.workload != workload.model_dump(mode="json", by_alias=True) or found.host_id != host_id:
        return None
    return found
