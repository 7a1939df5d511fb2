"""The bytes that a traced step holds at once: run operation by operation, and compiled.

A compiler keeps what only elementwise operations read in registers, or computes it again in backward; what a product or
a reduction reads it writes out and, while autograd keeps it, holds. So torch's partitioner chooses too
(torch/_functorch/partitioners.py: what backward must write out again is saved instead); it may save a little more.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class _Storage:
    """Memory made during the step."""

    reference: Any
    """Weak: its end takes the bytes away."""
    num_bytes: float
    low: bool
    """Is it 16-bit?"""
    written: bool
    """Does a compiled step write it out, too?"""


class Alive:
    """Storages made during a step, with autocast's effective sizes, and the most bytes alive at once."""

    def __init__(self) -> None:
        self.eager, self.fused = _Tally(), _Tally()
        self._storages: dict[int, _Storage] = {}

    def __contains__(self, tensor: Tensor) -> bool:
        return key_of(tensor) in self._storages

    def is_low(self, tensor: Tensor) -> bool:
        """Was it made in 16 bits during the step?"""
        known = self._storages.get(key_of(tensor))
        return known is not None and known.low

    def add(self, tensor: Tensor, low: bool, written: bool) -> None:
        """A result: in 16 bits where it is `low` and fp32 by its dtype; `written` by a compiled step too."""
        key = key_of(tensor)
        if key in self._storages:
            return
        storage = tensor.untyped_storage()
        low = low and tensor.dtype == torch.float32
        size = storage.nbytes() * (0.5 if low else 1.0)
        self._storages[key] = _Storage(weakref.ref(storage, lambda _: self._release(key)), size, low, written)
        self.eager.grow(size)
        if written:
            self.fused.grow(size)

    def write(self, operands: list[Tensor]) -> None:
        """What a product or a reduction reads has to be in memory, in a compiled step too."""
        for tensor in operands:
            known = self._storages.get(key_of(tensor))
            if known is not None and not known.written:
                known.written = True
                self.fused.grow(known.num_bytes)

    def hold(self, num_bytes: float) -> None:
        """Memory that stays until the step ends."""
        self.eager.grow(num_bytes)
        self.fused.grow(num_bytes)

    def _release(self, key: int) -> None:
        known = self._storages.pop(key, None)
        if known is not None:
            self.eager.grow(-known.num_bytes)
            if known.written:
                self.fused.grow(-known.num_bytes)


class _Tally:
    """Bytes alive, and the most that ever were."""

    def __init__(self) -> None:
        self.alive_bytes = self.peak_bytes = 0.0

    def grow(self, num_bytes: float) -> None:
        self.alive_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.alive_bytes)


def is_condensed(inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    """Is the result smaller than what it was made from: statistics, sums, looked-up rows?"""
    return sum(t.numel() for t in outputs) < max((t.numel() for t in inputs), default=0)


def key_of(tensor: Tensor) -> int:
    """Names a tensor's storage while it lives."""
    return int(tensor.untyped_storage()._cdata)
