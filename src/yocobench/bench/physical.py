"""The physical cores that this process may use: what threads and loader workers are counted by.

psutil counts the whole host's, but a container or a batch job (Slurm) is often given a part of it, by an affinity mask
or by a quota of CPU time. No torch.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

SYSFS = Path("/sys/devices/system/cpu")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""As cgroups v2 tell it inside a container: `<microseconds or max> <period>`."""


_before: set[int] = set()
"""The CPUs of this process before `spread`."""


def siblings() -> list[tuple[int, ...]]:
    """The logical CPUs of each physical core that this process may run on; empty where the system does not say.

    Before `spread`, if it was called: the box's processes share the cores by their own count.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    groups: dict[str, list[int]] = {}
    for cpu in sorted(_before or os.sched_getaffinity(0)):
        try:
            core = (SYSFS / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
        except OSError:
            return []
        groups.setdefault(core, []).append(cpu)
    return [tuple(group) for group in groups.values()]


def quota() -> float:
    """CPUs' worth of time that the container is given; infinite without a limit."""
    try:
        limit, period = QUOTA.read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # no such controller here, or "max"
        return math.inf


def usable() -> int:
    """Physical cores, at least one; by the quota where that is less."""
    cores = len(siblings()) or psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, math.floor(min(quota(), cores)))


def loading_workers(cores: int, beside_accelerator: bool) -> int:
    """Processes that load images unless told: one a core beside an accelerator, one for four cores that train."""
    return cores if beside_accelerator else max(1, cores // 4)


def spread(threads: int, rank: int = 0, size: int = 1) -> None:
    """Keep this process to one logical CPU of each physical core: siblings share the vector units that training fills.

    Of several training processes each takes its own part of the cores. Nothing is changed where no core has siblings,
    where more threads than cores are wanted, or where the system does not say.
    """
    groups = siblings()
    share = groups[len(groups) * rank // size : len(groups) * (rank + 1) // size]
    if threads > len(share) or all(len(group) == 1 for group in groups):
        return
    _before.update(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {group[0] for group in share})


def release() -> None:
    """In a loader's worker: any CPU that the process had before `spread`, the training threads' siblings among them."""
    if _before:
        os.sched_setaffinity(0, _before)
