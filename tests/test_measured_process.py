"""The measured process, started as the launcher starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_local_launcher import measure, spec

LOADER = {"dataset_path": "data/none", "dataset_items": 100}
"""A cell with data, whose loader is timed alone after the steps."""


@pytest.fixture
def toys_importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


# 2 + 6 steps of two batches need 16 of the 40; the loader alone then runs out of them within its half second.
@pytest.mark.slow
@pytest.mark.usefixtures("toys_importable")
def test_batches_that_end_when_the_loader_is_timed_alone_cost_no_measured_step():
    found = measure(spec(fault="ended", at=40, protocol={"repeats": 1}).model_copy(update=LOADER))
    [repeat] = found.repeats
    assert (repeat.outcome, len(repeat.step_times_s)) == ("ok", 6)
    assert "the loader alone was not measured: StopIteration" in repeat.warnings


@pytest.mark.slow
@pytest.mark.usefixtures("toys_importable")
def test_a_loaders_worker_that_is_killed_is_an_outcome_with_what_may_help():
    found = measure(spec(fault="worker killed", protocol={"repeats": 1}))
    assert found.outcome == "killed"
    assert found.reason.startswith("DataLoader worker (pid")
    assert "--shm-size" in found.reason
    assert len(found.repeats[0].step_times_s) == 1  # of 8 batches, two a step: the first step, two to warm up, one


@pytest.mark.usefixtures("toys_importable")
def test_what_a_cell_is_called_reaches_a_process_of_another_locale(monkeypatch):
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)  # of the child: this process keeps its own
    found = measure(spec(fault="gar keiner, größtes Ärgernis", protocol={"repeats": 1}))
    assert found.outcome == "ok", found.reason


@pytest.mark.parametrize("folder_is_gone", [False, True])
def test_a_process_whose_launcher_was_killed_meanwhile_ends(tmp_path, folder_is_gone):
    given, pipe = tmp_path / "spec", tmp_path / "progress"
    given.write_text(spec().model_dump_json(by_alias=True))
    if not folder_is_gone:
        os.mkfifo(pipe)
    command = [sys.executable, "-m", "yocobench.bench.measure", "--spec", str(given), "--repeat", "0"]
    command += ["--out", str(tmp_path / "out.json"), "--progress", str(pipe)]
    ended = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "nobody reads it, the launcher is gone" in ended.stderr
    assert not (tmp_path / "out.json").exists()
