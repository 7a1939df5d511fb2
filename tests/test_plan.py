"""The key of a cell: what moves it and what does not. What is out and how a batch is split: test_plan_fit.py."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from plan_cases import HOST, TOY, WORDS, forget, planned, write_text
from yocobench import config, plan
from yocobench.schema import Subset, WorkloadConfig

TYPES = ("local", "g4dn.xlarge", "g5.xlarge")


def keys(*overrides: str, workload: WorkloadConfig = WORDS, types: tuple[str, ...] = TYPES) -> dict[str, str]:
    """Keys of the same cell on some types."""
    return {name: planned(name, *overrides, workload=workload).spec.key for name in types}


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def edit(path: str, old: str, new: str) -> None:
    """Replace `old` wherever it stands."""
    content = Path(path).read_text(encoding="utf-8")
    assert old in content, (path, old)
    Path(path).write_text(content.replace(old, new), encoding="utf-8")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing is remembered from another test."""
    forget()


@pytest.fixture
def study(project: Path) -> Path:
    """A project with 500 tokens to train on."""
    write_text(project, [n % 300 for n in range(500)])
    return project


# --- what moves the key -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("study")
def test_equal_work_has_an_equal_key_and_every_type_its_own():
    first = keys()
    assert first == keys()
    assert len(set(first.values())) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16}", key) for key in first.values())


@pytest.mark.usefixtures("study")
def test_what_is_asked_moves_no_key():
    asked = ["objective=fastest", "region=eu-central-1", "usage_class=spot", "baseline=local", "launch=ec2"]
    asked += ["job.tokens=5", "job.deadline_h=null", "restrict.cpu_only=true", "assume.boot_s=999"]
    asked += ["data.text.seed=9"]  # another dataset does, but by what is in it
    assert keys() == keys(*asked)


@pytest.mark.parametrize("override", ["protocol.repeats=7", "protocol.seed=1", "protocol.max_measure_s=5"])
@pytest.mark.usefixtures("study")
def test_another_protocol_is_other_work_everywhere(override):
    types = ("m5a.large", "g5.xlarge")
    assert moved(keys(types=types), keys(override, types=types)) == set(types)


def test_a_price_moves_no_key(study):
    (study / "data/prices.json").write_text("{}")
    before = keys()
    (study / "data/prices.json").write_text('{"prices": "doubled"}')
    assert moved(before, keys()) == set()


@pytest.mark.parametrize(
    ("path", "old", "new", "touched"),
    [
        ("conf/accelerator/nvidia-t4.yaml", "precision: fp16", "precision: fp32", {"g4dn.xlarge"}),
        ("conf/accelerator/nvidia-t4.yaml", "memory_gb_per_s:", "memory_gb_per_s: 1 #", set()),
        ("conf/instance/g4dn.xlarge.yaml", "memory_gib: 16\n  sustained", "memory_gib: 17\n  sustained", set()),
        ("conf/instance/g4dn.xlarge.yaml", "accelerator_count: 1", "accelerator_count: 4", {"g4dn.xlarge"}),
        ("conf/instance/g4dn.xlarge.yaml", "as_of: 2026-10-27", "as_of: 2026-10-28", set()),
        ("conf/accelerator/amd-epyc-7571.yaml", "precision: fp32", "precision: bf16", {"local"}),
    ],
)
@pytest.mark.usefixtures("study")
def test_a_fact_moves_the_cells_whose_work_it_changes_and_no_others(path, old, new, touched):
    before = keys()
    edit(path, old, new)
    forget()
    assert moved(before, keys()) == touched


@pytest.mark.usefixtures("study")
def test_a_precision_that_is_asked_for_is_another_cell_where_the_chip_has_it():
    full = WORDS.model_copy(update={"precision": "fp32"})
    cell, usual = planned("g4dn.xlarge", workload=full), planned("g4dn.xlarge")
    assert (cell.spec.precision, usual.spec.precision) == ("fp32", "fp16")
    assert cell.spec.key != usual.spec.key
    words = r"^conf/workload/words.yaml: precision 'bf16' is not for g4dn.xlarge; known: fp32, fp16\. Leave it null"
    with pytest.raises(ValueError, match=words):
        planned("g4dn.xlarge", workload=WORDS.model_copy(update={"precision": "bf16"}))


@pytest.mark.parametrize(
    "change", [{"global_batch_size": 32}, {"args": {"width": 9}}, {"compile": True}, {"sample_unit": "token"}]
)
@pytest.mark.usefixtures("study")
def test_another_configuration_of_the_model_is_other_work(change):
    there = ("m5a.large",)
    assert moved(keys(types=there), keys(workload=WORDS.model_copy(update=change), types=there)) == {"m5a.large"}


@pytest.mark.usefixtures("study")
def test_another_laptop_is_another_cell_but_the_same_type_elsewhere_is_not():
    other = HOST.model_copy(update={"host_id": "0ther", "vcpus": 64})
    assert planned("local", host=other).spec.key != planned("local").spec.key
    assert planned("g5.xlarge", host=other).spec.key == planned("g5.xlarge").spec.key
    assert planned("g5.xlarge").spec.host_id is None


def test_only_what_a_subset_reads_moves_its_key(study):
    def both() -> tuple[str, str]:
        forget()
        whole = Subset(name="smoke", fraction=1)
        return planned("m5a.large").spec.key, planned("m5a.large", subset=whole).spec.key

    small, whole = both()
    write_text(study, [n % 300 for n in range(499)] + [7])  # the last of 500 tokens; the subset takes 400
    edited = both()
    assert edited[0] == small
    assert edited[1] != whole
    write_text(study, [n % 300 for n in range(500)], tokenizer=b"{ }")
    assert both()[0] != small


def test_an_edit_of_the_users_own_module_is_other_work(study, tmp_path, monkeypatch):
    package = tmp_path / "elsewhere/mymodels"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("WIDTH = 8\n")
    monkeypatch.syspath_prepend(str(package.parent))
    mine = WORDS.model_copy(update={"target": "mymodels.net.Net"})
    there = ("m5a.large", "g5.xlarge")
    before, shipped = keys(workload=mine, types=there), keys(types=there)
    (package / "net.py").write_text("WIDTH = 16\n")
    importlib.invalidate_caches()
    assert moved(before, keys(workload=mine, types=there)) == set(there)
    assert shipped == keys(types=there)


@pytest.mark.parametrize("target", ["nowhere.at.all.Net", "Net", "sys.Net"])
@pytest.mark.usefixtures("study")
def test_a_module_that_cannot_be_found_is_named_with_its_file_and_the_way_out(target):
    with pytest.raises(ValueError, match=r"^conf/workload/words\.yaml: _target_ .* no module .* set PYTHONPATH"):
        planned("m5a.large", workload=WORDS.model_copy(update={"target": target}))


# --- what a cell says -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("study")
def test_a_work_order_resolves_everything():
    spec = planned("g4dn.xlarge", "protocol.repeats=2").spec
    assert (spec.label, spec.kind, spec.precision, spec.accelerator_count) == (
        "words-smoke-g4dn.xlarge",
        "cuda",
        "fp16",
        1,
    )
    assert (spec.dataset_path, spec.dataset_items, len(spec.dataset_md5 or "")) == ("data/text", 400, 32)
    assert (spec.micro_batch_size, spec.accumulation_steps, spec.protocol.repeats) == (16, 1, 2)


@pytest.mark.usefixtures("project")
def test_a_workload_that_brings_its_own_data_needs_no_dataset():
    spec = planned("m5a.large", workload=TOY.model_copy(update={"micro_batch_size": 16})).spec
    assert (spec.dataset_path, spec.dataset_items, spec.dataset_md5) == (None, None, None)


@pytest.mark.usefixtures("project")
def test_a_host_that_no_file_describes_is_planned_by_what_it_can():
    unknown = HOST.model_copy(update={"cpu_model": "Some New CPU", "cpu_flags": ("avx512f", "amx_bf16")})
    spec = planned("local", workload=TOY.model_copy(update={"micro_batch_size": 16}), host=unknown).spec
    assert (spec.kind, spec.precision, spec.host_id) == ("cpu", "bf16", "h0st")


def test_an_objective_that_nobody_knows_is_refused_before_anything_is_measured(study, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plan", "objective=cheapst", "workloads=[yoco-lm]", "instances=[local]"])
    with pytest.raises(SystemExit):
        config.stage(plan.main)()
    assert "unknown objective 'cheapst'; known: cheapest, fastest, balanced" in capsys.readouterr().err
    assert not (study / "data/plan").exists()
