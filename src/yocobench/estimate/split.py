"""How a cell's global batch is shared: over processes, and over forward passes that fit in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from yocobench.bench.measurement import Detected
from yocobench.estimate import memory
from yocobench.schema import Instance, WorkloadConfig


@dataclass(frozen=True)
class Split:
    """global batch = processes x accumulation_steps x micro_batch_size."""

    processes: int
    micro_batch_size: int
    accumulation_steps: int
    sharded: bool = False


def processes(workload: WorkloadConfig, instance: Instance, detected: Detected) -> int:
    """One for each accelerator, or NeuronCore; the most that share the global batch evenly; one on a CPU.

    Raises ValueError when `workload.processes` is given and does not divide the global batch.
    """
    batch, asked = workload.global_batch_size, workload.processes
    if asked is not None:
        if batch % asked:
            raise ValueError(
                f"conf/workload/{workload.name}.yaml: processes {asked} does not divide global_batch_size {batch}"
            )
        return asked
    shape = instance.hardware
    if shape is not None:
        at_hand = shape.neuron_cores if memory.kind_of(instance, detected) == "neuron" else shape.accelerator_count
    else:
        at_hand = detected.neuron_cores or detected.accelerator_count
    return next(n for n in range(max(1, at_hand or 0), 0, -1) if batch % n == 0)


class TooLarge(Exception):
    """Not even one item at a time fits: the split, the bytes that it needs and those that a device has."""

    def __init__(self, split: Split, needed_bytes: float, available_bytes: float) -> None:
        super().__init__(f"needs {needed_bytes / 2**30:.1f} GiB, has {available_bytes / 2**30:.1f}")
        self.split, self.needed_bytes, self.available_bytes = split, needed_bytes, available_bytes


def split(workload: WorkloadConfig, instance: Instance, need: memory.MemoryNeed | None, detected: Detected) -> Split:
    """The split with the largest micro-batch that fits, or with the stated one. Raises TooLarge when not even 1 fits.

    A stated one may be tried where the need says that it is too much: the run finds what fits (bench/fit.py). `need`
    is null where the model cannot be traced and the micro-batch is stated. Of a model too large for a device, the
    weights are spread over the processes where there are several (not on Neuron, whose stack for Trn1 has no such way).
    Raises ValueError for numbers that do not divide each other.
    """
    count = processes(workload, instance, detected)
    share = workload.global_batch_size // count
    stated = None if workload.micro_batch_size is None else min(workload.micro_batch_size, share)
    if stated is not None and share % stated:
        shared = f" shared by {count} processes" if count > 1 else ""
        raise ValueError(
            f"conf/workload/{workload.name}.yaml: micro_batch_size {stated} does not divide "
            f"global_batch_size {workload.global_batch_size}{shared}"
        )
    if need is None:
        assert stated is not None
        return Split(count, stated, share // stated)
    kind = memory.kind_of(instance, detected)
    available = memory.usable_bytes(instance, detected) or math.inf
    if kind == "cpu":
        available /= count
    needs = [need]
    if count > 1 and kind != "neuron":
        needs.append(need.sharded(count))
    for one in needs:
        fitting = memory.largest_fit(one, share, available, kind)
        if fitting is not None:
            micro = stated or fitting
            return Split(count, micro, share // micro, sharded=one is not need)
    raise TooLarge(Split(count, 1, share), memory.device_bytes(needs[-1].peak_bytes(1), kind), available)


def smallest(workload: WorkloadConfig) -> Split:
    """The split that is stated of a cell that will not run."""
    return Split(1, 1, workload.global_batch_size)
