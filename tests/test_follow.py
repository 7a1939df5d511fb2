"""How a rank ends: one that failed ends at once, with its reason, and waits for no other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from test_local_launcher import spec
from yocobench.bench import follow, parallel


@pytest.fixture
def member():
    """This process as the only one of its group."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.fixture
def told(monkeypatch):
    """What rank 0 announces; an error stands for one of this rank's own."""

    def tell(word: str | Exception):
        def hear():
            if isinstance(word, Exception):
                raise word
            return [word]

        monkeypatch.setattr(parallel, "group", lambda backend, timeout_s: SimpleNamespace(follow=hear))

    return tell


@pytest.fixture(autouse=True)
def handlers():
    """As they were: a rank leaves SIGINT and SIGTERM to the system, and a later test's would end the whole worker."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("member")
def test_a_rank_that_is_told_the_end_leaves_the_group(told, tmp_path):
    told("end")
    assert follow.follow(spec(), 0, tmp_path, 1, tmp_path / "out.json") == 0
    assert not dist.is_initialized()


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (MemoryError("no more memory"), 3, "no more memory"),
        (MemoryError(), 3, "MemoryError"),
        (ValueError("train.bin: damaged"), 2, "train.bin: damaged"),
        (RuntimeError("a bug"), 1, "RuntimeError: a bug"),
        (TypeError("another"), 1, "TypeError: another"),
    ],
)
def test_a_rank_that_failed_tells_why_and_takes_nothing_down(monkeypatch, told, tmp_path, capsys, error, status, says):
    monkeypatch.setattr(follow, "FIRST_WORD_S", 0)
    told(error)
    out = tmp_path / "out.json"
    assert follow.follow(spec(), 0, tmp_path, 1, out) == status
    assert dist.is_initialized()
    printed = capsys.readouterr().err
    assert follow.failed(out).is_file() == (status == 3)
    if status == 3:
        assert json.loads(follow.failed(out).read_text())["reason"] == f"rank 1: {says}"
    else:
        assert says in printed


END = """
import atexit, sys
import torch.distributed as dist
from yocobench.bench import parallel
atexit.register(print, "in order")
if "member" in sys.argv:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
print("said")
parallel.finish(int(sys.argv[-1]))
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["member", "4"], ["said"]),
        (["alone", "4"], ["said", "in order"]),
        (["alone", "0"], ["said", "in order"]),
    ],
)
def test_only_a_member_that_failed_ends_without_the_interpreters_way_out(arguments, said):
    done = subprocess.run([sys.executable, "-c", END, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == int(arguments[-1]), done.stderr
    assert done.stdout.splitlines() == said
