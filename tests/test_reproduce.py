"""How to reproduce: the commit that the answer follows from, the datasets' md5, the age of the prices."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from conftest import REPOSITORY
from plan_cases import write_text
from test_estimate import HOST
from yocobench import config, plan, pricelist, reproduce
from yocobench.estimate.calibration import HostRates

WHO = ("-c", "user.name=a", "-c", "user.email=a@b")


def git(*words: str) -> str:
    return subprocess.run(["git", *WHO, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def study(project: Path) -> Path:
    write_text(project, [7] * 400_000)
    shutil.copy(REPOSITORY / "data" / "prices.json", project / "data" / "prices.json")
    git("init", "-q")
    git("add", "conf", "params.yaml")
    git("commit", "-q", "-m", "study")
    return project


def told(root: Path, host: HostRates | None = None) -> list[str]:
    with initialize_config_dir(version_base=None, config_dir=str(root / "conf")):
        cfg = config.load(compose(config_name="config", overrides=["workloads=[yoco-lm]"]))
    return reproduce.lines(cfg, pricelist.load(root / pricelist.SNAPSHOT), root, host)


def test_the_commit_is_that_of_the_code_and_study_not_of_the_results(study):
    commit = git("rev-parse", "--short", "HEAD")
    assert told(study)[0] == f"git checkout {commit}"
    (study / "results").mkdir()
    (study / "results" / "decision.md").write_text("answer")
    git("add", "results")
    git("commit", "-q", "-m", "answer")
    assert told(study)[0] == f"git checkout {commit}"
    (study / "params.yaml").write_text((study / "params.yaml").read_text() + "# another\n")
    assert told(study)[0] == f"git checkout {commit}    # and changes that are not committed"


def test_the_dataset_the_prices_age_and_the_command_are_there(study):
    lines = told(study)
    md5 = plan.data_slice(config.workload("yoco-lm"), config.subsets(["smoke"])[0], study).md5
    assert f"dataset text, subset smoke: md5 {md5}" in lines
    assert any(line.startswith("make decide") for line in lines)
    assert any(line.startswith("oldest price of 2026-07-20") for line in lines)


def test_the_micro_benchmark_that_git_does_not_hold_is_named_with_its_day(study):
    known = HOST.model_copy(update={"measured_at": "2026-11-24T02:31:02+00:00"})
    assert any(line.startswith("micro-benchmark of this host of 2026-11-24 (mlruns/") for line in told(study, known))
    assert not any("micro-benchmark" in line for line in told(study))


def test_outside_of_a_checkout_no_commit_is_named(study):
    shutil.rmtree(study / ".git")
    assert told(study)[0].startswith("make decide")
