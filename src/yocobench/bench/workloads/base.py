"""The seam for models: one class per workload, found by `_target_`, in this package or in the user's own.

The class is built from the `args` of conf/workload/<name>.yaml. All of it runs inside the measured process.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Batch = Any
"""Whatever the workload's loader yields: a tensor, or a tuple or dict of tensors. One micro-batch."""


class Workload(ABC):
    """A model, its data and its loss. Sizes: `B` items per micro-batch."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.1

    @abstractmethod
    def build(self) -> nn.Module:
        """The model, on the default device (which may be `meta`), in fp32, with its weights initialised."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss of one micro-batch: a scalar to differentiate. Runs inside the precision's autocast."""

    @abstractmethod
    def batches(self, data: Path | None, num_items: int | None, batch_size: int, seed: int) -> Iterator[Batch]:
        """Training micro-batches of `batch_size` items, for ever, on the CPU, in an order fixed by `seed`.

        `data` is the dataset's folder (data/text or data/images; null for a workload that brings its own),
        `num_items` how much of the training split the subset takes: tokens of text, or images.
        Raises ValueError when the data is too small or damaged, naming file and offset.
        """

    def share(
        self, data: Path | None, num_items: int | None, batch_size: int, seed: int, rank: int, size: int
    ) -> Iterator[Batch]:
        """Of `batches`, numbers rank, rank + size, ...: what one of `size` processes trains on.

        Here every process loads all of them; override it where loading is dear.
        """
        batches = self.batches(data, num_items, batch_size, seed)
        return batches if size == 1 else itertools.islice(batches, rank, None, size)

    def data_files(self, data: Path, num_items: int) -> list[Path]:
        """Files that the first `num_items` are read from, to measure loading from disk. Empty: not measured."""
        return []

    @abstractmethod
    def example_batch(self, batch_size: int) -> Batch:
        """A batch of the right shapes and dtypes on the default device, for tracing; its values do not matter."""

    @abstractmethod
    def samples_per_item(self) -> int:
        """Samples in one item of a batch: the sequence length for tokens, 1 for images."""

    def flops_per_sample(self) -> float | None:
        """Training FLOPs (forward and backward, useful work only) per sample; null: no formula."""
        return None

    def evaluate(self, model: nn.Module, data: Path | None) -> dict[str, float]:
        """Quality on the held-out split, e.g. {"heldout_loss": 5.2}. Not timed. Empty: nothing to evaluate."""
        return {}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW, with decay on matrices only; fused where the device has it.

        On a Neuron device it counts its steps there: a count on the host would be a new number in each step's graph.
        """
        decay = [p for p in model.parameters() if p.ndim >= 2]
        plain = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": decay, "weight_decay": self.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        types = {p.device.type for p in model.parameters()}
        fused, counts_there = types <= {"cpu", "cuda"}, types <= {"xla", "neuron"}
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.95), fused=fused, capturable=counts_there)

    def close(self) -> None:  # noqa: B027 (most workloads have nothing to stop)
        """Stop loader workers, if any. Called once, after the last batch."""
