"""The search for a micro-batch that fits; over several processes: test_local_launcher.py."""

import ctypes
import gc
import mmap
import time
from pathlib import Path

import pytest

from examples import spec
from test_local_launcher import spec as toy_cell
from yocobench.bench.accelerators import cpu, open_device
from yocobench.bench.fit import at, is_tight, smaller
from yocobench.bench.trainer import TooTight, Trace, first_step


def sizes(micro, total):
    cell = spec("local")
    cell = cell.model_copy(update={"workload": cell.workload.model_copy(update={"global_batch_size": total})})
    one = at(cell, micro)
    while one is not None:
        yield one.micro_batch_size, one.accumulation_steps
        one = smaller(one)


def test_each_try_has_fewer_items_and_the_same_global_batch():
    assert list(sizes(24, 24)) == [(24, 1), (12, 2), (6, 4), (3, 8), (1, 24)]
    assert list(sizes(7, 7)) == [(7, 1), (1, 7)]
    assert list(sizes(4, 12)) == [(4, 3), (2, 6), (1, 12)]


def test_a_tenth_of_the_memory_is_left_free():
    assert not is_tight(900, 1000)
    assert is_tight(901, 1000)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux forgets a peak when asked to")
def test_the_peak_of_a_cpu_process_is_counted_anew_for_the_training_steps():
    device = open_device("cpu")
    with mmap.mmap(-1, 256 * 2**20) as kept:  # not by malloc, which may keep what is freed (cpu.py)
        for page in range(0, len(kept), mmap.PAGESIZE):
            kept[page] = 1
        high = device.peak_memory_bytes()
    device.reset_peak_memory()
    assert device.peak_memory_bytes() < high - 200 * 2**20


def test_a_first_step_that_leaves_too_little_asks_for_fewer_items_or_warns_where_there_are_none(monkeypatch):
    def forget() -> None:  # a repeat is a new process; here what was freed before was kept
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    forget()
    # A step keeps 320 MiB, of 340: more than nine tenths.
    monkeypatch.setattr(cpu.Device, "available_memory_bytes", lambda device: 340 * 2**20)
    with pytest.raises(TooTight, match="of 356,515,840 bytes, which leaves less than 10 %"):
        first_step(toy_cell(micro=8, item_mib=40), Path.cwd(), 1, Trace(), time.perf_counter)
    forget()
    trace = Trace()
    first_step(at(toy_cell(item_mib=320), 1), Path.cwd(), 1, trace, time.perf_counter)
    assert trace.warnings[0].endswith("which leaves less than 10 %; it may run out of memory")
