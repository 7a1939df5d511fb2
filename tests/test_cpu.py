"""The CPU device: memory that one step frees serves the next."""

import platform
import resource
from pathlib import Path

import pytest
import torch

from yocobench.bench.accelerators import cpu
from yocobench.bench.accelerators.cpu import keep_freed_memory

MIB = 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    assert keep_freed_memory() is True
    for _ in range(20):  # the heap grows by pieces until one is large enough
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(16 * MIB // 4).fill_(1.0)  # 4,096 pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 400


def test_files_that_a_container_has_read_count_as_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name for name in ("memory.max", "memory.current", "memory.stat")]
    for path, text in zip(files, (f"{300 * MIB}", f"{290 * MIB}", ""), strict=True):
        path.write_text(text)
    monkeypatch.setattr(cpu, "CGROUP_FILES", (tuple(files),))
    assert cpu.Device().available_memory_bytes() == 10 * MIB
    files[2].write_text(f"anon {90 * MIB}\nfile {200 * MIB}\ninactive_file {150 * MIB}\nactive_file {40 * MIB}\n")
    assert cpu.Device().available_memory_bytes() == 200 * MIB
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert cpu.Device().available_memory_bytes() == 50 * MIB
