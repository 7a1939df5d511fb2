"""What the language models share: token data, next-token loss, warm-up, the held-out measure.

An item is a sequence of T tokens (a batch holds T + 1 of each, inputs and targets overlap), a sample is a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from yocobench.bench.data.manifest import TextManifest, read_manifest
from yocobench.bench.data.text import TokenFile, windows
from yocobench.bench.workloads.base import Workload

HELDOUT_TOKENS = 16_384
"""Bound of an evaluation: about 0.03 nat of standard error, a few seconds for the tiny size on two cores."""
EVALUATION_BATCH = 4


class Shape(Protocol):
    """What a workload asks of its model's shape."""

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""

    def num_matmul_parameters(self) -> int:
        """Weights that take part in a matrix product."""

    def num_parameters(self) -> int:
        """All weights."""

    def train_flops_per_token(self, sequence_length: int) -> float:
        """Useful FLOPs, forward and backward."""


class LanguageWorkload(Workload):
    """A causal language model whose forward(ids, targets) is the loss; a constant learning rate after a warm-up."""

    def __init__(
        self, shape: Shape, sequence_length: int, learning_rate: float, weight_decay: float, warmup_steps: int
    ) -> None:
        self.shape = shape
        self.sequence_length = sequence_length
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        """Optimiser steps over which the learning rate rises linearly. Training starts with them, timed or not."""

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Mean cross-entropy in nats per token."""
        loss: Tensor = model(batch[:, :-1], batch[:, 1:])
        return loss

    def batches(self, data: Path | None, num_items: int | None, batch_size: int, seed: int) -> Iterator[Tensor]:
        """int64 (batch_size, T + 1) windows of the first `num_items` tokens of train.bin.

        Raises ValueError: no data, too few tokens, or more token ids than the model has rows.
        """
        if data is None:
            raise ValueError("a language model needs text: set data: text in conf/workload/<name>.yaml")
        tokens = self._open(data / "train.bin").tokens[:num_items]
        return map(torch.from_numpy, windows(tokens, self.sequence_length, batch_size, seed))

    def data_files(self, data: Path, num_items: int) -> list[Path]:
        """The token file."""
        return [data / "train.bin"]

    def example_batch(self, batch_size: int) -> Tensor:
        """Zeros of a batch's shape."""
        return torch.zeros(batch_size, self.sequence_length + 1, dtype=torch.int64)

    def samples_per_item(self) -> int:
        """Tokens in a sequence."""
        return self.sequence_length

    def flops_per_sample(self) -> float:
        """The shape's closed formula at this sequence length."""
        return self.shape.train_flops_per_token(self.sequence_length)

    def evaluate(self, model: nn.Module, data: Path | None) -> dict[str, float]:
        """heldout_loss in nats per token over windows spread evenly over heldout.bin, and what it is worth.

        unigram_entropy is the loss of knowing only how often each token occurs in training (from the manifest).
        """
        if data is None:
            return {}
        tokens = self._open(data / "heldout.bin").tokens
        rows = torch.from_numpy(_spread(tokens, self.sequence_length))
        result = {"heldout_loss": _mean_loss(model, rows), "heldout_tokens": float(rows[:, 1:].numel())}
        if (data / "manifest.json").is_file():
            manifest = read_manifest(data)
            assert isinstance(manifest, TextManifest), data
            result["unigram_entropy"] = manifest.heldout_unigram_nats
        return result

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The base's AdamW. The warm-up is a hook of the optimiser's own step: no caller has to know of it."""
        optimizer = super().optimizer(model)
        steps = 0

        def warm_up(stepped: torch.optim.Optimizer, *_: Any) -> None:
            nonlocal steps
            steps += 1
            if steps <= self.warmup_steps:
                for group in stepped.param_groups:
                    group["lr"] = self.learning_rate * steps / self.warmup_steps

        optimizer.register_step_pre_hook(warm_up)
        return optimizer

    def _open(self, path: Path) -> TokenFile:
        file = TokenFile.open(path)
        if file.vocab_size > self.shape.vocab_size:
            raise ValueError(
                f"{path} has a vocabulary of {file.vocab_size} tokens, the model's is {self.shape.vocab_size}: "
                f"set args.vocab_size to {file.vocab_size} or more in conf/workload/<name>.yaml, "
                f"or data.text.vocab_size to {self.shape.vocab_size} or less in params.yaml"
            )
        return file


def known(argument: str, value: str, options: Any) -> None:
    """Raise ValueError unless `value` is one of the options."""
    if value not in options:
        raise ValueError(f"workload.args.{argument} {value!r} is not known. Known: {', '.join(options)}")


def positive(kind: type[int] | type[float], **arguments: Any) -> None:
    """Raise ValueError for the first argument that is no number above 0, or no whole one (`kind` int)."""
    for argument, value in arguments.items():
        if type(value) not in (int, kind) or not value > 0:
            whole = "whole " if kind is int else ""
            raise ValueError(f"workload.args.{argument} must be a {whole}number above 0 (got {value!r})")


def _spread(tokens: np.ndarray[Any, np.dtype[np.uint16]], sequence_length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(n, T + 1) windows at even distances, HELDOUT_TOKENS at most; shorter ones where the split is shorter."""
    if len(tokens) < 2:
        raise ValueError(f"the held-out split has {len(tokens)} token(s), nothing to predict; give more text")
    length = min(sequence_length, len(tokens) - 1)
    num_windows = max(1, min(HELDOUT_TOKENS, len(tokens) - 1) // length)
    starts = np.linspace(0, len(tokens) - 1 - length, num_windows).astype(np.int64)
    rows: np.ndarray[Any, np.dtype[np.int64]] = tokens[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    return rows


@torch.no_grad()
def _mean_loss(model: nn.Module, rows: Tensor) -> float:
    device = next(model.parameters()).device
    total = 0.0
    for part in torch.split(rows, EVALUATION_BATCH):
        on_device = part.to(device)
        total += float(model(on_device[:, :-1], on_device[:, 1:])) * len(part)
    return total / len(rows)
