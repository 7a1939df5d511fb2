"""Receipts go back into a store that lacks them."""

import subprocess
import sys

import pytest

from examples import receipt, repeat, spec
from yocobench import restore
from yocobench.receipt import write
from yocobench.tracking import Store, open_store


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


# A user's model names its metrics and arguments as it likes: MLflow takes neither `@` nor `*`, nor 300 characters.
def test_any_name_of_a_metric_or_an_argument_is_logged_under_one_that_mlflow_takes(tracked, capsys):
    odd = {"mAP@0.5": 0.25, "mAP_0.5": 0.5, "a//b": 1.0, "x" * 300: 2.0}
    found = receipt(repeats=(repeat(0, heldout=odd),))
    args = {"param_groups": {"*.bias": 0}, "stop (sign)": 1}
    one = found.spec.model_copy(update={"workload": found.spec.workload.model_copy(update={"args": args})})
    write(found.model_copy(update={"spec": one, "cell_key": one.key}), tracked / "results/receipts/a.json")
    assert restore.main() == 0
    store = open_store(tracked)
    [run] = [run for run in store.client.search_runs([store.experiment_id]) if run.data.tags["level"] == "cell"]
    seen = {name: value for name, value in run.data.metrics.items() if name.startswith("heldout_")}
    assert seen == {
        "heldout_mAP_0.5": 0.25, "heldout_mAP_0.5_2": 0.5, "heldout_a__b": 1.0, "heldout_" + "x" * 232: 2.0,
    }  # fmt: skip
    given = {name: value for name, value in run.data.params.items() if name.startswith("arg_")}
    assert given == {"arg_param_groups._.bias": "0", "arg_stop _sign_": "1"}


def test_a_receipt_that_the_store_refuses_is_named_and_the_others_are_logged(tracked, capsys, monkeypatch):
    write(receipt(), tracked / "results/receipts/a.json")
    write(receipt(size="small"), tracked / "results/receipts/b.json")
    whole = Store.log_receipt

    def refuse(self, found, *rest):
        if found.cell_key == spec().key:
            raise RuntimeError("no such thing\nat all")
        return whole(self, found, *rest)

    monkeypatch.setattr(Store, "log_receipt", refuse)
    assert restore.main() == 1
    shown = capsys.readouterr()
    assert shown.err == "error: results/receipts/a.json: not logged: RuntimeError: no such thing\n"
    assert shown.out == "1 receipt(s) are in the MLflow store, 1 could not be read\n"


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
