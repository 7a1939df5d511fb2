"""What makes the MLflow UI answer: sweeps fold into one run, decisions describe themselves, the choice is kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY
from examples import receipt
from yocobench.tracking import Store, open_store


@pytest.fixture
def store(tracked: Path) -> Store:
    return open_store(tracked)


def runs_of(store: Store, level: str) -> list[Any]:
    return list(store.client.search_runs([store.experiment_id], f"tags.level = '{level}'", max_results=1000))


def swept(day: str, sweep: str | None) -> Any:
    one = receipt(recorded_at=f"2026-11-{day}T12:00:00+00:00")
    return one.model_copy(update={"provenance": one.provenance.model_copy(update={"sweep": sweep})})


def decide(store: Store, workload: str, sentence: str, chosen: str | None) -> str:
    run_id = store.log_decision({"sentence": sentence}, [], workload, {"hours": 2.0}, {"chosen": chosen or "none"})
    store.register(workload, run_id, chosen, {"verdict": "measured"})
    return run_id


def test_the_cells_of_one_sweep_are_nested_below_one_run_whichever_comes_first(store):
    for day in ("01", "03", "02"):
        store.log_receipt(swept(day, "2026-11-23T10-00-00"), None, [])
    [above] = runs_of(store, "sweep")
    cells = runs_of(store, "cell")
    assert (above.info.run_name, above.info.status) == ("sweep 2026-11-23T10-00-00", "FINISHED")
    assert above.info.end_time == max(cell.info.end_time for cell in cells)
    assert [cell.data.tags["mlflow.parentRunId"] for cell in cells] == [above.info.run_id] * 3
    repeats = runs_of(store, "repeat")
    assert {one.data.tags["mlflow.parentRunId"] for one in repeats} == {cell.info.run_id for cell in cells}


def test_two_sweeps_have_a_run_each_and_a_single_run_has_none(store):
    for day, sweep in (("01", "a"), ("02", "b"), ("03", None)):
        store.log_receipt(swept(day, sweep), None, [])
    assert {run.info.run_name for run in runs_of(store, "sweep")} == {"sweep a", "sweep b"}
    assert sum("mlflow.parentRunId" in cell.data.tags for cell in runs_of(store, "cell")) == 2


def test_the_chosen_type_can_be_read_by_its_alias_as_the_page_says(store, monkeypatch, capsys):
    run_id = decide(store, "yoco-lm", "g5.xlarge is the cheapest", "g5.xlarge")
    [code] = re.findall(r"(?ms)^```python\n(.*?)^```", (REPOSITORY / "docs" / "mlflow.md").read_text(encoding="utf-8"))
    assert sum(bool(line) for line in code.splitlines()) == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    exec(code)
    assert capsys.readouterr().out == "g5.xlarge\n"
    version = store.client.get_model_version_by_alias("yocobench-yoco-lm", "chosen")
    assert (version.run_id, version.tags["verdict"]) == (run_id, "measured")
    assert version.source.endswith(f"{run_id}/artifacts/decision.json")


def test_a_new_choice_takes_the_alias_and_the_old_one_stays_as_history(store):
    decide(store, "yoco-lm", "first", "g5.xlarge")
    decide(store, "yoco-lm", "first", "g5.xlarge")
    decide(store, "yoco-lm", "second", "g6.xlarge")
    versions = store.client.search_model_versions("name = 'yocobench-yoco-lm'")
    assert {one.version: one.tags["instance"] for one in versions} == {1: "g5.xlarge", 2: "g6.xlarge"}
    assert store.client.get_model_version_by_alias("yocobench-yoco-lm", "chosen").tags["instance"] == "g6.xlarge"


def test_where_nothing_is_chosen_no_old_answer_can_be_read(store):
    decide(store, "yoco-lm", "nothing yet", None)
    decide(store, "yoco-lm", "first", "g5.xlarge")
    decide(store, "yoco-lm", "infeasible", None)
    assert store.client.get_registered_model("yocobench-yoco-lm").aliases == {}
    decide(store, "yoco-lm", "again", "g5.xlarge")
    assert store.client.get_model_version_by_alias("yocobench-yoco-lm", "chosen").version == 2


def test_the_experiment_and_the_decision_say_the_answer_in_words(store):
    run_id = decide(store, "yoco-lm", "g5.xlarge is the cheapest", "g5.xlarge")
    store.describe("**yoco-lm**: g5.xlarge is the cheapest")
    experiment = store.client.get_experiment(store.experiment_id)
    assert experiment.tags["mlflow.note.content"] == "**yoco-lm**: g5.xlarge is the cheapest"
    assert store.client.get_run(run_id).data.tags["mlflow.note.content"] == "g5.xlarge is the cheapest"
