"""Ctrl-C beside a measurement: nothing measured is lost, one line is said. Real signals, no repeat of its own."""

import signal
import sys

import pytest

import commands
import examples
from test_stops import send
from test_train import add_toy
from yocobench import config, receipt, train
from yocobench.launchers import turns
from yocobench.launchers.local import LocalLauncher
from yocobench.launchers.signals import held, release, stop_requests

ONE = ("workload=toy", "instance=local", "protocol.repeats=1", "receipt=r.json")
SAID = "interrupted: r.json holds what was measured; `python -m yocobench.restore` logs it\n"


@pytest.fixture
def study(tracked, monkeypatch):
    """A project with a toy cell whose repeat is there at once."""
    add_toy(tracked, "toy")
    monkeypatch.setattr(LocalLauncher, "_fitting", lambda *_: examples.repeat())
    return tracked


@pytest.mark.parametrize("late", ["while the repeat ends", "before the receipt is written"])
def test_ctrl_c_after_the_last_repeat_waits_for_the_receipt(study, monkeypatch, late):
    def ending(*_):
        send(signal.SIGINT)
        return examples.repeat()

    def figures(*_):
        send(signal.SIGINT)
        return {}, ""

    if late == "while the repeat ends":
        monkeypatch.setattr(LocalLauncher, "_fitting", ending)
    else:
        monkeypatch.setattr(train, "figures", figures)
    done = commands.run("train", *ONE)
    assert (done.returncode, done.stderr) == (130, SAID)
    left = receipt.read(study / "r.json")
    assert (left.measurement.outcome, left.run_id) == ("ok", None)
    assert len(left.measurement.repeats[0].step_times_s) == 4


def test_what_failed_is_said_before_a_signal_that_waited_ends_the_command(capsys):
    def measured():
        with held():
            with stop_requests():
                pass
            send(signal.SIGINT)
            raise OSError("r.json: receipt not written: it is the line that was printed")

    with pytest.raises(KeyboardInterrupt):
        measured()
    assert capsys.readouterr().err == "error: r.json: receipt not written: it is the line that was printed\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_goes_to_who_takes_it_outside_of_what_is_held():
    with held(), stop_requests() as outer:
        with stop_requests():
            pass
        send(signal.SIGINT)
        assert outer == [signal.SIGINT]


def test_a_cell_killed_while_it_is_logged_is_not_handed_out_again(study, monkeypatch):
    def killed(root):
        raise KeyboardInterrupt

    monkeypatch.setattr("yocobench.tracking.open_store", killed)
    taken = study / turns.FOLDER / "toy.json"
    monkeypatch.setattr(turns, "path_of", lambda spec, root: taken)
    taken.parent.mkdir(parents=True)
    taken.write_text(examples.receipt((examples.repeat(),)).measurement.model_dump_json())
    done = commands.run("train", *ONE)
    assert (done.returncode, done.stderr) == (130, SAID)
    assert not taken.exists()  # else the next run of the stage would write the same repeats into a second receipt


@pytest.mark.usefixtures("project")
def test_ctrl_c_outside_a_measurement_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plan"])
    with pytest.raises(SystemExit) as ended:
        config.stage(lambda cfg: send(signal.SIGINT))()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_signals_wait_only_between_a_measurement_and_its_receipt():
    before = signal.getsignal(signal.SIGINT)
    with held():
        with pytest.raises(KeyboardInterrupt):  # nothing was measured yet: a question, say
            send(signal.SIGINT)
        with stop_requests() as stop:
            send(signal.SIGINT)
        assert stop == [signal.SIGINT]
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            release()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
