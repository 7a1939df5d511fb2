"""Shared fixtures: a project folder to work in, and an MLflow store without paying for its migrations each time."""

import os
import shutil
from pathlib import Path

import pytest

from yocobench.tracking import sqlite, store

REPOSITORY = Path(__file__).parents[1]
if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker for each core: threads beside them, here and in what the tests start, would only spin for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported


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
