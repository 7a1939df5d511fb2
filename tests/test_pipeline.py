"""The whole pipeline by DVC, in a repository of its own: GPU types replayed from receipts, one cell truly measured."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import examples
from conftest import REPOSITORY, hand_on
from yocobench import receipt
from yocobench.schema import WorkloadConfig

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
# samples per second of the two recorded repeats: 100 samples in 0.02 s and in 0.02 s make 5,000
RECORDED = {"g4dn.xlarge": 0.02, "m5a.large": 1.0}


def edit(root: Path, **changes) -> None:
    """Change keys of params.yaml; a dict changes the keys within."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    for key, value in changes.items():
        params[key] = {**params[key], **value} if isinstance(value, dict) else value
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="module")
def repository(tmp_path_factory, kept: Path) -> Path:
    """A small study in a git and DVC repository: the real catalogue, stages and workloads, little data."""
    root = tmp_path_factory.mktemp("study")
    for name in ("conf", "src"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (root / "data").mkdir()
    for name in ("dvc.yaml", "params.yaml", "constraints.txt", "README.md", "data/prices.json", ".gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    # Small documents: what is held out, and evaluated twice in every training, is hardly more than its minimum.
    (root / "corpus").mkdir()
    for number in range(60):
        lines = [f"line {i}: the square of {i} is {i * i}" for i in range(20 * number, 20 * number + 20)]
        (root / "corpus" / f"{number:02}.txt").write_text("\n".join(lines))
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["workloads"] = ["yoco-lm"]
    params["instances"] = ["local", "p3.2xlarge", *RECORDED]
    params["launch"] = "replay"
    params["protocol"].update(repeats=1, warmup_steps=1, min_steps=3, max_steps=3)
    params["data"]["text"].update(source="corpus", vocab_size=300, heldout_fraction=0.11)
    params["data"]["images"].update(num_images=40, image_size_px=64)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    workload = yaml.safe_load((root / "conf/workload/yoco-lm.yaml").read_text())
    workload["args"].update(sequence_length=32, chunk=16)
    workload["threads"] = 1  # more would spin for each other where other tests keep the cores busy
    workload["compile"] = False  # three steps here; compiled cells: test_compiling.py
    (root / "conf/workload/yoco-lm.yaml").write_text(yaml.safe_dump(workload, sort_keys=False))
    (root / "conf/subset/smoke.yaml").write_text("name: smoke\nitems:\n  text: 10000\n  images: 16\n")
    for instance, step_time_s in RECORDED.items():
        record(root, WorkloadConfig.model_validate(workload), instance, step_time_s)
    for command in (
        "git init -q",
        "git add -A",
        "git -c user.name=t -c user.email=t@t commit -qm study",
        "dvc init -q",
    ):
        run(root, *command.split())
    shutil.copytree(REPOSITORY / ".dvc" / "plots", root / ".dvc" / "plots", dirs_exist_ok=True)
    hand_on(kept, root / "mlruns")  # this host's micro-benchmark, if a test before has run it
    return root


def record(root: Path, workload: WorkloadConfig, instance: str, step_time_s: float) -> None:
    base = examples.receipt((examples.repeat(0, step_time_s), examples.repeat(1, step_time_s * 1.01)), instance)
    spec = base.spec.model_copy(update={"workload": workload})
    path = root / "results/recorded" / workload.name / "smoke" / f"{instance}.json"
    receipt.write(base.model_copy(update={"spec": spec, "cell_key": spec.key}), path)


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))}
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def decision(root: Path) -> dict:
    (found,) = json.loads((root / "results/decision.json").read_text())["decisions"]
    return found


def num_cells(root: Path) -> int:
    with sqlite3.connect(root / "mlruns/mlflow.db") as store:
        return store.execute("SELECT count(*) FROM tags WHERE key = 'level' AND value = 'cell'").fetchone()[0]


def test_the_study_from_an_empty_clone_to_what_if(repository):
    first = run(repository, "dvc", "repro")
    assert "train@yoco-lm-smoke-g4dn.xlarge" in first.stdout
    found = decision(repository)
    rows = {row["instance"]: row for row in found["rows"]}
    assert {rows[name]["source"] for name in RECORDED} == {"replayed"}
    assert "replayed" in found["sources"]
    assert rows["g4dn.xlarge"]["samples_per_second"] == pytest.approx((5000 + 5000 / 1.01) / 2)
    assert [one["instance"] for one in found["excluded"]] == ["p3.2xlarge"]
    assert "retired" in found["excluded"][0]["reason"]
    assert num_cells(repository) == 4
    assert (repository / "results/decision.md").read_text().count("replayed") > 2

    # a cell measured outside DVC is in the next decision without force; another deadline trains nothing
    options = ["workload=yoco-lm", "subset=smoke", "instance=local", "launcher=local"]
    assert "measured" in run(repository, sys.executable, "-m", "yocobench.train", *options).stderr
    edit(repository, job={"deadline_h": 1e-6})
    again = run(repository, "dvc", "repro")
    assert "Running stage 'train@" not in again.stdout
    assert num_cells(repository) == 5
    assert decision(repository)["verdict"] == "infeasible"
    assert decision(repository)["nearest_miss"] is not None
    (here,) = [row for row in decision(repository)["rows"] if row["instance"] == "local"]
    assert here["source"] == "measured"
    assert not here["can_be_chosen"]

    # a what-if prints and keeps nothing
    shown = run(repository, sys.executable, "-m", "yocobench.compare", "job.deadline_h=1000", "job.budget_usd=1000000")
    assert "What if job.deadline_h=1000" in shown.stdout
    assert decision(repository)["verdict"] == "infeasible"

    # the store is lost and a receipt cut in half: it is named, the others bring their runs back
    for left in (*(repository / "mlruns").glob("mlflow.db*"), *(repository / "mlruns/receipts").glob("*.json")):
        left.unlink()
    path = repository / "results/receipts/yoco-lm/smoke/g4dn.xlarge.json"
    path.write_text(path.read_text()[:500])
    damaged = run(repository, sys.executable, "-m", "yocobench.compare")
    assert "g4dn.xlarge.json: not a whole receipt" in damaged.stderr
    assert num_cells(repository) == 3
    sources = {row["instance"]: row["source"] for row in decision(repository)["rows"]}
    assert sources["m5a.large"] == "replayed"
    assert sources["g4dn.xlarge"] == "estimated"

    # `dvc repro` makes that cell again, and one taken out of the study leaves the decision
    edit(repository, instances=["local", "g4dn.xlarge", "m5a.large"], job={"deadline_h": 100})
    run(repository, "dvc", "repro")
    assert receipt.read(path).measurement.source == "replayed"
    names = {row["instance"] for key in ("rows", "excluded", "unmeasured") for row in decision(repository)[key]}
    assert names == {"local", "g4dn.xlarge", "m5a.large"}
    assert "verdict" in run(repository, "dvc", "metrics", "show").stdout
    run(repository, "dvc", "plots", "show")
    assert (repository / "dvc_plots/index.html").is_file()


def test_two_repros_at_once_lose_nothing(repository):
    edit(repository, job={"deadline_h": 200})
    both = [
        subprocess.Popen(["dvc", "repro"], cwd=repository, env=environment(), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in both]
    # The second one may be told that the first holds the lock: DVC's own line, and nothing is harmed.
    assert 0 in [process.returncode for process in both], said
    run(repository, sys.executable, "-m", "yocobench.compare")
    assert {row["instance"] for row in decision(repository)["rows"]} >= {"g4dn.xlarge", "m5a.large"}
    assert decision(repository)["asked"]["deadline_h"] == 200
