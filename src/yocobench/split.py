"""How a cell's global batch is shared: over processes, and over forward passes that fit in memory."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from yocobench.bench.measurement import Detected
from yocobench.estimate import memory
from yocobench.schema import AcceleratorKind, Instance, WorkloadConfig
from yocobench.selection.eligibility import Exclusion, does_not_fit


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
        at_hand = shape.neuron_cores if _kind(instance, detected) == "neuron" else shape.accelerator_count
    else:
        at_hand = detected.neuron_cores or detected.accelerator_count
    return next(n for n in range(max(1, at_hand or 0), 0, -1) if batch % n == 0)


def split(
    workload: WorkloadConfig, instance: Instance, need: memory.MemoryNeed | None, detected: Detected
) -> tuple[Split, Exclusion | None]:
    """The split with the largest micro-batch that fits, and the exclusion that says by how much the model is too large.

    `need` is null where the workload states its micro-batch. Of one too large for a device, the weights are spread
    over the processes where there are several (not on Neuron, whose stack for Trn1 has no such way). Raises ValueError
    for numbers that do not divide each other.
    """
    count = processes(workload, instance, detected)
    share = workload.global_batch_size // count
    micro = workload.micro_batch_size
    if micro is not None:
        if share % micro:
            raise ValueError(
                f"conf/workload/{workload.name}.yaml: micro_batch_size {micro} does not divide the {share} items that "
                f"each of {count} process(es) takes of global_batch_size {workload.global_batch_size}"
            )
        return Split(count, micro, share // micro), None
    assert need is not None
    kind = _kind(instance, detected)
    available = memory.usable_bytes(instance, detected) or math.inf
    if kind == "cpu":
        available /= count
    micro = memory.largest_fit(need, share, available)
    if micro is not None:
        return Split(count, micro, share // micro), None
    if count > 1 and kind != "neuron":
        need = dataclasses.replace(need, fixed_bytes=need.fixed_bytes / count)
        micro = memory.largest_fit(need, share, available)
        if micro is not None:
            return Split(count, micro, share // micro, sharded=True), None
    smallest = memory.splits(share)[-1]
    needed = (need.peak_bytes(smallest) + memory.RUNTIME_BYTES) / (1 - memory.HEADROOM)  # as largest_fit counts
    stated = instance.hardware or instance.training
    exclusion = does_not_fit(needed, available, smallest, stated.as_of)
    return Split(count, smallest, share // smallest), exclusion


def smallest(workload: WorkloadConfig) -> Split:
    """For a cell that will not run."""
    return Split(1, 1, workload.global_batch_size)


def _kind(instance: Instance, detected: Detected) -> AcceleratorKind:
    return detected.kind if instance.detect or instance.chip is None else instance.chip.kind
