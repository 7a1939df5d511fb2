"""A row of the benchmarks' table, and the workloads and cells that several of them train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yocobench import config
from yocobench.bench import hardware
from yocobench.bench.measurement import Measurement
from yocobench.bench.workloads.base import Workload
from yocobench.launchers.local import LocalLauncher
from yocobench.schema import CellSpec, Protocol, WorkloadConfig

ROOT = Path(__file__).parents[1]
COUNTED_HERE = Protocol(
    repeats=1,
    warmup_steps=1,
    min_steps=3,
    max_steps=3,
    max_measure_s=1,
    target_relative_half_width=0.01,
    timeout_s=600,
    seed=0,
)
"""For a benchmark that takes the steps of a trainer itself: what it says of steps is not read."""


@dataclass(frozen=True)
class Result:
    """One figure beside what it is compared with."""

    what: str
    value: str
    against: str
    ratio: float | None
    """value / against; null: they are not of one kind."""
    target: str
    met: bool | None
    """Null: there is no target, or the machine was too noisy to say."""


class Perceptron(Workload):
    """Four layers of 768 with 128 items a step, on noise: some 15 to 30 ms a step on one core, and no dataset."""

    width = 768

    def build(self) -> nn.Module:
        layers = [part for _ in range(4) for part in (nn.Linear(self.width, self.width), nn.ReLU())]
        return nn.Sequential(*layers)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return ((model(batch) - batch) ** 2).mean()

    def batches(self, data: Path | None, num_items: int | None, batch_size: int, seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn(batch_size, self.width, generator=generator)

    def example_batch(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.width)

    def samples_per_item(self) -> int:
        return 1


def without_data(kind: type[Workload], global_batch_size: int = 128) -> WorkloadConfig:
    """The config of a workload class that is defined here: trained eagerly, on what it makes itself."""
    return WorkloadConfig(
        name=kind.__name__.lower(),
        _target_=f"{kind.__module__}.{kind.__name__}",
        data=None,
        sample_unit="sample",
        global_batch_size=global_batch_size,
        compile=False,
    )


def cell(protocol: Protocol, workload: WorkloadConfig | None = None, **more: Any) -> CellSpec:
    """A cell of this machine, by default of the Perceptron."""
    workload = workload or without_data(Perceptron)
    detected = hardware.detect()
    fields: dict[str, Any] = {
        "workload": workload,
        "subset": "smoke",
        "dataset_path": None,
        "dataset_items": None,
        "dataset_md5": None,
        "instance": "local",
        "kind": detected.kind,
        "precision": "fp32",
        "accelerator_count": detected.accelerator_count,
        "micro_batch_size": workload.global_batch_size,
        "accumulation_steps": 1,
        "protocol": protocol,
        "code_md5": "0" * 32,
        "host_id": detected.host_id,
    }
    return CellSpec(**{**fields, **more})


def share_of_peak(flops_per_s: float, peak_tflops: float | None) -> str:
    """MFU against a datasheet's rate, in per cent; empty where that is not given."""
    return "" if peak_tflops is None else f"{100 * flops_per_s / (peak_tflops * 1e12):.1f} %"


def measure(spec: CellSpec, repeat: int | None = None) -> Measurement:
    """As `dvc repro` would, in fresh processes; `repeat`: this one only, and any but the first evaluates nothing."""
    return LocalLauncher(repeat).run(spec, config.instance("local"), ROOT, lambda progress: None)
