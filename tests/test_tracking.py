"""The MLflow store: what a receipt becomes there, and what comes back. Its failures: test_tracking_store.py."""

import sqlite3
from pathlib import Path

import pytest

from examples import receipt, repeat, spec
from yocobench.bench.measurement import HostActivity
from yocobench.receipt import read
from yocobench.tracking import open_store


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


def test_a_repeat_says_whether_it_was_compiled_at_what_cost_and_what_was_odd(tracked):
    store = open_store(tracked)
    eager = repeat(1, compiled=False, warnings=("no compiler", "stolen time"))
    odd = receipt(repeats=(repeat(0, compiled=True, compile_s=2.5, skipped_steps=3), eager))
    logged = store.log_receipt(odd, None, [])
    children = runs_of(store, f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    first, second = sorted(children, key=lambda child: child.info.run_name)
    assert (first.data.params["compiled"], second.data.params["compiled"]) == ("True", "False")
    assert (first.data.metrics["compile_s"], first.data.metrics["skipped_steps"]) == (2.5, 3.0)
    assert "compile_s" not in second.data.metrics
    assert "warnings" not in first.data.tags
    assert second.data.tags["warnings"] == "no compiler\nstolen time"
    hot = repeat(0, warnings=("a; b", "c"), activity=HostActivity(gpu_throttle=("power brake",), gpu_power_capped=True))
    store.log_receipt(receipt((hot,), "g4dn.xlarge"), None, [])
    (back,) = store.fetch_repeats([spec("g4dn.xlarge").key])[spec("g4dn.xlarge").key]
    assert (back.warnings, back.gpu_throttle) == (("a; b", "c"), ("power brake",))
    assert store.client.get_run(back.run_id).data.metrics["gpu_power_capped"] == 1


def test_credits_that_run_out_are_no_neighbours_in_the_verdict_of_a_burstable_type(tracked):
    slower = (0.1,) * 40 + (0.2,) * 20
    found = repeat(0, step_times_s=slower, data_wait_s=(0.0,) * 60, losses=())
    store = open_store(tracked)
    logged = store.log_receipt(receipt((found,)).model_copy(update={"burstable": True}), None, [])
    (child,) = runs_of(store, f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    assert child.data.tags["stability"] == "trending"
    assert "CPU credits ran out" in child.data.tags["stability_reasons"]
    assert "neighbour" not in child.data.tags["stability_reasons"]


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
    assert len(runs_of(store)) == 4  # the sweep's, the cell's and two repeats'
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
    assert [run.info.status for run in runs_of(store, "tags.level = 'cell'")] == ["RUNNING"]
    key = spec().key
    assert store.fetch_outcomes([key]) == {key: []}

    store.log_receipt(receipt(), None, [])
    assert [run.info.status for run in runs_of(store)] == ["FINISHED"] * 4


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


def test_of_a_killed_cell_one_sees_whether_a_repeat_had_begun(tracked):
    store = open_store(tracked)
    begun = repeat(0, steps=0, outcome="killed")
    for number, repeats in enumerate(((), (begun,))):
        store.log_receipt(
            receipt(repeats, outcome="killed", recorded_at=f"2026-01-0{number + 1}T00:00:00+00:00"), None, []
        )
    key = receipt().cell_key
    assert [one.num_repeats for one in store.fetch_outcomes([key])[key]] == [0, 1]


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

    first = store.log_decision({"sentence": "g5.xlarge"}, *arguments)
    again = store.log_decision({"sentence": "g5.xlarge"}, *arguments)
    other = store.log_decision({"sentence": "g6.xlarge"}, *arguments)

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
