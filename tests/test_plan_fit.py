"""Which cells are out, how a batch is split, and what the plan stage writes. What moves a key: test_plan.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from plan_cases import HOST, TOY, WORDS, forget, planned, write_text
from yocobench import config, plan
from yocobench.plan import PlannedCell
from yocobench.schema import Subset


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing is remembered from another test."""
    forget()


@pytest.fixture
def study(project: Path) -> Path:
    """A project with 500 tokens to train on."""
    write_text(project, [n % 300 for n in range(500)])
    return project


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


def test_a_type_that_the_region_did_not_offer_when_asked_is_out_though_it_has_a_price(study):
    snapshot = json.loads((Path(__file__).parents[1] / "data/prices.json").read_text())
    row = next(row for row in snapshot["prices"] if row["instance_type"] == "g4dn.xlarge")
    origin = {"region": "eu-west-1", "source": "EC2 DescribeInstanceTypeOfferings", "as_of": "2026-11-24"}
    snapshot["prices"] += [{**row, "region": "eu-west-1"}]
    snapshot["offers"] = [{"instance_type": "g4dn.xlarge", "zones": [], **origin}]
    assert planned("g4dn.xlarge", "region=eu-west-1").exclusion is None  # nobody asked
    (study / "data/prices.json").write_text(json.dumps(snapshot))
    found = planned("g4dn.xlarge", "region=eu-west-1").exclusion
    assert found is not None
    assert (found.outcome, found.reason) == ("excluded", "not offered in eu-west-1")
    assert (found.source, str(found.as_of)) == (origin["source"], "2026-11-24")
    assert planned("g4dn.xlarge").exclusion is None  # in another region
    assert planned("g5.xlarge", "region=eu-west-1").exclusion is None
    (study / "data/prices.json").write_text("{")  # `compare` names what is wrong with it
    assert planned("g4dn.xlarge", "region=eu-west-1").exclusion is None


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


def remember(fixed_mib: float, per_item_mib: float) -> None:
    """Put these bytes in the place of what was traced for both precisions."""
    for instance in ("m5a.large", "g4dn.xlarge"):
        planned(instance, workload=TOY)
    for path in Path("mlruns/cache").glob("trace-*.json"):
        rewrite(path, fixed_mib, per_item_mib)
    forget()


def rewrite(path: Path, fixed_mib: float, per_item_mib: float) -> None:
    """Make a kept trace say that a step needs these bytes."""
    kept = json.loads(path.read_text())
    kept |= {"parameter_bytes": fixed_mib * 2**20, "gradient_bytes": 0, "optimizer_state_bytes": 0}
    peak = per_item_mib * 2**20 * kept["micro_batch_size"]
    kept |= {"peak_activation_bytes": peak, "peak_fused_activation_bytes": peak}
    path.write_text(json.dumps(kept))


@pytest.mark.usefixtures("project")
def test_the_global_batch_stays_and_its_split_follows_the_memory():
    remember(fixed_mib=0, per_item_mib=1024)
    cpu, gpu = planned("m5a.large", workload=TOY), planned("g4dn.xlarge", workload=TOY)
    # The guest sees 7771 MiB: 0.9 x 7771 - 460 = 6534 MiB, so 4 items; the T4 16 GiB: 14045 MiB, so 8.
    assert (cpu.spec.micro_batch_size, cpu.spec.accumulation_steps, cpu.exclusion) == (4, 4, None)
    assert (gpu.spec.micro_batch_size, gpu.spec.accumulation_steps, gpu.exclusion) == (8, 2, None)


@pytest.mark.usefixtures("project")
def test_a_stated_micro_batch_hides_no_model_that_is_too_large():
    remember(fixed_mib=9 * 1024, per_item_mib=1)
    stated = TOY.model_copy(update={"micro_batch_size": 2, "threads": 1})  # the same trace serves it
    cell = planned("m5a.large", workload=stated)
    assert cell.exclusion is not None
    assert cell.exclusion.outcome == "does_not_fit"
    untraceable = stated.model_copy(update={"args": {"fault": "untraceable"}})
    assert planned("m5a.large", workload=untraceable).spec.micro_batch_size == 2
    with pytest.raises(ValueError, match="cannot be traced"):
        planned("m5a.large", workload=untraceable.model_copy(update={"micro_batch_size": None}))


@pytest.mark.usefixtures("project")
def test_what_just_misses_is_said_with_what_would_be_needed():
    # 6560 MiB of a budget of 6534: with the runtime's 460 and a tenth free, 7800 MiB are needed where 7771 are.
    remember(fixed_mib=6559, per_item_mib=1)
    cell = planned("m5a.large", workload=TOY)
    assert cell.exclusion is not None
    assert cell.exclusion.reason == "needs 7.6 GiB at micro-batch 1, headroom included; the device has 7.6 GiB"
    remember(fixed_mib=9 * 1024, per_item_mib=1)
    cell = planned("m5a.large", workload=TOY)
    assert cell.exclusion is not None
    # (9217 + 460) / 0.9 = 10752 MiB
    assert cell.exclusion.reason.startswith("needs 10.5 GiB at micro-batch 1, ")
    assert (cell.spec.micro_batch_size, cell.spec.accumulation_steps) == (1, 16)


@pytest.mark.usefixtures("project")
def test_a_trace_is_made_once_and_read_again_until_the_model_changes():
    assert planned("m5a.large", workload=TOY).spec.micro_batch_size == 16
    kept = list(Path("mlruns/cache").iterdir())
    for path in kept:
        rewrite(path, 0, 1024)
    forget()
    assert planned("m5a.large", workload=TOY).spec.micro_batch_size == 4  # what the files say
    wider = TOY.model_copy(update={"args": {"width": 9}})
    assert planned("m5a.large", workload=wider).spec.micro_batch_size == 16
    assert len(list(Path("mlruns/cache").iterdir())) == 2 * len(kept)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"operations": [], "optimizer": []}', "\x00"])
@pytest.mark.usefixtures("project")
def test_a_damaged_trace_is_made_again(content):
    planned("m5a.large", workload=TOY)
    path = next(Path("mlruns/cache").iterdir())
    whole = path.read_text()
    path.write_text(content)
    forget()
    assert planned("m5a.large", workload=TOY).exclusion is None
    assert path.read_text() == whole


@pytest.mark.usefixtures("project")
def test_a_trace_that_cannot_be_written_costs_no_answer():
    Path("mlruns/cache").write_text("a file where a folder should be")
    assert planned("m5a.large", workload=TOY).spec.micro_batch_size == 16


@pytest.mark.usefixtures("study")
def test_a_micro_batch_that_does_not_divide_the_global_one_is_the_users_mistake():
    odd = WORDS.model_copy(update={"micro_batch_size": 5})
    words = r"^conf/workload/words\.yaml: micro_batch_size 5 does not divide global_batch_size 16$"
    with pytest.raises(ValueError, match=words):
        planned("m5a.large", workload=odd)


# --- the dataset ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("project")
def test_a_missing_dataset_is_named_with_the_command_that_makes_it():
    with pytest.raises(ValueError, match=r"data/text/manifest\.json.*dvc repro dataset@text"):
        planned("m5a.large")


@pytest.mark.usefixtures("study")
def test_a_subset_larger_than_the_dataset_says_both_sizes_and_where_to_lower_it():
    words = r"subset 'big' asks for 501 tokens; data/text has 500 .* conf/subset/big\.yaml"
    with pytest.raises(ValueError, match=words):
        planned("m5a.large", subset=Subset(name="big", items={"text": 501}))


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
