"""conf/launcher/ec2.yaml: what ships, what is refused, and the word that lets boxes start. And what code is sent."""

import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from yocobench import config
from yocobench.aws import bundle
from yocobench.launchers import build_launcher


@pytest.mark.usefixtures("project")
def test_the_shipped_settings_are_complete_and_ask_first():
    shipped = config.entry("launcher", "ec2")
    assert shipped.args["confirm"] is False
    assert shipped.args["bucket"] is None
    assert build_launcher(shipped).parallelism == 1  # each cell asks


@pytest.mark.usefixtures("project")
def test_every_bad_setting_of_the_launcher_is_named_at_once():
    with pytest.raises(ValueError, match=r"^conf/launcher/ec2\.yaml: .* 2 error\(s\)") as caught:
        build_launcher(config.entry("launcher", "ec2").model_copy(update={"max_usd": 0, "confrim": True}))
    assert "max_usd: Input should be greater than 0 (got 0)" in str(caught.value)
    assert "confrim: unknown key; did you mean 'confirm'?" in str(caught.value)


def test_the_launcher_is_confirmed_by_the_word_that_the_plan_names(project: Path):
    with initialize_config_dir(version_base=None, config_dir=str(project / "conf")):
        words = ["launcher=ec2", "launcher.confirm=true", "launcher.bucket=mine"]
        cfg = config.load(compose("config", words))
    assert build_launcher(cfg.launcher).parallelism == 4


def test_a_checkout_without_a_commit_is_refused_in_gits_own_words(project: Path):
    (project / "src").mkdir()
    (project / "src/new.py").touch()
    for words in (["init", "--quiet"], ["add", "src"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    with pytest.raises(ValueError, match=r"stash create` failed: .*initial commit"):
        bundle.commit_to_send(project, allow_dirty=True)
