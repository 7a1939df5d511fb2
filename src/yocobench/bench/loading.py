"""The loader alone: how fast batches come when nothing trains, with files from disk (cold) and from memory (warm).

Taken after the timed steps, so that it disturbs none of them. Not covered: networks and storage that keep a cache
of their own (an S3 mount, the host's cache below a virtual disk): dropping this kernel's pages leaves those warm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yocobench.bench.workloads.base import Workload

PROBE_S = 0.5
"""Each of the two rates is taken over about this long, and the cold one over one pass of the data at most."""
WAIT_SHARE = 0.05
"""Steps that wait for batches for more of their time than this are bound by input."""


@dataclass(frozen=True)
class Rates:
    """Samples per second of the loader alone; None: not measured."""

    cold: float | None
    warm: float | None


def loader_rates(
    workload: Workload,
    data: Path,
    num_items: int,
    batch_size: int,
    seed: int,
    clock: Callable[[], float],
    processes: int = 1,
) -> Rates:
    """Rates of new streams over the training split's first `num_items`. The caller closes the workload.

    Each of several training processes has a loader, with its share of the cores: together they give as many times more.
    Cold is None where the kernel keeps the files (they are mapped or on a RAM disk) or does not say that it let go.
    """
    per_batch = processes * batch_size * workload.samples_per_item()

    def rate(most: float) -> float | None:
        return _rate(workload.batches(data, num_items, batch_size, seed), per_batch, most, clock)

    cold = rate(processes * num_items) if _evict(workload.data_files(data, num_items)) else None
    return Rates(cold, rate(float("inf")))


def _rate(batches: Iterator[Any], per_batch: int, most: float, clock: Callable[[], float]) -> float | None:
    """Samples per second after the first batch, with which workers start; None if `most` samples allow no second."""
    next(batches)
    start, count = clock(), 0
    while clock() - start < PROBE_S and (count + 2) * per_batch <= most:
        next(batches)
        count += 1
    return count * per_batch / (clock() - start) if count else None


def _evict(files: list[Path]) -> bool:
    """Drop the files from the page cache; whether the kernel says that the first byte of each is gone."""
    if not files or not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        return False
    gone = [_evict_one(file) for file in files]  # every file, also behind one that stays
    return all(gone)


def _evict_one(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # pages not yet written out are kept otherwise
        for _ in range(2):  # pages just read may lie in a CPU's own list, out of the first call's reach
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True  # reading would have to wait for the disk
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def input_bound(
    step_times_s: list[float], data_wait_s: list[float], samples_per_step: int, rates: Rates, takes_workers: bool = True
) -> str | None:
    """What to say of steps that the loader holds up; null where it does not.

    `takes_workers`: the workload has an argument num_workers.
    """
    share = sum(data_wait_s) / sum(step_times_s)
    if share <= WAIT_SHARE:
        return None
    alone = "" if rates.warm is None else f", which alone gives {rates.warm:.0f} samples per second"
    more = "more workers (workload.args.num_workers)" if takes_workers else "a faster batches()"
    return (
        f"input_bound: steps wait {100 * share:.0f} % of their time for the loader{alone} "
        f"({samples_per_step * len(step_times_s) / sum(step_times_s):.0f} in training); {more} "
        "or a type with more CPU cores for its accelerator would train faster"
    )
