"""A workload built on a device, ready to step: what one repeat measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yocobench.bench import compiling
from yocobench.bench.accelerators import open_device
from yocobench.bench.accelerators.base import Accelerator
from yocobench.bench.prefetch import Prefetcher
from yocobench.bench.workloads import build_workload
from yocobench.bench.workloads.base import Workload
from yocobench.schema import CellSpec


class Diverged(Exception):
    """The loss is not a finite number."""


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
    optimizer: torch.optim.Optimizer
    batches: Iterator[Any]
    micro_batch_size: int
    accumulation_steps: int
    clock: Callable[[], float]

    def step(self) -> tuple[float, float, Tensor]:
        """One optimiser step: (seconds, of which waiting for data, mean loss still on the device)."""
        start = self.clock()
        waited = 0.0
        total: Tensor | None = None
        for _ in range(self.accumulation_steps):
            before = self.clock()
            batch = next(self.batches)
            waited += self.clock() - before
            batch = self.device.to_device(batch)
            with self.device.autocast(self.spec.precision):
                loss = self.loss(self.model, batch) / self.accumulation_steps
            self.device.backward(loss, self.spec.precision)
            total = loss.detach() if total is None else total + loss.detach()
        self.device.step(self.optimizer, self.model)
        self.device.synchronize()
        assert total is not None
        return self.clock() - start, waited, total

    def close(self) -> None:
        """Take no more batches; end the loader."""
        if isinstance(self.batches, Prefetcher):
            self.batches.close()
        self.workload.close()


def build(
    spec: CellSpec, root: Path, seed: int, micro: int, trace: Trace, clock: Callable[[], float], compiled: bool = False
) -> Trainer:
    """Model, loss, optimiser, device and batches for a repeat."""
    torch.manual_seed(seed)
    device = open_device(spec.kind)
    trace.facts["threads"] = device.prepare(spec.workload.threads)
    workload = build_workload(spec.workload)
    model = workload.build().to(device.device)
    if spec.workload.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = workload.optimizer(model)
    accumulation = spec.workload.global_batch_size // micro
    flops = workload.flops_per_sample()
    loss = compiling.Loss(workload.loss, trace.warnings, clock)
    if compiled:
        per_pass = None if flops is None else flops * workload.samples_per_item() * micro
        loss.compile(root, mode=device.compile_mode(per_pass, accumulation))
    data = root / spec.dataset_path if spec.dataset_path else None
    batches = device.feed(workload.batches(data, spec.dataset_items, micro, seed))
    trace.facts.update(
        num_parameters=sum(p.numel() for p in model.parameters()),
        flops_per_sample=flops,
        samples_per_step=workload.samples_per_item() * spec.workload.global_batch_size,
        micro_batch_size=micro,
        accumulation_steps=accumulation,
    )
    return Trainer(spec, workload, loss, device, model, optimizer, batches, micro, accumulation, clock)


def first_step(
    spec: CellSpec, root: Path, repeat: int, trace: Trace, clock: Callable[[], float]
) -> tuple[Trainer, Any]:
    """Build and take the first step: eagerly if compiling fails, with half the micro-batch if memory runs out."""
    seed = spec.protocol.seed + repeat
    micro = spec.micro_batch_size
    compiled = compiling.is_possible(spec.workload.compile, spec.kind, trace.warnings)
    while True:
        start = clock()
        trainer = build(spec, root, seed, micro, trace, clock, compiled)
        trace.facts["build_s"] = clock() - start
        if repeat == 0:
            before = evaluate(trainer, root)
            trace.heldout.update({f"initial_{key}": value for key, value in before.items()})
        trainer.device.reset_peak_memory()
        try:
            seconds, _, loss = trainer.step()
        except Exception as error:
            if trainer.device.is_out_of_memory(error) and micro > 1:
                micro //= 2
                trace.warnings.append(
                    f"micro-batch {micro * 2} ran out of memory; the global batch is kept with {micro}"
                )
            elif trainer.loss.compiled and not trainer.device.is_out_of_memory(error):
                # Whatever it was: if it is the model's own error, the eager step raises it again, and more clearly.
                trainer.loss.give_up(compiling.reason_of(error))
                compiled = False
            else:
                raise
            trainer.close()
            continue
        trace.facts.update(first_step_s=seconds, compiled=trainer.loss.compiled)
        if trainer.loss.compiled:
            trace.facts["compile_s"] = trainer.loss.compile_s
        return trainer, loss


def evaluate(trainer: Trainer, root: Path) -> dict[str, float]:
    """Held-out quality, outside every clock. The workload sees a model in evaluation mode."""
    data = root / trainer.spec.dataset_path if trainer.spec.dataset_path else None
    trainer.model.eval()
    with torch.no_grad(), trainer.device.autocast(trainer.spec.precision):
        found = trainer.workload.evaluate(trainer.model, data)
    trainer.model.train()
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}
