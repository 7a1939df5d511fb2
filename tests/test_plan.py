"""The work order of a cell: what moves its key and what does not, what is out, and how a batch is split."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from yocobench import config, plan
from yocobench.bench.data import text
from yocobench.bench.data.manifest import TextManifest
from yocobench.bench.measurement import Detected
from yocobench.plan import PlannedCell
from yocobench.schema import Subset, WorkloadConfig

HOST = Detected(
    host_id="h0st",
    instance_type=None,
    arch="x86_64",
    cpu_model="AMD EPYC 7571",
    cpu_flags=("avx2",),
    vcpus=2,
    physical_cores=1,
    memory_bytes=8 * 2**30,
    kind="cpu",
    accelerator_name=None,
    accelerator_count=0,
    accelerator_memory_bytes=None,
)
TOY = WorkloadConfig(name="toy", target="toys.Toy", data=None, sample_unit="sample", global_batch_size=16)
WORDS = TOY.model_copy(update={"name": "words", "data": "text", "micro_batch_size": 16})
SMOKE = Subset(name="smoke", items={"text": 400})


@pytest.fixture(autouse=True)
def fresh() -> None:
    """The plan remembers files that a test edits: it plans once a process."""
    plan._slice.cache_clear()
    plan._detected_chip.cache_clear()


def planned(
    instance: str,
    *overrides: str,
    workload: WorkloadConfig = WORDS,
    subset: Subset = SMOKE,
    host: Detected = HOST,
) -> PlannedCell:
    """The cell, planned in the current folder."""
    return plan.plan_cell(config.study(list(overrides)), workload, subset, config.instance(instance), host, Path.cwd())


def keys(*overrides: str, workload: WorkloadConfig = WORDS) -> dict[str, str]:
    """Keys of the same cell on three types."""
    return {
        name: planned(name, *overrides, workload=workload).spec.key for name in ("local", "g4dn.xlarge", "g5.xlarge")
    }


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def edit(path: str, old: str, new: str) -> None:
    """Replace `old` wherever it stands."""
    content = Path(path).read_text(encoding="utf-8")
    assert old in content, (path, old)
    Path(path).write_text(content.replace(old, new), encoding="utf-8")


def write_text(root: Path, tokens: list[int], tokenizer: bytes = b"{}") -> None:
    """A text dataset of these training tokens."""
    folder = root / "data/text"
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (("train.bin", tokens), ("heldout.bin", [1, 2, 3])):
        body = np.asarray(values, dtype="<u2").tobytes()
        (folder / name).write_bytes(text.header(300, len(values)) + body)
    (folder / "tokenizer.json").write_bytes(tokenizer)
    md5 = {p.name: hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest() for p in folder.glob("*.[bj][is]*")}
    manifest = TextManifest(
        source="by hand",
        train_items=len(tokens),
        heldout_items=3,
        train_documents=1,
        heldout_documents=1,
        vocab_size=300,
        bytes_per_token=1.0,
        heldout_unigram_nats=1.0,
        files_md5=md5,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())


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


@pytest.mark.parametrize(
    "override",
    [
        "objective=fastest",
        "region=eu-central-1",
        "usage_class=spot",
        "job.tokens=5",
        "job.deadline_h=null",
        "restrict.cpu_only=true",
        "assume.boot_s=999",
        "launch=ec2",
        "baseline=local",
        "data.text.seed=9",  # moves the dataset, and only by way of its content
    ],
)
@pytest.mark.usefixtures("study")
def test_what_is_asked_moves_no_key(override):
    assert moved(keys(), keys(override)) == set()


@pytest.mark.parametrize("override", ["protocol.repeats=7", "protocol.seed=1", "protocol.max_measure_s=5"])
@pytest.mark.usefixtures("study")
def test_another_protocol_is_other_work_everywhere(override):
    assert moved(keys(), keys(override)) == {"local", "g4dn.xlarge", "g5.xlarge"}


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
    plan._detected_chip.cache_clear()
    assert moved(before, keys()) == touched


@pytest.mark.parametrize(
    "change", [{"global_batch_size": 32}, {"args": {"width": 9}}, {"compile": True}, {"sample_unit": "token"}]
)
@pytest.mark.usefixtures("study")
def test_another_configuration_of_the_model_is_other_work(change):
    assert len(moved(keys(), keys(workload=WORDS.model_copy(update=change)))) == 3


@pytest.mark.usefixtures("study")
def test_another_laptop_is_another_cell_but_the_same_type_elsewhere_is_not():
    other = HOST.model_copy(update={"host_id": "0ther", "vcpus": 64})
    assert planned("local", host=other).spec.key != planned("local").spec.key
    assert planned("g5.xlarge", host=other).spec.key == planned("g5.xlarge").spec.key
    assert planned("g5.xlarge").spec.host_id is None


def test_only_what_a_subset_reads_moves_its_key(study):
    small, whole = (
        (lambda: planned("local").spec.key),
        (lambda: planned("local", subset=Subset(name="smoke", fraction=1))),
    )
    before = small(), whole().spec.key
    write_text(study, [n % 300 for n in range(499)] + [7])  # the last of 500 tokens; the subset takes 400
    plan._slice.cache_clear()
    assert small() == before[0]
    assert whole().spec.key != before[1]
    write_text(study, [n % 300 for n in range(500)], tokenizer=b"{ }")
    plan._slice.cache_clear()
    assert small() != before[0]


def test_an_edit_of_the_users_own_module_is_other_work(study, tmp_path, monkeypatch):
    package = tmp_path / "elsewhere/mymodels"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("WIDTH = 8\n")
    monkeypatch.syspath_prepend(str(package.parent))
    mine = WORDS.model_copy(update={"target": "mymodels.net.Net"})
    before, shipped = keys(workload=mine), keys()
    (package / "net.py").write_text("WIDTH = 16\n")
    importlib.invalidate_caches()
    assert len(moved(before, keys(workload=mine))) == 3
    assert moved(shipped, keys()) == set()
    assert not (study / "mlruns/cache").exists()  # a stated micro-batch needs no trace


@pytest.mark.parametrize("target", ["nowhere.at.all.Net", "Net", "sys.Net"])
@pytest.mark.usefixtures("study")
def test_a_module_that_cannot_be_found_is_named_with_its_file_and_the_way_out(target):
    with pytest.raises(ValueError, match=r"^conf/workload/words\.yaml: _target_ .* no module .* set PYTHONPATH"):
        planned("local", workload=WORDS.model_copy(update={"target": target}))


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


# --- what is out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "words", "day"),
    [
        ("p3.2xlarge", "retired: offered in 0 of 30", "2026-10-27"),
        ("inf1.xlarge", "cannot train: inference only", "2026-08-21"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_candidate_that_cannot_work_is_planned_with_reason_source_and_date(instance, words, day):
    cell = planned(instance, workload=TOY)  # no trace: nothing is computed for what will not run
    assert cell.exclusion is not None
    assert cell.exclusion.outcome == "excluded"
    assert cell.exclusion.reason.startswith(words)
    assert cell.exclusion.source
    assert str(cell.exclusion.as_of) == day
    assert cell.spec.micro_batch_size * cell.spec.accumulation_steps == 16
    assert not Path("mlruns/cache").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_three_billion_weights_do_not_fit_in_8_gib_and_it_says_by_how_much():
    large = config.workload("yoco-lm")
    large = large.model_copy(update={"data": None, "args": {**large.args, "size": "3b"}})
    cell = planned("m5a.large", workload=large)
    assert cell.exclusion is not None
    assert cell.exclusion.outcome == "does_not_fit"
    found = re.match(
        r"needs ([\d.]+) GiB at micro-batch 1, headroom included; the device has 7\.6 GiB", cell.exclusion.reason
    )
    assert found is not None, cell.exclusion.reason
    # Weights, gradients and two moments of 3 billion weights in fp32 are 45 GiB; a tenth stays free.
    assert 45 / 0.9 < float(found.group(1)) < 90
    assert cell.spec.micro_batch_size == 1


# --- how a batch is split ---------------------------------------------------------------------------------------


def remember(fixed_mib: float, per_item_mib: float, workload: WorkloadConfig = TOY) -> None:
    """Put these bytes in the place of what was traced for both precisions."""
    for instance in ("m5a.large", "g4dn.xlarge"):
        planned(instance, workload=workload)
    for path in Path("mlruns/cache").glob("memory-*.json"):
        path.write_text(json.dumps({"fixed_bytes": fixed_mib * 2**20, "per_item_bytes": per_item_mib * 2**20}))


@pytest.mark.usefixtures("project")
def test_the_global_batch_stays_and_its_split_follows_the_memory():
    remember(fixed_mib=0, per_item_mib=1024)
    cpu, gpu = planned("m5a.large", workload=TOY), planned("g4dn.xlarge", workload=TOY)
    # The guest sees 7771 MiB: 0.9 x 7771 - 700 = 6293 MiB, so 4 items; the T4 16 GiB: 14045 MiB, so 8.
    assert (cpu.spec.micro_batch_size, cpu.spec.accumulation_steps, cpu.exclusion) == (4, 4, None)
    assert (gpu.spec.micro_batch_size, gpu.spec.accumulation_steps, gpu.exclusion) == (8, 2, None)


@pytest.mark.usefixtures("project")
def test_what_just_misses_is_said_with_what_would_be_needed():
    # 6300 MiB of a budget of 6293: with the runtime's 700 and a tenth free, 7778 MiB are needed where 7771 are.
    remember(fixed_mib=6299, per_item_mib=1)
    cell = planned("m5a.large", workload=TOY)
    assert cell.exclusion is not None
    assert cell.exclusion.reason == "needs 7.6 GiB at micro-batch 1, headroom included; the device has 7.6 GiB"
    remember(fixed_mib=9 * 1024, per_item_mib=1)
    cell = planned("m5a.large", workload=TOY)
    assert cell.exclusion is not None
    # (9217 + 700) / 0.9 = 11019 MiB
    assert cell.exclusion.reason.startswith("needs 10.8 GiB at micro-batch 1, ")
    assert (cell.spec.micro_batch_size, cell.spec.accumulation_steps) == (1, 16)


@pytest.mark.usefixtures("project")
def test_a_trace_is_made_once_and_read_again_until_the_model_changes():
    assert planned("m5a.large", workload=TOY).spec.micro_batch_size == 16
    [path] = Path("mlruns/cache").iterdir()
    path.write_text(json.dumps({"fixed_bytes": 0, "per_item_bytes": 2**30}))
    assert planned("m5a.large", workload=TOY).spec.micro_batch_size == 4  # what the file says
    wider = TOY.model_copy(update={"args": {"width": 9}})
    assert planned("m5a.large", workload=wider).spec.micro_batch_size == 16
    assert len(list(Path("mlruns/cache").iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fixed_bytes": 1}', "\x00"])
@pytest.mark.usefixtures("project")
def test_a_damaged_memory_file_is_made_again(content):
    planned("m5a.large", workload=TOY)
    [path] = Path("mlruns/cache").iterdir()
    whole = path.read_text()
    path.write_text(content)
    assert planned("m5a.large", workload=TOY).exclusion is None
    assert path.read_text() == whole


@pytest.mark.usefixtures("project")
def test_a_memory_file_that_cannot_be_written_costs_no_answer():
    Path("mlruns/cache").write_text("a file where a folder should be")
    assert planned("m5a.large", workload=TOY).spec.micro_batch_size == 16


@pytest.mark.usefixtures("study")
def test_a_micro_batch_that_does_not_divide_the_global_one_is_the_users_mistake():
    odd = WORDS.model_copy(update={"micro_batch_size": 5})
    words = r"^conf/workload/words\.yaml: micro_batch_size 5 does not divide global_batch_size 16$"
    with pytest.raises(ValueError, match=words):
        planned("local", workload=odd)


# --- the dataset ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("project")
def test_a_missing_dataset_is_named_with_the_command_that_makes_it():
    with pytest.raises(ValueError, match=r"data/text/manifest\.json.*dvc repro dataset@text"):
        planned("local")


@pytest.mark.usefixtures("study")
def test_a_subset_larger_than_the_dataset_says_both_sizes_and_where_to_lower_it():
    words = r"subset 'big' asks for 501 tokens; data/text has 500 .* conf/subset/big\.yaml"
    with pytest.raises(ValueError, match=words):
        planned("local", subset=Subset(name="big", items={"text": 501}))


# --- the stage --------------------------------------------------------------------------------------------------


def test_the_stage_writes_every_cell_and_counts_what_will_run(study, monkeypatch, capsys):
    toy = TOY.model_dump(by_alias=True, mode="json", exclude_none=True) | {"data": None, "micro_batch_size": 16}
    (study / "conf/workload/toy.yaml").write_text(json.dumps(toy))
    monkeypatch.setattr(plan.hardware, "detect", lambda: HOST)
    asked = ["workloads=[toy]", "subsets=[smoke,full]", "instances=[local,p3.2xlarge,g5.xlarge]"]
    plan.main(config.study(asked))  # type: ignore[arg-type]
    assert capsys.readouterr().out == "6 cells on AMD EPYC 7571, no accelerator: 2 excluded, 4 to run\n"
    left = sorted(path.relative_to(study / "data/plan").as_posix() for path in (study / "data/plan").rglob("*.json"))
    assert left == [
        f"toy/{subset}/{instance}.json"
        for subset in ("full", "smoke")
        for instance in ("g5.xlarge", "local", "p3.2xlarge")
    ]
    cell = PlannedCell.model_validate_json((study / "data/plan/toy/smoke/p3.2xlarge.json").read_text())
    assert cell.exclusion is not None
    assert cell.spec.instance == "p3.2xlarge"
