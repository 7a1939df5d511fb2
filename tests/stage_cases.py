"""A stage called with words, and what it says to a mistake in them."""

from __future__ import annotations

import sys

import pytest

from yocobench import config
from yocobench.schema import Config


def asked(*overrides: str, monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What a stage is handed when it is called with these words."""
    seen: list[Config] = []

    def main(cfg: Config) -> None:
        seen.append(cfg)

    monkeypatch.setattr(sys, "argv", ["stage", *overrides])
    config.stage(main)()
    return seen


def complaint(*overrides: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a stage says to a mistake, with exit status 2 and no traceback."""
    with pytest.raises(SystemExit) as ended:
        asked(*overrides, monkeypatch=monkeypatch)
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert "Traceback" not in said
    assert said.startswith("error: ")
    return said
