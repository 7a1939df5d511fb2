"""The CPU device: memory that one step frees serves the next."""

import platform
import resource

import pytest
import torch

from yocobench.bench.accelerators.cpu import keep_freed_memory

MIB = 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    assert keep_freed_memory() is True
    for _ in range(20):  # the heap grows by pieces until one is large enough
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(16 * MIB // 4).fill_(1.0)  # 4,096 pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 400
