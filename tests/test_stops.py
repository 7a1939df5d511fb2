"""A signal in a multirun: what ends, what is kept, with which status. Real signals, in the launchers' own handlers."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from test_train import FAST, add_toy, study  # noqa: F401
from yocobench import config, receipt
from yocobench.launchers import ec2
from yocobench.launchers.signals import stop_requests
from yocobench.tracking import open_store

SAID = "interrupted: no further job was started; what was measured is recorded\n"


def sweep(monkeypatch, work: Callable[[], None]) -> tuple[list[str], int | None]:
    """The jobs of a sweep over three that were started, the second of which does this work, and its exit status."""
    started = []

    def main(cfg):
        started.append(cfg.workload.name)
        if len(started) == 2:
            work()
        return 0

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["stage", "-m", "workload=transformer,yoco-det,yoco-lm"])
    status = None
    try:
        config.stage(main)()
    except SystemExit as ended:
        status = ended.code
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1
    return started, status


def send(number: signal.Signals) -> None:
    """To this thread, outside of garbage collections: Hypothesis counts those in a callback, where an error is lost."""
    gc.disable()
    try:
        signal.raise_signal(number)
        time.sleep(0.01)  # for the handler
    finally:
        gc.enable()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_local_launcher_takes_ends_the_sweep(monkeypatch, capsys, number):
    def work():
        with stop_requests() as stop:
            send(number)
        assert stop == [number]

    assert sweep(monkeypatch, work) == (["transformer", "yoco-det"], 130)
    assert capsys.readouterr().err == SAID


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_ec2_launcher_takes_ends_the_sweep(monkeypatch, capsys, number):
    def work():
        with ec2._signals(), pytest.raises(KeyboardInterrupt):
            send(number)

    assert sweep(monkeypatch, work) == (["transformer", "yoco-det"], 130)
    assert capsys.readouterr().err == SAID


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_outside_launchers_ends_the_sweep_without_a_traceback(monkeypatch, capsys, number):
    assert sweep(monkeypatch, lambda: send(number)) == (["transformer", "yoco-det"], 130)
    assert capsys.readouterr().err == SAID


@pytest.mark.usefixtures("project")
def test_what_failed_before_a_signal_is_still_listed(monkeypatch, capsys):
    def work():
        with stop_requests():
            send(signal.SIGINT)
        raise ValueError("a mistake")

    assert sweep(monkeypatch, work) == (["transformer", "yoco-det"], 130)
    said = capsys.readouterr().err
    assert "1 job(s) failed" in said
    assert "a mistake" in said
    assert said.endswith(SAID)


@pytest.mark.usefixtures("project")
def test_without_a_signal_every_job_is_started(monkeypatch, capsys):
    assert sweep(monkeypatch, lambda: None) == (["transformer", "yoco-det", "yoco-lm"], None)
    assert capsys.readouterr().err == ""


def stop_when_measuring(project: Path, cells: int, send: Callable[[subprocess.Popen], None], *words: str) -> str:
    """Sweep over endless cells, and send the signal once so many of them are being measured; what was said at last.

    Each of these must have its outcome in a receipt and in MLflow, the third none, and no process may be left.
    """
    names = ["first", "second", "third"]
    for name in names:
        add_toy(project, name, sleep_s=0.05)
    command = [sys.executable, "-m", "yocobench.train", "-m", f"workload={','.join(names)}", "instance=local"]
    endless = ["protocol.max_steps=100000", "protocol.max_measure_s=800", "protocol.target_relative_half_width=1e-9"]
    command += [*FAST, *endless, *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        measuring = set()
        for line in running.stderr:
            measuring |= {name for name in names if line.startswith(name) and "measure" in line}
            if len(measuring) == cells:
                break
        all_of_it = psutil.Process(running.pid).children(recursive=True)
        send(running)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    found = [receipt.read(path) for path in sorted((project / "mlruns/receipts").glob("*.json"))]
    assert {(one.spec.workload.name, one.measurement.outcome) for one in found} == {
        (name, "interrupted") for name in names[:cells]
    }
    store = open_store(project)
    assert all(store.client.get_run(one.run_id).data.tags["level"] == "cell" for one in found)
    left = psutil.wait_procs(all_of_it, timeout=10)[1]
    assert left == []
    return said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_after_the_other_no_next_cell_starts(study, number):  # noqa: F811
    said = stop_when_measuring(study, 1, lambda running: running.send_signal(number))
    assert said.endswith(SAID)
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_side_by_side_each_cell_ends_in_order_and_no_other_starts(study, number):  # noqa: F811
    def send(running):
        if number == signal.SIGINT:
            os.killpg(running.pid, number)  # as a terminal does
        else:
            running.send_signal(number)  # as `kill` does

    said = stop_when_measuring(study, 2, send, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert SAID in said
    assert "Traceback" not in said
