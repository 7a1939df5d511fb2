"""A repeat whose process cannot be started."""

from pathlib import Path

import pytest

import examples
from yocobench.launchers.local import LocalLauncher


def test_a_process_that_cannot_start_leaves_no_file_open(monkeypatch):
    def refused(*words, **more):
        raise OSError("no process")

    monkeypatch.setattr("yocobench.launchers.local.subprocess.Popen", refused)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="no process"):
        LocalLauncher()._repeat(examples.spec(), 0, Path.cwd(), lambda progress: None, [])
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
