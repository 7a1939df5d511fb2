"""A bad file under conf/ is answered with all its errors at once, their places and the known alternatives."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from stage_cases import complaint
from yocobench import config

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's settings, to spoil."""
    shutil.copytree(REPO / "conf", tmp_path / "conf")
    shutil.copy(REPO / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replace(path: Path, **changes: str) -> None:
    """Put another line in place of the first one with each key."""
    text = path.read_text(encoding="utf-8")
    for key, line in changes.items():
        text, count = re.subn(rf"(?m)^( *){key}: .*$", rf"\g<1>{line}", text, count=1)
        assert count == 1
    path.write_text(text, encoding="utf-8")


def test_a_bad_file_gives_all_its_errors_at_once_with_places_and_alternatives(project: Path) -> None:
    bad = project / "conf/instance/g5.xlarge.yaml"
    replace(bad, vcpus="vcpu: 4", memory_gib="memory_gib: -16", source="# no source")
    with pytest.raises(ValueError, match=r"conf/instance/g5\.xlarge\.yaml: 4 error\(s\)") as caught:
        config.instance("g5.xlarge")
    message = str(caught.value)
    assert "hardware.vcpu: unknown key; did you mean 'vcpus'?" in message
    assert "physical_cores" in message
    assert "hardware.vcpus: Field required" in message
    assert "hardware.memory_gib: Input should be greater than 0 (got -16)" in message
    assert "hardware.source: Field required" in message


def test_a_bad_chip_is_named_with_its_place_in_the_type_that_uses_it(project: Path) -> None:
    replace(
        project / "conf/accelerator/nvidia-a10g.yaml",
        memory_gb_per_s="memory_gb_per_s: -600",
        precision="precision: bf8",
    )
    with pytest.raises(ValueError, match=r"2 error\(s\)") as caught:
        config.instance("g5.xlarge")
    assert "accelerator.rates.memory_gb_per_s: Input should be greater than 0 (got -600)" in str(caught.value)
    assert "accelerator.precision: Input should be 'fp32', 'tf32', 'fp16' or 'bf16' (got 'bf8')" in str(caught.value)


def test_a_mistake_of_a_chip_is_to_be_mended_in_its_own_file_and_one_of_the_type_is_not(project: Path) -> None:
    chip, instance = project / "conf/accelerator/nvidia-a10g.yaml", project / "conf/instance/g5.xlarge.yaml"
    good = chip.read_text(encoding="utf-8")
    replace(chip, memory_gb_per_s="memory_gb_per_s: fast")
    with pytest.raises(ValueError, match=r"\n  Mend it in conf/accelerator/nvidia-a10g\.yaml$"):
        config.instance("g5.xlarge")
    chip.write_text(good, encoding="utf-8")
    instance.write_text(f"{instance.read_text(encoding='utf-8')}accelerator: {{precision: bf8}}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"accelerator\.precision: ") as caught:
        config.instance("g5.xlarge")
    assert "Mend it" not in str(caught.value)


def test_a_reference_to_nothing_is_one_line_with_its_place(project: Path) -> None:
    replace(project / "conf/subset/smoke.yaml", text="text: ${nothing}")
    with pytest.raises(
        ValueError, match=r"^conf/subset/smoke\.yaml: items\.text: Interpolation key 'nothing' not found$"
    ):
        config.subsets(["smoke"])


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("accelerator/nvidia-a10g", {"name": "name: ${nothing}"}),
        ("instance/g5.xlarge", {"name": "accelerator: ${nothing}"}),
    ],
)
def test_a_reference_to_nothing_in_place_of_a_chip_names_the_type(
    project: Path, file: str, line: dict[str, str]
) -> None:
    replace(project / f"conf/{file}.yaml", **line)
    told = r"^conf/instance/g5\.xlarge\.yaml: accelerator(\.name)?: Interpolation key 'nothing' not found(\n|$)"
    with pytest.raises(ValueError, match=told):
        config.instance("g5.xlarge")


def test_mistakes_of_both_chips_name_both_files(project: Path) -> None:
    replace(project / "conf/accelerator/nvidia-a10g.yaml", precision="precision: bf8")
    replace(project / "conf/accelerator/amd-epyc-7r32.yaml", precision="precision: bf8")
    told = r"\n  Mend it in conf/accelerator/amd-epyc-7r32\.yaml and conf/accelerator/nvidia-a10g\.yaml$"
    with pytest.raises(ValueError, match=told):
        config.instance("g5.xlarge")


def test_a_negative_surcharge_is_refused(project: Path) -> None:
    replace(project / "conf/instance/t3a.large.yaml", surplus_usd_per_vcpu_hour="surplus_usd_per_vcpu_hour: -0.05")
    with pytest.raises(ValueError, match=r"burst\.surplus_usd_per_vcpu_hour: .*greater than or equal to 0"):
        config.instance("t3a.large")


def test_an_accelerator_without_a_count_is_refused(project: Path) -> None:
    replace(
        project / "conf/instance/g5.xlarge.yaml",
        accelerator_count="accelerator_count: 0",
        accelerator_memory_gib="accelerator_memory_gib: null",
    )
    with pytest.raises(ValueError, match="accelerator must be given exactly when"):
        config.instance("g5.xlarge")


def test_an_unknown_type_is_answered_with_the_nearest_and_the_known_ones(project: Path) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'g5\.xlarge'\? Known: c6i\.8xlarge, ") as caught:
        config.instance("g5.xlrage")
    assert "Add conf/instance/g5.xlrage.yaml" in str(caught.value)


def test_a_chip_that_no_file_describes_is_named(project: Path) -> None:
    bad = project / "conf/instance/g5.xlarge.yaml"
    bad.write_text(bad.read_text(encoding="utf-8").replace("nvidia-a10g", "nvidia-a10x"), encoding="utf-8")
    with pytest.raises((ValueError, OSError), match="nvidia-a10x") as caught:
        config.instance("g5.xlarge")
    assert "nvidia-a10g" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("@cpu: amd-epyc-7r32", "@cpu: nvidia-a10g", "cpu: nvidia-a10g is a chip of kind cuda; name the CPU's file"),
        ("@accelerator: nvidia-a10g", "@accelerator: amd-epyc-7r32", "accelerator: amd-epyc-7r32 is a CPU; name the"),
        ("  as_of: 2026-10-27", "  as_of: 0", "hardware.as_of: write the day as in 2026-10-27 (got 0)"),
        ("  as_of: 2026-10-27", "  as_of: 27.10.2026", "hardware.as_of: write the day as in 2026-10-27 (got '27.10.2"),
        ("  memory_gib: 16", "  memory_gib: on", "hardware.memory_gib: write a number: true, yes and on are none"),
    ],
)
def test_a_fact_of_another_sort_is_refused(project: Path, old: str, new: str, words: str) -> None:
    path = project / "conf/instance/g5.xlarge.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(words)):
        config.instance("g5.xlarge")


@pytest.mark.parametrize("file", ["params.yaml", "conf/subset/mine.yaml"])
@pytest.mark.parametrize(("text", "what"), [("- yoco-lm\n", "a list"), ("5\n", "one value, 5")])
def test_a_file_without_keys_is_refused(project, monkeypatch, capsys, file, text, what):
    (project / file).write_text(text)
    said = complaint(monkeypatch=monkeypatch, capsys=capsys)
    assert said == f"error: {file}: is {what}; write keys with values, such as `name: smoke`\n"


@pytest.mark.parametrize("file", ["params.yaml", "conf/workload/yoco-lm.yaml"])
def test_a_key_that_stands_twice_is_refused_with_its_place(project, monkeypatch, capsys, file):
    text = (project / file).read_text(encoding="utf-8") + "\nmine: 1\nmine: 2\n"
    (project / file).write_text(text, encoding="utf-8")
    said = complaint(monkeypatch=monkeypatch, capsys=capsys)
    at = text.splitlines().index("mine: 2") + 1
    assert said.startswith(
        f"error: {file}: line {at}, column 1: found duplicate key mine, while constructing a mapping ("
    )
    assert said.count("\n") == 1
