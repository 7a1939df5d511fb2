"""Physical cores that a process may use: of a host drawn as sysfs files, for an affinity mask and a quota."""

import math
import os
from pathlib import Path

import pytest

from yocobench.bench import physical


def host(folder: Path, siblings: list[str]) -> Path:
    """The topology files of a host: the siblings of each logical CPU, as the kernel writes them."""
    for cpu, text in enumerate(siblings):
        place = folder / f"cpu{cpu}/topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(text + "\n")
    return folder


@pytest.fixture
def eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Four cores with two threads each, CPU 0 beside 4 and so on as on EC2; the set is the process's own mask."""
    sysfs = host(tmp_path / "cpu", [f"{n % 4},{n % 4 + 4}" for n in range(8)])
    mask = set(range(8))

    def keep(_pid: int, cpus: set[int]) -> None:
        mask.clear()
        mask.update(cpus)

    monkeypatch.setattr(physical, "SYSFS", sysfs)
    monkeypatch.setattr(physical, "_before", set())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(mask))
    monkeypatch.setattr(os, "sched_setaffinity", keep)
    return mask


def test_a_process_counts_the_cores_of_its_mask_and_not_the_hosts(eight: set[int]) -> None:
    assert physical.siblings() == [(0, 4), (1, 5), (2, 6), (3, 7)]
    assert physical.usable() == 4
    eight -= {2, 3, 6, 7}  # a batch job with two cores of the four
    assert physical.usable() == 2
    eight -= {4, 5}  # and one logical CPU of each
    assert physical.usable() == 2


@pytest.mark.parametrize(("text", "cpus"), [("150000 100000", 1.5), ("max 100000", float("inf")), ("", float("inf"))])
def test_a_quota_of_cpu_time_is_told_in_cpus(
    tmp_path: Path, text: str, cpus: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(physical, "QUOTA", tmp_path / "cpu.max")
    assert physical.quota() == math.inf  # no such file
    (tmp_path / "cpu.max").write_text(text)
    assert physical.quota() == cpus


@pytest.mark.parametrize(("cpus", "cores"), [(2.5, 2), (0.5, 1), (64.0, 4)])
def test_a_quota_below_the_cores_counts(
    eight: set[int], cpus: float, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(physical, "QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(f"{int(cpus * 100_000)} 100000")
    assert physical.usable() == cores


def test_training_keeps_to_one_cpu_of_each_core_and_loader_workers_have_them_all(eight: set[int]) -> None:
    physical.spread(4)
    assert eight == {0, 1, 2, 3}
    assert physical.usable() == 4  # still
    physical.release()
    assert eight == set(range(8))


def test_training_processes_divide_the_cores(eight: set[int]) -> None:
    physical.spread(2, rank=1, size=2)
    assert eight == {2, 3}


# The model did not compile, say, so the trainer is built again: half of the cores, and not half of the half.
def test_a_process_that_kept_to_its_part_still_counts_the_whole(eight: set[int]) -> None:
    for _ in range(2):
        assert physical.usable() // 2 == 2
        physical.spread(2, rank=1, size=2)
        assert eight == {2, 3}
    physical.release()
    assert eight == set(range(8))


def test_more_threads_than_cores_are_left_to_the_kernel(eight: set[int]) -> None:
    physical.spread(8)
    assert eight == set(range(8))


def test_cores_without_siblings_are_left_to_the_kernel(
    eight: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = host(tmp_path / "plain", [str(n) for n in range(8)])
    monkeypatch.setattr(physical, "SYSFS", plain)
    physical.spread(2)
    assert eight == set(range(8))
    physical.release()  # nothing was narrowed, so nothing is set
    assert eight == set(range(8))


def test_without_a_topology_the_systems_own_count_stands(
    eight: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(physical, "SYSFS", tmp_path / "none")
    monkeypatch.setattr(physical.psutil, "cpu_count", lambda logical: 6)
    assert physical.siblings() == []
    assert physical.usable() == 6
