"""Report what this machine is, what it can measure, and what is missing. Trains nothing and launches nothing.

    python -m yocobench.doctor

Each line that needs something done ends with the next command. Exit status: 0 if `make decide` can run here, else 1.
It asks AWS whose credentials these are and for quotas, and opens the MLflow store as every command does (a server
without an experiment `yocobench` gets one).
"""

from __future__ import annotations

import configparser
import datetime as dt
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from yocobench import config, pricelist
from yocobench.aws import identity, quotas, session
from yocobench.bench import hardware, versions
from yocobench.bench.measurement import Detected
from yocobench.schema import Config
from yocobench.tracking import open_store

NEEDED_DISK_GIB = 2
"""Datasets of the default study (0.1 GiB), the MLflow store, receipts, and room to write them anew."""
NEEDED_MEMORY_GIB = 4
"""What the smaller workloads need; plan.py works out the rest cell by cell."""
STACKS = {
    "cpu": "`make decide` installs torch",
    "cuda": "install the torch build for this driver (https://pytorch.org/get-started), then `nvidia-smi`",
    "neuron": "start from the Neuron image of conf/images.yaml: PyPI has no torch-neuronx that works",
}
PLAIN_COLUMNS = 160
Mark = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Line:
    """One finding. `bad` keeps `make decide` from running; `note` does not."""

    what: str
    text: str
    mark: Mark = "ok"
    then: str = ""
    """The next command."""


def examine(cfg: Config, root: Path, detected: Detected) -> Iterator[Line]:
    """Everything that is looked at, in the order of the report."""
    yield _python()
    yield _machine(detected)
    yield _names(cfg, detected)
    yield _stack(detected)
    yield _disk(root)
    yield _tools()
    yield from _data(root)
    yield _store(root)
    yield _prices(cfg, root)
    yield _remote(root)
    credentials = _credentials(cfg)
    yield credentials
    if credentials.mark == "ok":
        yield _quotas(cfg)


def _python() -> Line:
    inside = "in its own environment" if sys.prefix != sys.base_prefix else "outside any virtual environment"
    return Line("python", f"{platform.python_version()}, {inside}")


def _machine(detected: Detected) -> Line:
    name = detected.instance_type or "not an EC2 instance (no metadata service answers)"
    memory_gib = detected.memory_bytes / 2**30
    parts = [name, detected.arch, detected.cpu_model, f"{detected.vcpus} vCPUs", f"{memory_gib:.1f} GiB"]
    if detected.accelerator_name is not None:
        parts.append(f"{detected.accelerator_count} {detected.accelerator_name}")
    else:
        parts.append("no accelerator")
    if memory_gib < NEEDED_MEMORY_GIB:
        return Line("machine", ", ".join(parts), "note", "cells that do not fit are excluded: python -m yocobench.plan")
    return Line("machine", ", ".join(parts))


def _names(cfg: Config, detected: Detected) -> Line:
    """Under which names of the catalogue runs of this host may be filed."""
    fits = [one.name for one in config.instances(config.names("instance")) if not hardware.mismatch(detected, one)]
    asked = [name for name in fits if name in cfg.instances]
    if not asked:
        then = f"add one of {', '.join(fits)} to instances in params.yaml to measure this machine"
        return Line("may be called", f"{', '.join(fits)}; the study names none of them", "note", then)
    then = f"python -m yocobench.train workload={cfg.workloads[0]} subset={cfg.subsets[0]} instance={asked[-1]}"
    return Line("may be called", ", ".join(fits), then=then)


def _stack(detected: Detected) -> Line:
    from yocobench.bench.accelerators import open_device

    found = versions.versions()
    text = ", ".join(f"{name} {found[name]}" for name in ("torch", "torch-neuronx", "torch-xla") if name in found)
    try:
        open_device(detected.kind)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return Line("stack", f"{detected.kind}: {text or 'no torch'}: {error}", "bad", STACKS[detected.kind])
    return Line("stack", f"{detected.kind}: {text}")


def _disk(root: Path) -> Line:
    free_gib = shutil.disk_usage(root).free / 2**30
    if not os.access(root, os.W_OK):
        return Line("disk", "this folder is read-only", "bad", "clone into a folder of your own")
    if free_gib < NEEDED_DISK_GIB:
        text = f"{free_gib:.1f} GiB free, {NEEDED_DISK_GIB} needed"
        return Line("disk", text, "bad", "dvc gc --workspace removes data of older studies")
    return Line("disk", f"{free_gib:.0f} GiB free")


def _tools() -> Line:
    missing = [name for name in ("dvc", "git") if shutil.which(name, path=_path()) is None]
    if missing:
        then = "make decide installs dvc; git comes with the system"
        return Line("tools", f"not found: {', '.join(missing)}", "bad", then)
    return Line("tools", "dvc, git")


def _path() -> str:
    """Of the Makefile: the environment's own programs first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _data(root: Path) -> Iterator[Line]:
    missing = [kind for kind in ("text", "images") if not (root / "data" / kind / "manifest.json").is_file()]
    if missing:
        yield Line("data", f"not made yet: {', '.join(missing)}", "note", "dvc repro (seconds to minutes)")
    else:
        yield Line("data", "text, images")


def _store(root: Path) -> Line:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    database = root / "mlruns" / "mlflow.db"
    if not uri and not database.is_file():
        return Line("MLflow store", "mlruns/mlflow.db, made by the first run")
    try:
        open_store(root)
    except OSError as error:
        return Line("MLflow store", str(error), "bad", "unset MLFLOW_TRACKING_URI uses mlruns/ here" if uri else "")
    where = "the server of MLFLOW_TRACKING_URI" if uri else "mlruns/mlflow.db"
    return Line("MLflow store", where, then="" if uri else "make ui")


def _prices(cfg: Config, root: Path) -> Line:
    try:
        snapshot = pricelist.load(root / pricelist.SNAPSHOT)
    except (OSError, ValueError) as error:
        return Line("prices", str(error), "bad", "python -m yocobench.prices (with AWS credentials)")
    today = dt.datetime.now(dt.UTC).date()
    text, ok = pricelist.age(snapshot, cfg, today), snapshot.of_study(cfg) and not snapshot.stale(cfg, today)
    return Line("prices", text, "ok" if ok else "note", "" if ok else "dvc repro -f prices (with AWS credentials)")


def _remote(root: Path) -> Line:
    settings = configparser.ConfigParser()
    settings.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
    name = settings.get("core", "remote", fallback=None)
    if name is None:
        return Line("DVC remote", "none: data and results stay here", then="dvc remote add -d store s3://bucket/path")
    return Line("DVC remote", name, then="dvc pull, dvc push")


def _credentials(cfg: Config) -> Line:
    """Needed to launch and to fetch prices only."""
    needed = cfg.launch == "ec2"
    try:
        who = identity.whoami(cfg.region)
    except session.AwsError as error:
        text = f"{error}" if needed else f"{error} (needed only to launch and to fetch prices)"
        return Line("AWS", text, "bad" if needed else "note", "aws configure sso, then aws sso login")
    text = who.text(dt.datetime.now(dt.UTC))
    return Line("AWS", text, then="python -m yocobench.preflight asks for offers, images and permissions, type by type")


def _quotas(cfg: Config) -> Line:
    """Types of the study of which not a single box may run."""
    rented = [one for one in config.instances(cfg.instances) if not one.detect and one.hardware is not None]
    asked: dict[str, float] = {}
    short: list[str] = []
    for one in rented:
        code = quotas.code(one, cfg.usage_class)
        if code is None or one.hardware is None:
            continue
        try:
            asked[code] = asked[code] if code in asked else quotas.applied(code, cfg.region).vcpus
        except session.AwsError as error:
            return Line("quotas", str(error), "note", "python -m yocobench.preflight names each permission it needs")
        if asked[code] < one.hardware.vcpus:
            short.append(f"{one.name} ({asked[code]:g} of {one.hardware.vcpus} vCPUs)")
    if short:
        text = f"in {cfg.region} too small for {', '.join(short)}"
        return Line("quotas", text, "note", "python -m yocobench.preflight --request-quota prints the requests to make")
    return Line("quotas", f"{len(asked)} in {cfg.region}, {cfg.usage_class}: enough for every type of the study")


def show(lines: list[Line], console: Console) -> None:
    """The report."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for line in lines:
        text = f"{line.text}\n-> {line.then}" if line.then else line.text
        table.add_row({"ok": "ok", "note": "--", "bad": "NO"}[line.mark], line.what, Text(text))
    console.print(table, highlight=False)


def main(cfg: Config) -> int:
    """The command."""
    lines = list(examine(cfg, config.root(), hardware.detect()))
    show(lines, Console() if sys.stdout.isatty() else Console(width=PLAIN_COLUMNS))
    bad = [line.what for line in lines if line.mark == "bad"]
    if bad:
        print(f"make decide cannot run before this is in order: {', '.join(bad)}")
        return 1
    print("make decide can run")
    return 0


if __name__ == "__main__":
    config.stage(main)()
