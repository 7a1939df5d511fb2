"""A workload built on a device, ready to step: what one repeat measures."""

from __future__ import annotations

import functools
import gc
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yocobench.bench import compiling, parallel
from yocobench.bench.accelerators import open_device
from yocobench.bench.accelerators.base import Accelerator
from yocobench.bench.fit import HEADROOM, is_tight
from yocobench.bench.prefetch import Prefetcher
from yocobench.bench.workloads import build_workload
from yocobench.bench.workloads.base import Workload
from yocobench.schema import CellSpec


class Diverged(Exception):
    """The loss is not a finite number."""


class TooTight(MemoryError):
    """The first step was done, but left less memory than the headroom."""


@dataclass
class Trace:
    """What has been seen so far: survives whatever ends the run."""

    facts: dict[str, Any] = field(default_factory=dict)
    warmup_step_times_s: list[float] = field(default_factory=list)
    step_times_s: list[float] = field(default_factory=list)
    data_wait_s: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    heldout: dict[str, float] = field(default_factory=dict)


@dataclass
class Trainer:
    """A built workload on a device, ready to step."""

    spec: CellSpec
    workload: Workload
    loss: compiling.Loss
    device: Accelerator
    model: nn.Module
    replica: parallel.Replica
    """The loss of the model for a batch, its gradients averaged over the processes."""
    optimizer: torch.optim.Optimizer
    batches: Iterator[Any]
    accumulation_steps: int
    clock: Callable[[], float]
    group: parallel.Group = field(default_factory=parallel.Group)

    def step(self, alone: bool = False) -> tuple[float, float, Tensor]:
        """One optimiser step: (seconds, of which waiting for data, mean loss still on the device).

        With several processes each does its share of the global batch, and the loss is the mean of all. `alone`: this
        process only, without exchanging gradients; its weights are then its own.
        """
        if not alone:
            self.group.lead("step")
            self.group.meet()
        start = self.clock()
        waited = 0.0
        total: Tensor | None = None
        for number in range(1, self.accumulation_steps + 1):
            before = self.clock()
            batch = next(self.batches, None)
            if batch is None:
                raise ValueError(
                    f"batches() of {type(self.workload).__name__} ended; it must go on: docs/your-model.md"
                )
            waited += self.clock() - before
            batch = self.device.to_device(batch)
            with parallel.reduction(self.replica, now=number == self.accumulation_steps and not alone):
                with self.device.autocast(self.spec.precision):
                    loss = self.replica(batch) / self.accumulation_steps
                self.device.backward(loss, self.spec.precision)
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        in_step = self.device.reduces_gradients and not alone
        if in_step:  # of one traced graph: after it, each rank would run a mean only if and when it reads its own
            total = self.group.mean(total)
        self.device.step(self.optimizer, self.model)
        self.device.synchronize()
        seconds = self.clock() - start
        return seconds, waited, total if alone or in_step else self.group.mean(total)

    def close(self) -> None:
        """Take no more batches; end the loader, unless it still makes one: then it ends with this process."""
        if not isinstance(self.batches, Prefetcher) or self.batches.close():
            self.workload.close()


def build(
    spec: CellSpec, root: Path, seed: int, trace: Trace, clock: Callable[[], float], compiled: bool = False
) -> Trainer:
    """Model, loss, optimiser, device and batches for a repeat."""
    torch.manual_seed(seed)
    micro, accumulation = spec.micro_batch_size, spec.accumulation_steps
    trace.facts.update(micro_batch_size=micro, accumulation_steps=accumulation)
    device = open_device(spec.kind)
    group = parallel.group(device.group_backend, spec.protocol.timeout_s)
    assert micro * accumulation * group.size == spec.workload.global_batch_size, (micro, accumulation, group.size)
    group.lead("build", "compiled" if compiled else "eager")
    trace.facts["threads"] = device.prepare(spec.workload.threads)
    workload = build_workload(spec.workload)
    samples_per_item = workload.samples_per_item()
    trace.facts["available_memory_bytes"] = device.available_memory_bytes()
    device.reset_peak_memory()
    trace.facts["runtime_memory_bytes"] = device.peak_memory_bytes()
    model = workload.build() if spec.sharded else workload.build().to(device.device)
    if spec.workload.channels_last and spec.sharded:
        trace.warnings.append("channels_last was left out: a sharded model keeps its weights row by row")
    elif spec.workload.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if spec.sharded:
        model = parallel.shard(model, device.device, group.size)
    optimizer = workload.optimizer(model)
    flops = workload.flops_per_sample()
    loss = compiling.Loss(workload.loss, trace.warnings, clock)
    if compiled and spec.sharded:
        trace.warnings.append("a sharded model is not compiled: its gathering is no part of a graph")
    elif compiled:
        per_pass = None if flops is None else flops * samples_per_item * micro
        # Graphs of several processes would have to hold their exchange of gradients: left out.
        mode = device.compile_mode(per_pass, accumulation) if group.size == 1 else None
        options = None if mode else dict(device.compile_options)
        loss.compile(root, backend=device.compile_backend, mode=mode, options=options)
    replica: parallel.Replica = functools.partial(loss, model)
    if group.size > 1 and not spec.sharded and not device.reduces_gradients:
        replica = parallel.replicate(model, loss, device.device)
    data = root / spec.dataset_path if spec.dataset_path else None
    share = workload.share(data, spec.dataset_items, micro, seed, group.rank, group.size)
    if not isinstance(share, Iterator):
        name, made = type(workload).__name__, type(share).__name__
        raise ValueError(f"batches() of {name} gives {made}; it must give an iterator, by yield: docs/your-model.md")
    batches = device.feed(share)
    trace.facts.update(
        num_parameters=sum(p.numel() for p in model.parameters()),
        flops_per_sample=flops,
        samples_per_step=samples_per_item * spec.workload.global_batch_size,
        processes=group.size,
    )
    return Trainer(spec, workload, loss, device, model, replica, optimizer, batches, accumulation, clock, group)


def first_step(
    spec: CellSpec, root: Path, repeat: int, trace: Trace, clock: Callable[[], float]
) -> tuple[Trainer, Any]:
    """Build and take the first step: eagerly if compiling fails. Raises TooTight; what else it raises ends the run."""
    seed = spec.protocol.seed + repeat
    compiled = compiling.is_possible(spec.workload.compile, spec.kind, trace.warnings)
    while True:
        start = clock()
        trainer = build(spec, root, seed, trace, clock, compiled)
        trace.facts["build_s"] = clock() - start
        if repeat == 0:
            before = evaluate(trainer, root)
            trace.heldout.update({f"initial_{key}": value for key, value in before.items()})
        trainer.device.reset_peak_memory()
        compiled_before_s = trainer.device.compile_s() or 0.0  # the evaluation's graphs, say
        try:
            seconds, _, loss = trainer.step()
            _check_headroom(trainer, trace)
        except Exception as error:
            trainer.close()
            if not trainer.loss.compiled or isinstance(error, MemoryError) or trainer.device.is_out_of_memory(error):
                raise
            # Whatever it was: if it is the model's own error, the eager step raises it again, and more clearly.
            trainer.loss.give_up(compiling.reason_of(error))
            compiled = False
        else:
            break
        del trainer  # before the next is built: two models may not fit
        gc.collect()
    seconds += sum(trainer.step()[0] for _ in range(1, trainer.device.compiling_steps))
    trace.facts.update(first_step_s=seconds, compiled=trainer.loss.compiled)
    compiled_s = trainer.device.compile_s()
    if trainer.loss.compiled:
        trace.facts["compile_s"] = trainer.loss.compile_s
    elif compiled_s is not None:
        trace.facts["compile_s"] = compiled_s - compiled_before_s
    return trainer, loss


def _check_headroom(trainer: Trainer, trace: Trace) -> None:
    """Raises TooTight while fewer items at a time can be tried; a warning where they cannot."""
    peak, before = trainer.device.peak_memory_bytes(), trace.facts["runtime_memory_bytes"]
    available = trace.facts["available_memory_bytes"]
    if peak is None or before is None or available is None:
        return  # the device does not say: running out is all that can be noticed
    used = peak - before
    if is_tight(used, available):
        said = f"the first step took {used:,} of {available:,} bytes, which leaves less than {100 * HEADROOM:.0f} %"
        if trainer.spec.micro_batch_size > 1:
            raise TooTight(said)
        trace.warnings.append(f"{said}; it may run out of memory")


def evaluate(trainer: Trainer, root: Path) -> dict[str, float]:
    """Held-out quality, outside every clock. The workload sees a model in evaluation mode."""
    data = root / trainer.spec.dataset_path if trainer.spec.dataset_path else None
    if trainer.spec.sharded:  # nobody has the whole model
        trainer.group.lead("evaluate")
    trainer.model.eval()
    with torch.no_grad(), trainer.device.autocast(trainer.spec.precision):
        found = trainer.workload.evaluate(trainer.model, data)
    trainer.model.train()
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}


LEG_STEPS = 5
"""Timed steps of one process alone, after one that is not timed."""


def scaling_efficiency(trainer: Trainer, step_times_s: Sequence[float]) -> float | None:
    """The group's throughput over its size times that of one process, which steps alone while the others wait.

    The one process does its own share of the global batch with its own share of the CPU threads, so the difference is
    what exchanging gradients and waiting for each other cost. Null: one process, a sharded model (no process has it
    whole), a device whose step always exchanges gradients. Leaves rank 0 with weights of its own: nothing may follow.
    """
    if trainer.group.size == 1 or trainer.spec.sharded or trainer.device.reduces_gradients:
        return None
    trainer.step(alone=True)
    alone_s = [trainer.step(alone=True)[0] for _ in range(LEG_STEPS)]
    return float(statistics.median(alone_s) / statistics.median(step_times_s))
