"""`--help` of every command says what the command is for, and does nothing else."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

SOURCES = REPOSITORY / "src" / "yocobench"
NO_COMMANDS = ("bench", "selection")  # what other processes start, and a page's generator


def command(path: Path) -> str:
    parts = path.relative_to(SOURCES.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__main__")


COMMANDS = {
    command(path): path
    for path in sorted(SOURCES.rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text() and path.relative_to(SOURCES).parts[0] not in NO_COMMANDS
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # runpy: imported already, by another test
@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_the_command_is_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)  # no repository: a command that did more than tell would fail
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    purpose = COMMANDS[name].read_text().removeprefix('"""').partition("\n")[0]
    told = capsys.readouterr().out
    assert status == 0
    assert purpose in told or told.startswith(f"usage: python -m {name}")
