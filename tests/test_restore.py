"""Receipts go back into a store that lacks them."""

import subprocess
import sys

import pytest

from examples import receipt, spec
from yocobench import restore
from yocobench.receipt import write
from yocobench.tracking import open_store


@pytest.fixture(autouse=True)
def without_words(monkeypatch):
    """The command alone, whatever pytest was called with."""
    monkeypatch.setattr("sys.argv", ["restore"])


def test_receipts_of_both_folders_are_logged_once_however_often_it_runs(tracked, capsys):
    write(receipt(), tracked / "results/receipts/yoco-lm/smoke/local.json")
    write(receipt(size="small"), tracked / "mlruns/receipts/other.json")

    assert [restore.main(), restore.main()] == [0, 0]

    assert capsys.readouterr().out == "2 receipt(s) are in the MLflow store\n" * 2
    found = open_store(tracked).fetch_outcomes([spec().key, spec(size="small").key])
    assert [len(outcomes) for outcomes in found.values()] == [1, 1]


def test_a_damaged_receipt_is_named_and_the_others_are_logged(tracked, capsys):
    write(receipt(), tracked / "results/receipts/b.json")
    whole = (tracked / "results/receipts/b.json").read_text()
    (tracked / "results/receipts/a.json").write_text(whole[: len(whole) // 2])

    assert restore.main() == 1

    shown = capsys.readouterr()
    assert "results/receipts/a.json: not a whole receipt" in shown.err
    assert str(tracked) not in shown.err
    assert shown.out == "1 receipt(s) are in the MLflow store, 1 could not be read\n"


def test_a_receipt_that_cannot_be_opened_stops_none_of_the_others(tracked, capsys):
    write(receipt(), tracked / "results/receipts/b.json")
    (tracked / "results/receipts/a.json").mkdir()
    assert restore.main() == 1
    assert capsys.readouterr().out == "1 receipt(s) are in the MLflow store, 1 could not be read\n"


def test_receipts_are_left_as_they_are(tracked):
    path = tracked / "results/receipts/a.json"
    write(receipt(), path)
    before = path.read_bytes()
    restore.main()
    assert path.read_bytes() == before


def test_a_store_that_cannot_be_used_is_one_line(tracked, capsys, monkeypatch):
    write(receipt(), tracked / "results/receipts/a.json")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tracked / "folder").as_uri())
    assert restore.main() == 2
    assert capsys.readouterr().err.startswith("error: file://")


def test_a_folder_that_is_none_is_no_reason_to_say_that_all_is_well(tracked, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["restore", "reciepts"])
    assert restore.main() == 2
    assert capsys.readouterr().err == "error: reciepts: no such folder; give one that holds receipts (.json)\n"


def test_outside_the_repository_it_says_where_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert restore.main() == 2
    assert "run this from the repository's top folder" in capsys.readouterr().err


@pytest.mark.slow
def test_two_at_once_log_each_receipt_once(tracked):
    for number in range(3):
        write(receipt(size=f"size{number}"), tracked / f"results/receipts/{number}.json")
    command = [sys.executable, "-m", "yocobench.restore"]
    both = [subprocess.Popen(command, cwd=tracked, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["3 receipt(s) are in the MLflow store\n"] * 2
    found = open_store(tracked).fetch_outcomes([spec(size=f"size{number}").key for number in range(3)])
    assert [len(outcomes) for outcomes in found.values()] == [1, 1, 1]
