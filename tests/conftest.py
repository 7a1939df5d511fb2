"""Shared fixtures: a project folder to work in, and an MLflow store without paying for its migrations each time."""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from yocobench.tracking import sqlite, store

REPOSITORY = Path(__file__).parents[1]
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of some 300 processes would compile all of src/ anew
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker for each core: threads beside them, here and in what the tests start, would only spin for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
# A machine for each worker, as it were: their cells would wait for each other, and for real ones (launchers/alone.py).
os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="yocobench-tests-")
Path(tempfile.tempdir).chmod(0o755)  # some tests are another user for a while
atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
MADE_ONCE = ("cache/trace-*.json", "calibration/*.json")
"""Under mlruns/: named by code, configuration and host, so the same in every project."""


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty sqlite store (seconds to make); copy it to <project>/mlruns/mlflow.db."""
    folder = tmp_path_factory.mktemp("template")
    sqlite.create(folder / "mlflow.db", folder / "artifacts", store.EXPERIMENT)
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the study and the catalogue, without data, runs or results; the current folder of the test."""
    shutil.copytree(REPOSITORY / "conf", tmp_path / "conf")
    for name in ("params.yaml", "dvc.yaml"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / "mlruns").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def tracked(project: Path, store_template: Path) -> Path:
    """`project` with an empty MLflow store in it."""
    shutil.copy(store_template, project / "mlruns" / "mlflow.db")
    return project


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers share: MADE_ONCE of earlier tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def warm(project: Path, kept: Path) -> Iterator[Path]:
    """`project` as after its first command: traces (seconds and an import of torch) and the host's micro-benchmark."""
    hand_on(kept, project / "mlruns")
    yield project
    hand_on(project / "mlruns", kept)


def hand_on(source: Path, target: Path) -> None:
    """Copy what `target` lacks of MADE_ONCE."""
    for path in (path for pattern in MADE_ONCE for path in source.glob(pattern)):
        there = target / path.relative_to(source)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, part := there.with_name(f".{there.name}.{os.getpid()}"))
            part.replace(there)
