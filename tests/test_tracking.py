"""The MLflow store: what a receipt becomes there, what comes back, and how its failures read."""

import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from examples import receipt, repeat, spec
from yocobench.receipt import read
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
    return store.client.search_runs([store.experiment_id], condition, max_results=1000)


# --- what is logged ---------------------------------------------------------------------------------------------


def test_a_receipt_becomes_a_parent_run_with_aggregates_and_a_child_run_per_repeat(tracked):
    store = open_store(tracked)
    (tracked / "constraints.txt").write_text("torch==2.13.0\n")

    logged = store.log_receipt(receipt(), {"cost_usd": 0.25}, [tracked / "constraints.txt"])

    parent = store.client.get_run(logged.run_id)
    children = runs_of(store, f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    assert (parent.info.run_name, parent.info.status) == ("yoco-lm-smoke-local", "FINISHED")
    assert sorted(child.info.run_name for child in children) == ["yoco-lm-smoke-local #0", "yoco-lm-smoke-local #1"]
    expected = {
        "samples_per_second": 300.0,  # mean of 100 / 0.5 and 100 / 0.25
        "step_time_median_s": 0.375,  # four of 0.5, four of 0.25
        "data_wait_share": 0.1,
        "setup_s": 3.0,
        "first_step_s": 3.0,
        "peak_memory_bytes": 1e6,
        "flops_per_second": 1500.0,
        "heldout_loss": 4.5,  # mean of 4 and 5
        "heldout_initial_loss": 9.0,
        "phase_data_s": 7.0,
        "cost_usd": 0.25,
        "repeats_ok": 2,
        "system/cpu_utilization_percentage": 75.0,
    }
    assert {name: parent.data.metrics[name] for name in expected} == pytest.approx(expected)
    assert parent.data.metrics["samples_per_second_low"] < 300 < parent.data.metrics["samples_per_second_high"]


def test_tags_params_dataset_and_files_say_what_was_run_where(tracked):
    store = open_store(tracked)
    logged = store.log_receipt(receipt(), None, [tracked / "params.yaml"])

    parent = store.client.get_run(logged.run_id)
    tags, params = parent.data.tags, parent.data.params
    expected = {
        "cell_key": spec().key,
        "dataset_md5": "0123456789abcdef0123456789abcdef",
        "git_commit": "a" * 40,
        "git_dirty": "False",
        "launcher": "local",
        "source": "measured",
        "outcome": "ok",
        "cpu_model": "A CPU",
        "host_id": "h0st",
        "version_torch": "2.13.0",
        "sweep": "sweep-1",
        "level": "cell",
        "workload": "yoco-lm",
    }
    assert {name: tags[name] for name in expected} == expected
    assert not {"accelerator_name", "instance_type", "mlflow.user", "mlflow.source.name"} & set(tags)
    assert (params["arg_size"], params["arg_optimizer.lr"], params["protocol_repeats"]) == ("tiny", "0.001", "2")
    assert (params["micro_batch_size"], params["accumulation_steps"]) == ("4", "2")
    (dataset,) = parent.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("text", "0123456789abcdef0123456789abcdef")
    assert dataset.dataset.source == '{"uri": "data/text"}'
    artifacts = tracked / "mlruns" / "artifacts" / logged.run_id / "artifacts"
    assert sorted(path.name for path in artifacts.iterdir()) == ["cell.json", "params.yaml", "receipt.json"]
    assert read(artifacts / "receipt.json") == logged


def test_every_step_of_a_repeat_is_a_point_also_beyond_one_batch(tracked):
    store = open_store(tracked)
    store.log_receipt(receipt(repeats=(repeat(0, 0.5, steps=1100),)), None, [])

    (child,) = runs_of(store, "tags.level = 'repeat'")
    times = store.client.get_metric_history(child.info.run_id, "step_time_s")
    losses = store.client.get_metric_history(child.info.run_id, "loss")
    assert [point.step for point in times] == list(range(1100))
    assert [losses[0].value, losses[-1].value] == [1100.0, 1.0]
    # started 03:04:05; import 1 + build 2 + first 3 + warm-up 2, then the first step of 0.5 s
    assert times[0].timestamp - child.info.start_time == 8500
    assert times[1].timestamp - times[0].timestamp == 500


@pytest.mark.parametrize(
    ("outcome", "status"), [("out_of_memory", "FAILED"), ("excluded", "FAILED"), ("interrupted", "KILLED")]
)
def test_a_cell_that_did_not_end_well_is_a_run_that_says_so(tracked, outcome, status):
    store = open_store(tracked)
    failed = repeat(0, steps=0, outcome=outcome, reason="because", build_s=None)
    logged = store.log_receipt(receipt(repeats=(failed,), outcome=outcome, reason="because"), None, [])

    parent = store.client.get_run(logged.run_id)
    assert parent.info.status == status
    assert "samples_per_second" not in parent.data.metrics
    key = spec().key
    assert store.fetch_repeats([key]) == {key: []}
    assert [(o.outcome, o.reason) for o in store.fetch_outcomes([key])[key]] == [(outcome, "because")]


def test_a_diverged_repeat_keeps_its_losses_and_has_no_final_loss(tracked):
    store = open_store(tracked)
    diverged = repeat(0, steps=2, outcome="diverged", losses=(1.0, float("nan")))
    store.log_receipt(receipt(repeats=(diverged,), outcome="diverged"), None, [])

    (child,) = runs_of(store, "tags.level = 'repeat'")
    assert len(store.client.get_metric_history(child.info.run_id, "loss")) == 2
    assert "final_loss" not in child.data.metrics


def test_the_same_receipt_is_logged_once_and_stays_deleted_once_deleted(tracked):
    store = open_store(tracked)
    first = store.log_receipt(receipt(), None, [])
    assert store.log_receipt(first, None, []).run_id == first.run_id
    assert len(runs_of(store)) == 3
    for run in runs_of(store):
        store.client.delete_run(run.info.run_id)
    store.log_receipt(receipt(), None, [])
    assert runs_of(store) == []


def test_runs_that_a_crash_left_half_written_are_replaced(tracked, monkeypatch):
    store = open_store(tracked)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("yocobench.tracking.log._log_repeat", crash)
        with pytest.raises(KeyboardInterrupt):
            store.log_receipt(receipt(), None, [])
    assert [run.info.status for run in runs_of(store)] == ["RUNNING"]
    key = spec().key
    assert store.fetch_outcomes([key]) == {key: []}

    store.log_receipt(receipt(), None, [])
    assert [run.info.status for run in runs_of(store)] == ["FINISHED"] * 3


def test_stray_mlflow_variables_change_nothing(tracked, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    store = open_store(tracked)
    logged = store.log_receipt(receipt(), None, [])
    assert store.client.get_run(logged.run_id).info.experiment_id == store.experiment_id
    assert store.client.get_experiment_by_name("elsewhere") is None


# --- what comes back --------------------------------------------------------------------------------------------


def test_repeats_come_back_by_cell_key_with_what_pooling_needs(tracked):
    store = open_store(tracked)
    store.log_receipt(receipt(), None, [])
    store.log_receipt(receipt(size="small", source="replayed"), None, [])
    tiny, small, absent = spec().key, spec(size="small").key, "0" * 16

    found = store.fetch_repeats([small, tiny, absent])

    assert list(found) == [small, tiny, absent]
    assert found[absent] == []
    assert [r.source for r in found[small]] == ["replayed", "replayed"]
    first, second = found[tiny]
    assert (first.samples_per_second, second.samples_per_second) == (200.0, 400.0)
    assert (first.repeat, first.num_steps, first.samples_per_step, first.setup_s) == (0, 4, 100, 3.0)
    assert (first.step_time_relative_half_width, first.step_time_std_s) == (0.0, 0.0)
    assert second.heldout == {"initial_loss": 9.0, "loss": 5.0}


def test_outcomes_come_back_oldest_first(tracked):
    store = open_store(tracked)
    late = receipt(recorded_at="2026-02-01T00:00:00+00:00")
    early = receipt((), outcome="unavailable", reason="no capacity", recorded_at="2026-01-01T00:00:00+00:00")
    store.log_receipt(late, None, [])
    store.log_receipt(early, None, [])
    key = spec().key
    assert [o.outcome for o in store.fetch_outcomes([key])[key]] == ["unavailable", "ok"]


def test_deleted_runs_do_not_come_back(tracked):
    store = open_store(tracked)
    store.log_receipt(receipt(), None, [])
    key = spec().key
    store.client.delete_run(store.fetch_repeats([key])[key][0].run_id)
    assert [r.repeat for r in store.fetch_repeats([key])[key]] == [1]


def test_a_decision_is_logged_again_only_when_it_changed(tracked):
    store = open_store(tracked)
    page = tracked / "decision.md"
    page.write_text("# g5.xlarge\n")
    arguments = ([page], "yoco-lm", {"cost_usd": 3.5}, {"objective": "cheapest"})

    first = store.log_decision({"winner": "g5.xlarge"}, *arguments)
    again = store.log_decision({"winner": "g5.xlarge"}, *arguments)
    other = store.log_decision({"winner": "g6.xlarge"}, *arguments)

    assert first == again != other
    run = store.client.get_run(other)
    assert (run.data.tags["level"], run.data.tags["objective"]) == ("decision", "cheapest")
    assert run.data.metrics == {"cost_usd": 3.5}
    assert {item.path for item in store.client.list_artifacts(other)} == {"decision.json", "decision.md"}


@pytest.mark.slow
def test_a_store_of_ten_thousand_runs_is_asked_once_per_cell_and_gives_only_its_rows(tracked, monkeypatch):
    store = open_store(tracked)
    store.log_receipt(receipt(), None, [])
    multiply_runs(tracked / "mlruns" / "mlflow.db", "yoco-lm-smoke-local #0", 10_000)
    rows = []
    search = store.client.search_runs

    def counted(*arguments, **options):
        page = search(*arguments, **options)
        rows.append(len(page))
        return page

    monkeypatch.setattr(store.client, "search_runs", counted)
    keys = [spec().key, *(f"{number:016x}" for number in range(23))]
    assert [len(found) for found in store.fetch_repeats(keys).values()] == [2] + [1] * 23
    assert rows == [2] + [1] * 23


def multiply_runs(database: Path, name: str, count: int) -> None:
    """Copies of one run under other cell keys, written to the tables: logging them would take minutes."""
    with sqlite3.connect(database) as connection:
        numbers = [(n, f"{n:032x}", f"{n:016x}") for n in range(count)]
        connection.execute("CREATE TEMP TABLE copies (n INTEGER, run TEXT, cell TEXT)")
        connection.executemany("INSERT INTO copies VALUES (?, ?, ?)", numbers)
        (run,) = connection.execute("SELECT run_uuid FROM runs WHERE name = ?", (name,)).fetchone()
        for table in ("runs", "params", "tags", "latest_metrics"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            shown = ["run" if column == "run_uuid" else column for column in columns]
            if table == "tags":
                shown[columns.index("value")] = "CASE WHEN key = 'cell_key' THEN cell ELSE value END"
            connection.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(shown)} FROM {table}, copies "
                "WHERE run_uuid = ?",
                (run,),
            )


# --- opening, and what can be wrong -----------------------------------------------------------------------------


@pytest.mark.slow
def test_eight_processes_that_start_together_on_a_fresh_store_lose_nothing(project):
    code = "open_store(Path.cwd()).log_receipt(receipt(size='size{}'), None, [])"
    (project / "mlruns" / ".mlflow.db.1").write_text("left by a process that was killed while it made the store")
    processes = [python(code.format(i), project) for i in range(8)]
    ended = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, ended
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
