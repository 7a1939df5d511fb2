"""A workload small enough to misbehave on purpose. Found by `_target_: toys.Toy` when tests/ is on PYTHONPATH."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from yocobench.bench.workloads.base import Workload


class _Deadly(Dataset[int]):
    """Its worker dies as the kernel ends one for want of memory."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


class Toy(Workload):
    """One linear layer. `fault` says what goes wrong at batch number `at`, in that repeat or rank, or in all."""

    def __init__(
        self,
        fault: str = "",
        at: int = 8,
        width: int = 8,
        sleep_s: float = 0.0,
        only_seed: int | None = None,
        only_rank: int | None = None,
        num_workers: int = 0,
        slower_s: float = 0.0,
        item_mib: int = 0,
        limit_mib: int | None = None,
    ) -> None:
        self.fault, self.at, self.width, self.sleep_s, self.only_seed = fault, at, width, sleep_s, only_seed
        self.only_rank = only_rank
        self.num_workers = num_workers
        """Of a loader that has none: so many share `sleep_s`."""
        self.slower_s = slower_s
        """The first batch takes ten times this longer than the eleventh, and those between one part less each."""

        self.item_mib = item_mib
        """What an item of a batch keeps until the step's end."""
        if limit_mib is not None:
            used, hard = psutil.Process().memory_info().vms, resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (used + limit_mib * 2**20, hard))

    def build(self) -> nn.Module:
        return nn.Linear(self.width, self.width)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        if self.fault == "untraceable":
            float(batch[0, 0])
        kept = torch.ones(len(batch) * self.item_mib, 2**18)  # 2**18 floats are a MiB
        return ((model(batch) - batch) ** 2).mean() + 0 * kept[:1].sum()

    def batches(self, data: Path | None, num_items: int | None, batch_size: int, seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        number = 0
        while True:
            here = self.only_rank in (None, int(os.environ.get("RANK", "0")))
            if self.fault == "too large" and batch_size > self.at:
                raise MemoryError(f"no memory for {batch_size} items")
            if number >= self.at and here and self.only_seed in (None, seed):
                if self.fault == "ended":
                    return
                self._fail(number)
            time.sleep(self.sleep_s / (1 + self.num_workers) + self.slower_s * max(0, 10 - number))
            value = float("nan") if self.fault == "nan" and number >= self.at else 1.0
            yield value * torch.randn(batch_size, self.width, generator=generator)
            number += 1

    def _fail(self, number: int) -> None:
        if self.fault == "out of memory":
            raise MemoryError("no more memory")
        if self.fault == "vanished":
            raise FileNotFoundError(f"data/text/train.bin: gone at batch {number}")
        if self.fault == "mistake":
            raise ValueError("too many values to unpack")
        if self.fault == "stop iteration":
            next(iter(()))
        if self.fault == "exit":
            raise SystemExit(0)
        if self.fault == "wordy bug":
            print("x" * 10**6)
            raise ZeroDivisionError("a bug in the workload")
        if self.fault == "bug":
            raise ZeroDivisionError("a bug in the workload")
        if self.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "worker killed":
            next(iter(DataLoader(_Deadly(), num_workers=1)))
        if self.fault == "hang":
            time.sleep(3600)

    def example_batch(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.width)

    def samples_per_item(self) -> int:
        return 1

    def evaluate(self, model: nn.Module, data: Path | None) -> dict[str, float]:
        return {"heldout_loss": 1.5}
