"""What a mistake in params.yaml, in a file under conf/ or on the command line is answered with.

Errors inside instance types and chips: test_catalogue_errors.py. Prices: test_prices.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from stage_cases import asked, complaint
from yocobench import composition, config
from yocobench.schema import Config


def edit(path: str, old: str, new: str) -> None:
    """Replace the one place where `old` stands."""
    text = Path(path).read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    Path(path).write_text(text.replace(old, new), encoding="utf-8")


# --- params.yaml ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("project")
def test_every_mistake_in_the_study_is_said_at_once_with_its_path():
    edit("params.yaml", "\nobjective: cheapest", "\nobjektive: cheapest")
    edit("params.yaml", "  tokens: 1000000000", "  tokens: -3")
    edit("params.yaml", "  min_steps: 60", "  min_steps: 2")
    edit("params.yaml", "usage_class: on-demand", "usage_class: reserved")
    with pytest.raises(ValueError, match=r"^params\.yaml: 5 error\(s\)\n") as caught:
        config.study()
    message = str(caught.value)
    assert "objektive: unknown key; did you mean 'objective'? Known: workloads, subsets, " in message
    assert "objective: Field required" in message
    assert "job.tokens: Input should be greater than or equal to 1 (got -3)" in message
    assert "protocol.min_steps: Input should be greater than or equal to 3 (got 2)" in message
    assert "usage_class: Input should be 'on-demand' or 'spot' (got 'reserved')" in message


@pytest.mark.usefixtures("project")
def test_two_settings_that_contradict_each_other_are_named():
    with pytest.raises(ValueError, match=r"protocol: .*min_steps \(500\) exceeds max_steps \(400\)"):
        config.study(["protocol.min_steps=500", "protocol.max_steps=400"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("job.tokens=1e400", "job.tokens: Input should be a finite number"),
        ("job.tokens=1e300", "job.tokens: Input should be less than or equal to 1000000000000000000"),
        ("job.deadline_h=inf", "job.deadline_h: Input should be a finite number"),
        ("job.deadline_h=1e-300", "job.deadline_h: Input should be greater than or equal to 0.000001"),
        ("job.budget_usd=0.001", "job.budget_usd: Input should be greater than or equal to 0.01"),
        ("job.budget_usd=1e30", "job.budget_usd: Input should be less than or equal to 1000000000000"),
        ("protocol.timeout_s=inf", "protocol.timeout_s: Input should be a finite number"),
        ("assume.setup_s=1e30", "assume.setup_s: Input should be less than or equal to 1000000"),
        ("assume.spread=1e300", "assume.spread: Input should be less than or equal to 1000"),
        ("assume.volume_gib=1e30", "assume.volume_gib: Input should be less than or equal to 65536"),
        ("assume.interruption_overhead=1e30", "interruption_overhead: Input should be less than or equal to 100"),
        ("assume.boot_s=nan", "assume.boot_s: Input should be"),
        ("instances=[local,local]", "  instances: local given more than once; name each once"),
        ("workloads=[yoco-lm,yoco-lm]", "  workloads: yoco-lm given more than once; name each once"),
        (
            "restrict.instances=[g5.xlarg]",
            "  restrict.instances: 'g5.xlarg' is not among instances; did you mean 'g5.xlarge'? Known: local, ",
        ),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_no_study_can_mean_is_refused(override, words):
    with pytest.raises(ValueError, match=r"^params\.yaml: 1 error\(s\)\n") as caught:
        config.study([override])
    assert words in str(caught.value)
    assert "(got {" not in str(caught.value)


@pytest.mark.usefixtures("project")
def test_an_empty_study_is_refused():
    with pytest.raises(ValueError, match=r"(?s)instances: .*at least 1 item"):
        config.study(["instances=[]"])


@pytest.mark.usefixtures("project")
def test_a_key_like_no_other_is_answered_with_the_known_ones_only():
    with pytest.raises(ValueError, match=r"restrict\.zzz: unknown key\. Known: cpu_only, instances$"):
        config.study(["restrict.zzz=1"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: [1\n", "expected ',' or ']', while parsing a flow sequence (line 1, column 4)"),
        ("a: 1\na: 2\n", "line 2, column 1: found duplicate key a, while constructing a mapping (line 1, column 1)"),
        ("a: 1\n\tb: 2\n", "line 2, column 1: "),
        ("a: \x01\n", "control characters are not allowed"),
    ],
)
def test_a_study_that_is_no_yaml_is_one_message_with_file_and_line(project, text, words):
    (project / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"^params\.yaml: ") as caught:
        config.study()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("deadline_h: 72", "deadline_h: 1:30", "YAML counts 1:30 in sixties (90): write one number, in the key's unit"),
        ("deadline_h: 72", "deadline_h: 1:30.5", "YAML counts 1:30.5 in sixties (90.5)"),
        ("budget_usd: 250", "budget_usd: 0250", "YAML takes 0250 for octal (168): leave the leading 0 out"),
    ],
)
def test_a_number_that_yaml_reads_as_another_is_refused_with_its_line(project, old, new, words):
    edit("params.yaml", f"  {old}\n", f"  {new}\n")
    line = (project / "params.yaml").read_text().splitlines().index(f"  {new}") + 1
    with pytest.raises(ValueError, match=re.escape(f"params.yaml: line {line}: {words}")):
        config.study()


@pytest.mark.usefixtures("project")
def test_a_truth_is_no_number():
    edit("params.yaml", "  deadline_h: 72\n", "  deadline_h: yes\n")
    edit("params.yaml", "  repeats: 3\n", "  repeats: on\n")
    with pytest.raises(ValueError, match="2 error") as caught:
        config.study()
    assert "  job.deadline_h: write a number: true, yes and on are none (got True)" in str(caught.value)
    assert "  protocol.repeats: write a number: true, yes and on are none (got True)" in str(caught.value)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("word", ["data.text.seed=[", "workloads.0=x"])
def test_a_word_that_cannot_be_merged_is_named(word):
    with pytest.raises(ValueError, match=f"^{re.escape(word)}: "):
        config.study([word])


# --- conf/ ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("project")
def test_every_mistake_in_a_workload_is_said_at_once():
    edit("conf/workload/yoco-lm.yaml", "data: text", "data: texts")
    edit("conf/workload/yoco-lm.yaml", "\n_target_:", "\ntarget_:")
    edit("conf/workload/yoco-lm.yaml", "\nglobal_batch_size: ", "\nglobal_batch_size: -")
    with pytest.raises(ValueError, match=r"^conf/workload/yoco-lm\.yaml: 4 error\(s\)\n") as caught:
        config.workload("yoco-lm")
    message = str(caught.value)
    assert "target_: unknown key; did you mean '_target_'?" in message
    assert "_target_: Field required" in message
    assert "data: Input should be 'text' or 'images' (got 'texts')" in message
    assert "global_batch_size: Input should be greater than 0 (got -" in message


@pytest.mark.parametrize("text", ["name: both\nfraction: 0.1\nitems: {text: 5}\n", "name: neither\n"])
def test_a_subset_is_a_fraction_or_a_number_of_items(project, text):
    (project / "conf/subset/mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"^conf/subset/mine\.yaml: .*\n.*give exactly one of fraction and items"):
        config.entry("subset", "mine")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"name: x\n  bad: [1\n", "line 2, column 6"),
        (b"- a\n- b\n", "Input should be a valid dictionary"),
        (b"name: x\ndata: ${nope.nope}\n", "Interpolation key 'nope.nope' not found"),
        (b"name: \xff\n", "invalid start byte"),
        (b"", "name: Field required"),
        (b"defaults:\n  - /subset@args: nope\n", "nope"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_message_that_names_it(project, text, words):
    (project / "conf/workload/mine.yaml").write_bytes(text)
    with pytest.raises(ValueError, match=r"^conf/workload/mine\.yaml: ") as caught:
        config.workload("mine")
    assert words in str(caught.value)


@pytest.mark.usefixtures("project")
def test_an_unknown_key_in_a_list_is_answered_with_its_place_and_the_keys_of_the_list():
    text = Path("conf/accelerator/nvidia-t4.yaml").read_text()
    Path("conf/accelerator/nvidia-t4.yaml").write_text(text.replace("conditions:", "condition:", 1))
    with pytest.raises(
        ValueError, match=r"accelerator\.achieved\.0\.condition: unknown key; did you mean 'conditions'"
    ):
        config.instance("g4dn.xlarge")


@pytest.mark.usefixtures("project")
def test_a_name_like_no_other_is_answered_with_the_known_ones_and_the_file_to_add():
    known = r"Known: 10pct, 1pct, full, smoke\. Add conf/subset/zzz\.yaml"
    with pytest.raises(ValueError, match=rf"^subset 'zzz' is not known\. {known}$"):
        config.entry("subset", "zzz")


@pytest.mark.usefixtures("project")
def test_machine_images_must_cover_every_family():
    text = Path("conf/images.yaml").read_text()
    Path("conf/images.yaml").write_text(re.sub(r"(?m)^  neuron:\n(    .*\n)+", "", text))
    with pytest.raises(ValueError, match=r"(?s)^conf/images\.yaml: .*no image for neuron"):
        config.images()


def test_files_are_composed_again_only_when_one_of_them_changes(project, monkeypatch):
    calls, compose = [], composition.compose
    monkeypatch.setattr(
        composition, "compose", lambda overrides: calls.append(overrides) or compose(overrides=overrides)
    )
    file = project / "conf/accelerator/nvidia-t4.yaml"
    file.write_text(file.read_text() + "# of this test alone\n")
    before = config.instances(["g4dn.xlarge", "g5.xlarge", "g4dn.xlarge"])
    assert config.instance("g4dn.xlarge") == before[0] == before[2]
    assert [len(asked) for asked in calls] == [2]
    file.write_text(file.read_text().replace("precision: fp16", "precision: fp32"))
    assert config.instance("g4dn.xlarge").chip.precision == "fp32"
    assert [len(asked) for asked in calls] == [2, 1]


# --- commands ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("project")
def test_a_stage_gets_the_study_with_one_cell_composed_in(monkeypatch):
    [cfg] = asked("workload=transformer", "instance=g5.xlarge", "job.deadline_h=null", monkeypatch=monkeypatch)
    assert (cfg.workload.name, cfg.subset.name, cfg.instance.name) == ("transformer", "smoke", "g5.xlarge")
    assert (cfg.job.deadline_h, cfg.launcher.name, cfg.receipt) == (None, "local", None)
    assert cfg.instance.accelerator is not None
    assert cfg.instance.accelerator.name == "nvidia-a10g"


def test_a_command_elsewhere_says_where_to_run_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = complaint(monkeypatch=monkeypatch, capsys=capsys)
    assert said == "error: elsewhere/ has no params.yaml: run this from the repository's top folder\n"


@pytest.mark.parametrize("file", ["params.yaml", "conf/workload/yoco-lm.yaml", "conf/config.yaml"])
def test_broken_yaml_stops_a_command_with_file_and_line(project, monkeypatch, capsys, file):
    with (project / file).open("a") as open_file:
        open_file.write("\nx: [1\n")
    said = complaint(monkeypatch=monkeypatch, capsys=capsys)
    assert said.startswith(f"error: {file}: ")
    assert "expected ',' or ']'" in said


@pytest.mark.usefixtures("project")
def test_a_users_mistake_inside_a_stage_is_its_message_and_status_2(monkeypatch, capsys):
    def main(_: Config) -> None:
        raise FileNotFoundError("data/text/train.bin is gone")

    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit) as ended:
        config.stage(main)()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: data/text/train.bin is gone\n"


def test_a_full_disk_names_the_file_and_what_to_do(project, monkeypatch, capsys):
    def main(_: Config) -> None:
        raise OSError(28, "No space left on device", str(project / "results/decision.html"))

    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit):
        config.stage(main)()
    said = (
        "error: [Errno 28] No space left on device: 'results/decision.html'; free some (`df -h`), then run it again\n"
    )
    assert capsys.readouterr().err == said


def test_a_path_inside_the_project_is_said_relative_to_it_and_others_as_they_are(project, monkeypatch, capsys):
    def main(_: object) -> None:
        raise OSError(2, "No such file", str(project / "data/text/train.bin"), None, "/elsewhere/x")

    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit):
        config.stage(main)()
    assert capsys.readouterr().err == "error: [Errno 2] No such file: 'data/text/train.bin' -> '/elsewhere/x'\n"


@pytest.mark.usefixtures("project")
def test_the_status_that_a_stage_returns_is_the_commands(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit) as ended:
        config.stage(lambda _: 130)()
    assert ended.value.code == 130
