"""Replaying a receipt gives its numbers under their own name, and never those of another model."""

from __future__ import annotations

from pathlib import Path

import pytest

import examples
from yocobench import config, receipt
from yocobench.bench.measurement import Measurement
from yocobench.launchers import build_launcher
from yocobench.launchers.replay import ReplayLauncher
from yocobench.receipt import Receipt
from yocobench.telling import Progress

FOLDER = "results/receipts"


def record(root: Path, one: Receipt) -> Path:
    path = root / FOLDER / "yoco-lm/smoke/local.json"
    receipt.write(one, path)
    return path


def replay(root: Path, told: list[Progress] | None = None, size: str = "tiny") -> Measurement:
    reports = [] if told is None else told
    launcher = ReplayLauncher(receipts=FOLDER)
    return launcher.run(examples.spec(size=size), config.instance("local"), root, reports.append)


def test_a_recorded_cell_comes_back_whole_and_labelled_replayed(project):
    recorded = examples.receipt()
    record(project, recorded)
    told: list[Progress] = []
    found = replay(project, told)
    assert found.source == "replayed"
    assert found == recorded.measurement.model_copy(update={"source": "replayed"})
    assert [len(one.step_times_s) for one in found.repeats] == [4, 4]
    assert [(one.phase, one.repeats) for one in told] == [("replay", 2)]


def test_a_recording_of_another_cell_says_in_what_it_was(project):
    recorded = examples.receipt()
    changes = {"dataset_md5": "f" * 32, "code_md5": "01d", "micro_batch_size": 2, "host_id": "elsewhere"}
    record(project, recorded.model_copy(update={"spec": recorded.spec.model_copy(update=changes)}))
    found = replay(project)
    assert found.outcome == "ok"
    said = "replayed from a recording with another dataset, micro batch size, code: not quite this cell's work"
    assert found.reason == said


def test_a_recorded_failure_is_replayed_as_that_failure(project):
    record(project, examples.receipt(repeats=(), outcome="out_of_memory", reason="no more memory"))
    found = replay(project)
    assert (found.outcome, found.reason, found.source) == ("out_of_memory", "no more memory", "replayed")


def test_a_cell_without_a_receipt_is_unmeasured_and_names_the_file_it_looked_for(project):
    told: list[Progress] = []
    found = replay(project, told)
    assert (found.outcome, found.source, found.detected, told) == ("unmeasured", "replayed", None, [])
    assert found.reason == "no recorded receipt results/receipts/yoco-lm/smoke/local.json"


def test_the_numbers_of_another_model_are_not_passed_off(project):
    record(project, examples.receipt(size="small"))
    found = replay(project, size="tiny")
    assert (found.outcome, found.repeats) == ("unmeasured", ())
    assert "local.json was recorded for another configuration of yoco-lm" in found.reason


def test_a_damaged_receipt_is_an_error_not_a_missing_cell(project):
    path = record(project, examples.receipt())
    path.write_text(path.read_text()[:-100])
    with pytest.raises(ValueError, match=r"local\.json: not a whole receipt .* run `dvc repro`"):
        replay(project)


def test_the_catalogues_replay_launcher_reads_no_folder_that_dvc_empties(project):
    launcher = build_launcher(config.entry("launcher", "replay"))
    assert isinstance(launcher, ReplayLauncher)
    assert launcher.receipts != FOLDER  # outputs of train: DVC removes them before the cell can read them
    receipt.write(examples.receipt(), project / launcher.receipts / "yoco-lm/smoke/local.json")
    found = launcher.run(examples.spec(), config.instance("local"), project, lambda _: None)
    assert (found.outcome, found.source, len(found.repeats)) == ("ok", "replayed", 2)
