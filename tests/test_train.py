"""The train command as a user runs it: a process, a receipt, runs in the store."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import commands
import examples
from yocobench import receipt, restore
from yocobench.tracking import open_store

pytestmark = pytest.mark.slow

TOY = """
name: {name}
_target_: toys.Toy
data: null
sample_unit: sample
global_batch_size: 8
micro_batch_size: 8
compile: false
args: {args}
"""
FAST = ["protocol.repeats=1", "protocol.max_steps=4", "protocol.min_steps=3", "protocol.warmup_steps=1"]


@pytest.fixture
def study(tracked: Path, warm: Path, monkeypatch) -> Path:
    """A project whose catalogue has toy workloads."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    add_toy(tracked, "toy")
    (tracked / "data").mkdir()
    (tracked / "data/prices.json").write_bytes((Path(__file__).parents[1] / "data/prices.json").read_bytes())
    for name in ("constraints.txt",):
        (tracked / name).write_text("torch==2.13.0\n")
    return tracked


def add_toy(project: Path, name: str, **args) -> None:
    (project / f"conf/workload/{name}.yaml").write_text(TOY.format(name=name, args=json.dumps(args)))


def train(*overrides, **env):
    flags = [word for word in overrides if word.startswith("-")]
    command = [sys.executable, "-m", "yocobench.train", *flags, *FAST, *(w for w in overrides if w not in flags)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, check=False)


def train_here(*words):
    """The same in this process; what it measures are processes all the same."""
    return commands.run("train", *words[: words[:1] == ("-m",)], *FAST, *words[words[:1] == ("-m",) :])


def test_a_cell_leaves_a_receipt_and_its_runs(study):
    cell = ("workload=toy", "instance=local", "workload.compile=auto")
    done = train(*cell, "receipt=results/receipts/toy/smoke/local.json", CXX="no-compiler")
    assert done.returncode == 0, done.stderr
    assert "samples/s" in done.stderr
    assert "\n  in 1 of 1 repeat(s), torch.compile was left out, steps ran eagerly: no C++ compiler" in done.stderr
    left = receipt.read(study / "results/receipts/toy/smoke/local.json")
    assert left.measurement.outcome == "ok"
    assert len(left.measurement.repeats[0].step_times_s) == 4
    found = open_store(study).fetch_repeats([left.cell_key])[left.cell_key]
    assert [one.num_steps for one in found] == [4]
    assert left.run_id is not None


def test_an_excluded_type_is_an_outcome_with_its_source(study):
    done = train_here("workload=toy", "instance=p3.2xlarge", "receipt=r.json")
    assert done.returncode == 0, done.stderr
    measurement = receipt.read(study / "r.json").measurement
    assert measurement.outcome == "excluded"
    assert "retired" in measurement.reason
    assert measurement.repeats == ()


def test_under_dvc_what_did_not_run_is_left_to_compare_to_log(study, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train@toy-smoke-p3.2xlarge")
    path = "results/receipts/toy/smoke/p3.2xlarge.json"
    assert train_here("workload=toy", "instance=p3.2xlarge", f"receipt={path}").returncode == 0
    assert receipt.read(study / path).run_id is None
    store = open_store(study)
    assert store.client.search_runs([store.experiment_id]) == []
    assert restore.restore(study) == (1, [])  # as `compare` does
    (run,) = store.client.search_runs([store.experiment_id])
    assert (run.data.tags["level"], run.data.tags["outcome"]) == ("cell", "excluded")


def test_a_type_that_this_host_is_not_ends_unmeasured(study):
    assert train_here("workload=toy", "instance=p4d.24xlarge", "receipt=r.json").returncode == 0
    assert receipt.read(study / "r.json").measurement.outcome == "unmeasured"


def test_a_measured_receipt_that_dvc_removes_comes_back_where_nothing_can_be_measured(study, monkeypatch):
    """A fresh clone with a colleague's receipts of launch ec2, under launch local: this host is not that type."""
    (study / "conf/workload/toy.yaml").write_text(TOY.format(name="toy", args="{}"))
    params = yaml.safe_load((study / "params.yaml").read_text())
    params |= {"workloads": ["toy"], "instances": ["m5a.large", "p4d.24xlarge"]}
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    cell = ["workload=toy", "instance=p4d.24xlarge", "receipt=results/receipts/toy/smoke/p4d.24xlarge.json"]
    path = study / "results/receipts/toy/smoke/p4d.24xlarge.json"
    assert train_here(*cell).returncode == 0
    made = receipt.read(path)
    measured = made.model_copy(update={"measurement": examples.receipt().measurement, "run_id": "a colleague's"})
    receipt.write(measured, path)
    committed = path.read_bytes()
    planned = commands.run("plan")
    assert planned.returncode == 0, planned.stderr
    path.unlink()  # DVC, since the stage's command has changed
    done = train_here(*cell)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == committed
    assert "kept from" in done.stderr
    assert train_here(*cell, "protocol.seed=7").returncode == 0  # another cell: that number is not its own
    assert receipt.read(path).measurement.outcome == "unmeasured"
    monkeypatch.setattr("sys.argv", ["restore"])
    assert restore.main() == 0  # and yet the number is in the answer
    assert len(open_store(study).fetch_repeats([measured.cell_key])[measured.cell_key]) == 2


def test_an_unknown_name_is_one_line_that_lists_the_known_ones(study):
    done = train("workload=toy", "instance=g4dn.xlage")
    assert done.returncode == 2
    assert "did you mean 'g4dn.xlarge'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_is_one_line_with_its_path(study):
    done = train_here("workload=toy", "+protocol.repeat=2")
    assert done.returncode == 2
    assert "protocol.repeat: unknown key; did you mean 'repeats'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_over_threads_trains_with_so_many_in_cells_of_their_own(study):
    done = train_here("-m", "workload=toy", "instance=local", "+workload.threads=1,2")
    assert done.returncode == 0, done.stderr
    receipts = [receipt.read(path) for path in (study / "mlruns/receipts").glob("toy-*.json")]
    assert sorted(one.measurement.repeats[0].threads for one in receipts) == [1, 2]
    assert len({one.cell_key for one in receipts}) == 2
    assert len({one.provenance.sweep for one in receipts}) == 1


def test_a_sweep_goes_on_after_a_failed_job_and_lists_it(study):
    add_toy(study, "broken", fault="vanished", at=1)
    add_toy(study, "buggy", fault="bug", at=1)
    done = train("-m", "workload=broken,toy,buggy", "instance=local")
    assert done.returncode == 1
    assert "2 job(s) failed" in done.stderr
    assert "workload=broken" in done.stderr
    assert "train.bin: gone at batch 1" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr
    receipts = [receipt.read(path) for path in (study / "mlruns/receipts").glob("toy-*.json")]
    assert [one.measurement.outcome for one in receipts] == ["ok"]
    assert receipts[0].provenance.sweep is not None


@pytest.mark.parametrize(("under_dvc", "status"), [(False, 0), (True, 130)])
def test_ctrl_c_keeps_what_was_measured_and_stops_dvc(study, under_dvc, status):
    add_toy(study, "endless", sleep_s=0.05)
    command = [sys.executable, "-m", "yocobench.train", "workload=endless", "instance=local", "receipt=r.json"]
    command += ["protocol.max_steps=100000", "protocol.max_measure_s=100"]
    environment = {**os.environ, **({"DVC_STAGE": "train@x"} if under_dvc else {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        for line in running.stderr:
            if "measure" in line:
                break
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == status
    left = receipt.read(study / "r.json")
    assert left.measurement.outcome == "interrupted"
    assert len(left.measurement.repeats[0].step_times_s) > 0
    assert left.run_id is not None


def test_a_read_only_folder_loses_no_measurement(study):
    (study / "results").write_text("a file where a folder should be")
    done = train_here("workload=toy", "instance=local", "receipt=results/r.json")
    assert done.returncode == 2
    assert "results/r.json: receipt not written: File exists; its runs are in the MLflow store" in done.stderr
    runs = open_store(study).client.search_runs([open_store(study).experiment_id], "tags.level = 'cell'")
    assert len(runs) == 1  # logged all the same


def test_a_cell_whose_dvc_was_killed_stops_and_keeps_its_steps(study):
    add_toy(study, "endless", sleep_s=0.05)
    command = f"{sys.executable} -m yocobench.train workload=endless instance=local receipt=r.json"
    command += " protocol.max_steps=100000 protocol.max_measure_s=100"
    # The shell stands for dvc: it is killed alone, and the cell is left without a parent that waits.
    with subprocess.Popen(
        ["sh", "-c", f"{command}; true"], stderr=subprocess.PIPE, text=True, env={**os.environ, "DVC_STAGE": "train@x"}
    ) as shell:
        for line in shell.stderr:
            if "measure" in line:
                break
        shell.kill()
        shell.communicate(timeout=60)  # until the cell closes the pipe
    assert receipt.read(study / "r.json").measurement.outcome == "interrupted"
