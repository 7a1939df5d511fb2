"""What a mistake among the words of a command is answered with, before anything runs."""

from __future__ import annotations

import re

import pytest

from stage_cases import asked, complaint
from yocobench import config
from yocobench.launchers import build_launcher


@pytest.mark.usefixtures("project")
def test_wrong_values_on_the_command_line_are_all_said_at_once(monkeypatch, capsys):
    said = complaint(
        "job.images=0", "protocol.seed=-1", "+restrict.cpu_onyl=true", monkeypatch=monkeypatch, capsys=capsys
    )
    assert "error: params.yaml with conf/ and overrides: 3 error(s)\n" in said
    assert "  job.images: Input should be greater than or equal to 1 (got 0)\n" in said
    assert "  protocol.seed: Input should be greater than or equal to 0 (got -1)\n" in said
    assert "  restrict.cpu_onyl: unknown key; did you mean 'cpu_only'? Known: cpu_only, instances\n" in said


@pytest.mark.parametrize("word", ["workload=yoco-ml", "workload=transformer,yoco-ml"])
@pytest.mark.usefixtures("project")
def test_an_unknown_name_on_the_command_line_is_one_line_before_any_job_starts(monkeypatch, capsys, word):
    said = complaint("-m", word, monkeypatch=monkeypatch, capsys=capsys)
    assert said == (
        "error: workload 'yoco-ml' is not known; did you mean 'yoco-lm'? "
        "Known: transformer, yoco-det, yoco-lm. Add conf/workload/yoco-ml.yaml\n"
    )


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("protcol.repeats=1", "protcol: unknown key; did you mean 'protocol'? Known: "),
        ("protocol.repeat=1", "protocol.repeat: unknown key; did you mean 'repeats'? Known: repeats, warmup_steps, "),
        ("instance=", "instance '' is not known"),
    ],
)
@pytest.mark.usefixtures("project")
def test_an_unknown_key_on_the_command_line_is_one_line_before_any_job_starts(monkeypatch, capsys, word, words):
    assert complaint("-m", word, monkeypatch=monkeypatch, capsys=capsys).startswith(f"error: {words}")


def test_a_setting_that_a_file_leaves_out_is_known_and_the_way_to_give_it_is_said(project, monkeypatch, capsys):
    (project / "conf/workload/line.yaml").write_text(
        "name: line\n_target_: ours.Line\ndata: null\nsample_unit: sample\nglobal_batch_size: 8\nargs: {}\n"
    )
    said = complaint("workload=line", "workload.compile=false", monkeypatch=monkeypatch, capsys=capsys)
    assert said == (
        "error: workload.compile does not stand in the file that is composed; write ++workload.compile=..., "
        "or add it there\n"
    )
    [cfg] = asked("workload=line", "++workload.compile=false", monkeypatch=monkeypatch)
    assert cfg.workload.compile is False


# Emacs keeps a link to nowhere beside a file with unsaved changes, macOS a file of attributes.
def test_hidden_files_in_conf_are_an_editors_own(project, monkeypatch):
    (project / "conf/instance/.#g5.xlarge.yaml").symlink_to("user@host.123")
    (project / "conf/instance/._g5.xlarge.yaml").write_bytes(b"\0\5\26\7")
    [cfg] = asked("instance=local", monkeypatch=monkeypatch)
    assert cfg.instance.name == "local"
    assert not [name for name in config.names("instance") if name.startswith(".")]


def test_a_folder_called_like_a_file_is_one_line(project, monkeypatch, capsys):
    (project / "conf/instance/old.yaml").mkdir()
    said = complaint("instance=local", monkeypatch=monkeypatch, capsys=capsys)
    assert said == "error: [Errno 21] Is a directory: 'conf/instance/old.yaml'\n"


@pytest.mark.usefixtures("project")
def test_a_baseline_that_nobody_describes_is_refused(monkeypatch, capsys):
    said = complaint("baseline=m5a.larg", monkeypatch=monkeypatch, capsys=capsys)
    assert said.startswith("error: baseline: instance 'm5a.larg' is not known; did you mean 'm5a.large'? Known: ")


@pytest.mark.parametrize(
    ("word", "words"), [("repeat=foo", "repeat must be a whole number (got 'foo')"), ("boxes=1.5", "(got 1.5)")]
)
@pytest.mark.usefixtures("project")
def test_settings_of_the_local_launcher_are_whole_numbers(monkeypatch, word, words):
    [cfg] = asked(f"launcher.{word}", monkeypatch=monkeypatch)
    with pytest.raises(ValueError, match=re.escape(words)):
        build_launcher(cfg.launcher)


@pytest.mark.parametrize("name", ["100", "nan", "true"])
def test_a_name_that_reads_as_a_value_is_refused_with_the_file_to_rename(project, monkeypatch, capsys, name):
    (project / f"conf/subset/{name}.yaml").write_text(f"name: '{name}'\nfraction: 0.5\n")
    said = complaint(f"subset={name}", monkeypatch=monkeypatch, capsys=capsys)
    assert said == f"error: subset {name!r} does not read as a name: rename conf/subset/{name}.yaml\n"


def test_a_copied_file_that_kept_the_name_of_the_other_is_refused(project, monkeypatch, capsys):
    copied = (project / "conf/instance/g5.xlarge.yaml").read_text()
    (project / "conf/instance/g5.2xlarge.yaml").write_text(copied)
    words = "conf/instance/g5.2xlarge.yaml: name: 'g5.xlarge' is not the file's; write name: g5.2xlarge"
    with pytest.raises(ValueError, match=re.escape(words)):
        config.instance("g5.2xlarge")
    assert complaint("instance=g5.2xlarge", monkeypatch=monkeypatch, capsys=capsys) == f"error: {words}\n"


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("launcher.rendevous=x", "launcher.rendevous: unknown key; did you mean 'rendezvous'? Known: name, _target_, "),
        ("workload.args.sizze=tiny", "workload.args.sizze: unknown key; did you mean 'size'? Known: "),
        ("objective", "Error parsing override 'objective'\nmissing EQUAL"),
        ("job.tokens=1e9,1e10", "Ambiguous value for argument 'job.tokens=1e9,1e10'"),
    ],
)
@pytest.mark.usefixtures("project")
def test_words_that_hydra_refuses_are_a_mistake_like_any_other(monkeypatch, capsys, word, words):
    said = complaint(word, monkeypatch=monkeypatch, capsys=capsys)
    assert said.startswith(f"error: {words}")
    assert "HYDRA_FULL_ERROR" not in said


def test_a_name_that_hydra_cannot_read_is_asked_to_be_another(project, monkeypatch, capsys):
    (project / "conf/instance/größe.yaml").write_text("name: größe\n")
    said = complaint("instance=größe", monkeypatch=monkeypatch, capsys=capsys)
    assert said == "error: instance 'größe' does not read as a name: rename conf/instance/größe.yaml\n"
