"""Two measurements on one machine: one waits for the other. Real processes, the kernel's real lock."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import commands
from test_train import add_toy
from yocobench import receipt
from yocobench.launchers import alone as whom
from yocobench.launchers import local
from yocobench.launchers.alone import alone, lock_path
from yocobench.launchers.local import LocalLauncher

HOLDER = """
import sys
from yocobench.launchers.alone import alone
with alone("toy-smoke-local", print, []):
    print("measures", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def own_machine(tmp_path_factory, monkeypatch):
    """A folder for temporary files that no other test's measurement has."""
    folder = tmp_path_factory.mktemp("machine")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    monkeypatch.undo()
    tempfile.tempdir = None


@pytest.fixture
def other(own_machine):
    """A process that measures until it is told to end."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "measures\n"
        yield process
        process.kill()


def test_a_measurement_waits_for_the_one_that_runs_and_says_for_which(other):
    told = []

    def waiting(cell):
        told.append(cell)
        assert other.poll() is None
        other.stdin.write("\n")
        other.stdin.flush()

    with alone("mine", waiting, []):
        assert other.wait(timeout=30) == 0
    assert told[0] == f"toy-smoke-local (process {other.pid})"


def test_a_killed_measurement_holds_nobody_up(other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with alone("mine", pytest.fail, []):
        pass


@pytest.mark.usefixtures("other")
def test_a_signal_ends_the_waiting():
    stop = []
    with alone("mine", lambda _: stop.append(signal.SIGINT), stop) as free:
        assert (free, stop) == (False, [signal.SIGINT])


THREE = """
import sys, time
from yocobench.launchers.alone import alone
for _ in range(3):
    with alone("toy", lambda _: None, []), open(sys.argv[1], "a") as log:
        log.write("a")
        log.flush()
        time.sleep(0.5)
"""


def test_who_waits_is_next(tmp_path):
    log = tmp_path / "log"
    log.touch()
    with subprocess.Popen([sys.executable, "-c", THREE, str(log)]):
        while not log.read_text():
            time.sleep(0.02)
        for _ in range(3):
            with alone("mine", lambda _: None, []), log.open("a") as file:
                file.write("b")
                file.flush()
                time.sleep(0.2)
    assert log.read_text() == "ababab"


def test_without_a_place_for_the_lock_nothing_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr("yocobench.launchers.alone.lock_path", lambda: tmp_path / "no folder" / "a.lock")
    with alone("mine", pytest.fail, []) as free:
        assert free


def test_one_process_measures_twice_in_a_row():
    for _ in range(2):
        with alone("mine", pytest.fail, []):
            assert lock_path().with_suffix(".holder").read_text() == f"mine (process {os.getpid()})"


@pytest.mark.slow
def test_a_cell_is_measured_after_the_one_that_another_command_measures(tracked, other, monkeypatch):
    add_toy(tracked, "toy")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    said = whom._told

    def told(holder):
        other.stdin.write("\n")  # ends once it was waited for
        other.stdin.flush()
        return said(holder)

    monkeypatch.setattr(whom, "_told", told)
    done = commands.run("train", "workload=toy", "instance=local", "protocol.repeats=1", "receipt=r.json")
    assert done.returncode == 0, done.stderr
    waited = f"toy-smoke-local: repeat 1 of 1, waits, toy-smoke-local (process {other.pid}) is measured here\n"
    assert waited in done.stderr
    assert done.stderr.index(waited) < done.stderr.index("repeat 1 of 1, setup")


@pytest.mark.usefixtures("other")
def test_a_cell_that_is_stopped_while_it_waits_starts_nothing(project, monkeypatch):
    def told(_holder):
        os.kill(os.getpid(), signal.SIGTERM)
        return "another"

    monkeypatch.setattr(whom, "_told", told)
    monkeypatch.setattr(LocalLauncher, "_repeat", lambda *_: pytest.fail("a repeat was started"))
    add_toy(project, "toy")
    done = commands.run("train", "workload=toy", "instance=local", "receipt=r.json")
    assert done.returncode == 0, done.stderr
    left = receipt.read(project / "r.json").measurement
    assert (left.outcome, left.reason) == ("interrupted", "stopped while it waited for its turn")


@pytest.mark.usefixtures("other")
def test_a_cell_whose_pipeline_was_killed_waits_no_longer(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train@toy")
    monkeypatch.setattr(local, "PARENT", 0)  # the one that started it is gone
    add_toy(project, "toy")
    assert commands.run("train", "workload=toy", "instance=local", "receipt=r.json").returncode == 130
    assert receipt.read(project / "r.json").measurement.reason == "stopped while it waited for its turn"
