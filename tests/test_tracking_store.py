"""Opening the MLflow store, and how its failures read."""

import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from examples import receipt, repeat, spec
from yocobench.tracking import StoreError, open_store

TESTS = Path(__file__).parent


def python(code: str, cwd: Path, **options: object) -> subprocess.Popen[str]:
    """A process of its own that runs `code` with the examples at hand."""
    head = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from examples import *; from pathlib import Path\n"
    head += "from yocobench.tracking import open_store, StoreError\n"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", head + code], cwd=cwd, text=True, stdout=pipe, stderr=pipe, **options
    )


def runs_of(store, condition=""):
    """All but those that only fold a sweep."""
    found = store.client.search_runs([store.experiment_id], condition, max_results=1000)
    return [run for run in found if run.data.tags["level"] != "sweep"]


@pytest.mark.slow
def test_eight_processes_that_start_together_on_a_fresh_store_lose_nothing(project):
    # Forked when MLflow is imported, so that all of them meet at the store at the same moment.
    code = """
import multiprocessing
import mlflow.store.tracking.sqlalchemy_store
def log(number):
    open_store(Path.cwd()).log_receipt(receipt(size=f"size{number}"), None, [])
processes = [multiprocessing.get_context("fork").Process(target=log, args=(i,)) for i in range(8)]
for process in processes: process.start()
for process in processes: process.join()
print([process.exitcode for process in processes])
"""
    (project / "mlruns" / ".mlflow.db.1").write_text("left by a process that was killed while it made the store")
    said, error = python(code, project).communicate()
    assert said.splitlines()[-1:] == [str([0] * 8)], error
    store = open_store(project)
    keys = [spec(size=f"size{i}").key for i in range(8)]
    assert [len(found) for found in store.fetch_repeats(keys).values()] == [2] * 8
    assert len(runs_of(store)) == 24
    with sqlite3.connect(project / "mlruns" / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert not (project / "mlruns" / ".mlflow.db.1").exists()


def test_a_store_moved_with_its_folder_takes_its_artifacts_along(tracked, tmp_path_factory):
    open_store(tracked).log_receipt(receipt(), None, [])
    moved = tmp_path_factory.mktemp("moved") / "it's 100%"
    shutil.copytree(tracked, moved)
    store = open_store(moved)
    (parent,) = runs_of(store, "tags.level = 'cell'")
    assert parent.info.artifact_uri.startswith((moved / "mlruns" / "artifacts").as_uri())
    assert "receipt.json" in {item.path for item in store.client.list_artifacts(parent.info.run_id)}


def test_a_server_that_does_not_answer_is_one_line_without_the_password(project, monkeypatch):
    with socket.socket() as listener:  # bound, not listening: refused at once
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        with pytest.raises(StoreError) as caught:
            open_store(project)
    message = str(caught.value)
    assert message.startswith(f"http://127.0.0.1:{port} cannot be reached or used (")
    assert "Connection refused" in message
    assert "check MLFLOW_TRACKING_URI, then `python -m yocobench.restore`" in message
    assert "secret" not in message
    assert "\n" not in message


def test_a_plain_folder_as_store_is_refused_with_the_way_out(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (project / "elsewhere").as_uri())
    with pytest.raises(StoreError, match="unset MLFLOW_TRACKING_URI"):
        open_store(project)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("451aebb31d03", r"older MLflow .*`mlflow db upgrade sqlite:///mlruns/mlflow.db`"),
        ("ffffffffffff", r"newer MLflow .*`python -m pip install -c constraints.txt -e \.`"),
    ],
)
def test_a_store_of_another_schema_is_refused_untouched_with_the_command(tracked, version, message):
    with sqlite3.connect(tracked / "mlruns" / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    with pytest.raises(StoreError, match=message):
        open_store(tracked)
    with sqlite3.connect(tracked / "mlruns" / "mlflow.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (version,)


def test_a_damaged_store_and_a_foreign_one_are_told_apart_from_an_empty_one(project, store_template):
    database = project / "mlruns" / "mlflow.db"
    database.write_text("not a database, but long enough to be looked at as one" * 100)
    with pytest.raises(StoreError, match=r"sqlite:///mlruns/mlflow.db is damaged; `mv mlruns/mlflow.db "):
        open_store(project)
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="no MLflow store"):
        open_store(project)


def test_a_read_only_store_is_one_line(tracked, monkeypatch):
    database = tracked / "mlruns" / "mlflow.db"
    open_store(tracked)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///file:{database}?mode=ro&uri=true")
    with pytest.raises(StoreError, match=r"read-only.*`python -m yocobench.restore`"):
        open_store(tracked).log_receipt(receipt(), None, [])


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_receipt_can_be_logged_when_there_is_room(tracked):
    size = (tracked / "mlruns" / "mlflow.db").stat().st_size
    code = "try:\n open_store(Path.cwd()).log_receipt(receipt((repeat(0, steps=4000),)), None, [])\n"
    code += "except StoreError as error:\n print(error)"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, size + 100_000))

    process = python(code, tracked, preexec_fn=limit)
    out, error = process.communicate()
    assert "no space left for sqlite:///mlruns/mlflow.db" in out, error
    store = open_store(tracked)
    store.log_receipt(receipt((repeat(0, steps=4000),)), None, [])
    assert len(runs_of(store)) == 2


@pytest.mark.slow
def test_a_locked_store_is_one_line(tracked):
    store = open_store(tracked)
    holder = sqlite3.connect(tracked / "mlruns" / "mlflow.db")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"locked by another process.*`python -m yocobench.restore`"):
        store.log_receipt(receipt(), None, [])
    holder.rollback()
    store.log_receipt(receipt(), None, [])
    assert len(runs_of(store)) == 3


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(tracked):
    store = open_store(tracked)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(StoreError, match=f"mlflow experiments restore --experiment-id {store.experiment_id}"):
        open_store(tracked)
