"""The measured process, started as the launcher starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_local_launcher import spec


@pytest.mark.parametrize("folder_is_gone", [False, True])
def test_a_process_whose_launcher_was_killed_meanwhile_ends(tmp_path, folder_is_gone):
    given, pipe = tmp_path / "spec", tmp_path / "progress"
    given.write_text(spec().model_dump_json(by_alias=True))
    if not folder_is_gone:
        os.mkfifo(pipe)
    command = [sys.executable, "-m", "yocobench.bench.measure", "--spec", str(given), "--repeat", "0"]
    command += ["--out", str(tmp_path / "out.json"), "--progress", str(pipe)]
    ended = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "nobody reads it, the launcher is gone" in ended.stderr
    assert not (tmp_path / "out.json").exists()
