"""python -m yocobench.compare as a command: what a script reads. The decision itself: test_selection_*.py."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from rich.console import Console

import commands
from conftest import REPOSITORY
from plan_cases import write_text
from selection_cases import candidate, terms, without_number
from yocobench import gathering
from yocobench.selection import decision as layout
from yocobench.selection import tables
from yocobench.selection.decide import decide_workload

STUDY = ("workloads=[yoco-lm]", "instances=[local,m5a.large,g4dn.xlarge,inf1.xlarge]")


@pytest.fixture
def study(tracked: Path, warm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    write_text(tracked, [7] * 400_000)
    shutil.copy(REPOSITORY / "data" / "prices.json", tracked / "data" / "prices.json")
    return tracked


def compare(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "yocobench.compare", *arguments, *STUDY],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_last_line_is_the_decision_and_what_if_keeps_nothing(study: Path):
    snapshot = json.loads((study / "data/prices.json").read_text())
    snapshot["public_ipv4"]["price_usd_per_hour"] = "0.005"
    snapshot["storage"][0]["price_usd_per_gb_month"] = "0.073"
    (study / "data/prices.json").write_text(json.dumps(snapshot))
    printed = compare("--json", "objective=fastest", "job.deadline_h=3000")
    last = printed.splitlines()[-1]
    assert json.loads(last)["schema"] == "yocobench.decision/2"
    [decision] = layout.load(last)
    assert decision.workload == "yoco-lm"
    assert decision.asked.objective == "fastest"
    assert decision.chosen == "g4dn.xlarge"
    row = decision.row("g4dn.xlarge")
    assert row is not None
    assert row.price_usd_per_hour is not None
    # 100 GiB x 0.073 USD / 730 h, and the address
    assert row.hourly_usd - row.price_usd_per_hour == Decimal("0.01") + Decimal("0.005")
    assert decision.sentence in " ".join(printed.split())
    assert "shown, not kept" in printed
    assert "output=json" not in printed
    assert not (study / "results").exists()


@pytest.mark.slow
def test_a_decision_that_nobody_reads_is_kept(study: Path, monkeypatch: pytest.MonkeyPatch):
    def gone(_):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    params = yaml.safe_load((study / "params.yaml").read_text())
    params |= {"workloads": ["yoco-lm"], "instances": ["g5.xlarge", "g4dn.xlarge"]}
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr(tables, "terminal", gone)
    done = commands.run("compare")
    assert (done.returncode, done.stderr) == (2, "error: [Errno 32] Broken pipe\n")
    [decision] = layout.load((study / "results/decision.json").read_text())
    assert decision.chosen == "g5.xlarge"


@pytest.mark.slow
def test_several_scenarios_stand_side_by_side(study: Path):
    asked = ("objective=cheapest,fastest", "job.deadline_h=0.001,3000", "job.budget_usd=null")
    done = commands.run("compare", "-m", *asked, *STUDY)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    told = {tuple(row[0].split()[:2]): row[3] for row in rows if row[1] == "yoco-lm"}
    assert told == {
        ("objective=cheapest", "job.deadline_h=0.001"): "none",
        ("objective=cheapest", "job.deadline_h=3000"): "g4dn.xlarge",
        ("objective=fastest", "job.deadline_h=0.001"): "none",
        ("objective=fastest", "job.deadline_h=3000"): "g4dn.xlarge",
    }
    assert not (study / "results").exists()


def test_the_micro_benchmark_of_this_host_matters_only_where_a_cpu_type_is_estimated():
    def guesses(source: str, *, cpu: bool) -> bool:
        row = candidate("slow", 100, "0.10", source=source, is_cpu_only=cpu)
        none = without_number("inf1", "excluded", "cannot train")
        return gathering.Gathered(terms(), [row, none], {}, []).guesses_cpus

    assert guesses("estimated", cpu=True)
    assert not guesses("estimated", cpu=False)  # a GPU rests on its own facts
    assert not guesses("measured", cpu=True)
    assert not guesses("extrapolated", cpu=True)  # from smaller subsets, on the type itself


def test_scenarios_say_what_was_changed_and_what_was_decided():
    good = decide_workload([candidate("slow", 10, "0.1")], terms())
    none = decide_workload([without_number("old", "excluded", "retired")], terms(baseline="old"))
    out = io.StringIO()
    table = tables.scenarios([("restrict.instances=[slow]", [good]), ("objective=fastest", [none])])
    Console(file=out, width=120).print(table)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if "│" in line]
    # 3.6 million images at 10 per second are 100 h, at 0.1 USD 10 USD.
    assert rows == [
        ["restrict.instances=[slow]", "yoco-det", "measured", "slow", "100", "10.0", "100 %"],
        ["objective=fastest", "yoco-det", "infeasible", "none", "", "", ""],
    ]
