"""A split of tokenised text: a memory map behind a small header, so that a run reads only what it trains on.

The file, all little endian:

    offset  size  what
    0       8     magic, b"YOCOTOKS"
    8       4     version of this layout, 1
    12      4     bytes per token, 2 (uint16)
    16      8     vocabulary size: every token is below it
    24      8     number of tokens
    32      32    zeros
    64      2 n   the tokens
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = b"YOCOTOKS"
VERSION = 1
TOKEN_DTYPE = np.dtype("<u2")
_HEADER = struct.Struct("<8sIIQQ32x")
HEADER_BYTES = _HEADER.size


def header(vocab_size: int, num_tokens: int) -> bytes:
    """The first 64 bytes of a token file."""
    return _HEADER.pack(MAGIC, VERSION, TOKEN_DTYPE.itemsize, vocab_size, num_tokens)


@dataclass(frozen=True)
class TokenFile:
    """An opened split. `tokens` is read from disk as it is indexed."""

    tokens: np.memmap[tuple[int], np.dtype[np.uint16]]
    vocab_size: int

    @classmethod
    def open(cls, path: Path) -> TokenFile:
        """Raises ValueError, naming file and byte offset: missing, cut short, empty, or of another format."""
        if not path.is_file():
            raise ValueError(f"{path} does not exist; make it with: dvc repro dataset@text")
        size = path.stat().st_size
        if size < HEADER_BYTES:
            raise ValueError(f"{path} ends at byte {size}, inside its {HEADER_BYTES}-byte header")
        with path.open("rb") as file:
            magic, version, token_bytes, vocab_size, count = _HEADER.unpack(file.read(HEADER_BYTES))
        if magic != MAGIC:
            raise ValueError(f"{path} is not a token file: byte 0 starts {magic!r}, not {MAGIC!r}")
        if version != VERSION:
            raise ValueError(f"{path} has layout version {version} at byte 8; this code reads version {VERSION}")
        if token_bytes != TOKEN_DTYPE.itemsize:
            raise ValueError(f"{path} has {token_bytes} bytes per token at byte 12; this code reads 2")
        expected = HEADER_BYTES + count * TOKEN_DTYPE.itemsize
        if size != expected:
            what = "is cut short" if size < expected else "has bytes after its last token"
            raise ValueError(f"{path} {what}: it ends at byte {size}, its {count} tokens end at byte {expected}")
        if count == 0:
            raise ValueError(f"{path} holds no tokens")
        tokens = np.memmap(path, dtype=TOKEN_DTYPE, mode="r", offset=HEADER_BYTES, shape=(count,))
        return cls(tokens, vocab_size)


def windows(
    tokens: np.ndarray[tuple[int], np.dtype[np.uint16]], sequence_length: int, batch_size: int, seed: int
) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Batches of shape (batch_size, sequence_length + 1), for ever: inputs and, shifted by one, targets.

    Each epoch cuts the tokens at a new random phase and visits the pieces in a new random order, both fixed by
    `seed`; a batch may span two epochs. Raises ValueError when there are too few tokens for one window.
    """
    needed = sequence_length + 1
    if len(tokens) < needed:
        raise ValueError(
            f"{len(tokens)} tokens are too few for a sequence of {sequence_length}: {needed} are needed; "
            "take a larger subset or a shorter sequence"
        )
    return _batches(tokens, sequence_length, batch_size, np.random.default_rng(seed))


def _batches(
    tokens: np.ndarray[tuple[int], np.dtype[np.uint16]],
    sequence_length: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    starts = _starts(len(tokens) - sequence_length, sequence_length, rng)
    while True:
        batch = np.empty((batch_size, sequence_length + 1), dtype=np.int64)
        for row, start in enumerate(itertools.islice(starts, batch_size)):
            batch[row] = tokens[start : start + sequence_length + 1]
        yield batch


def _starts(num_starts: int, stride: int, rng: np.random.Generator) -> Iterator[int]:
    """First tokens of windows: of the `num_starts` possible ones, every `stride`-th, reshuffled every epoch."""
    while True:
        phase = int(rng.integers(min(stride, num_starts)))
        yield from rng.permutation(np.arange(phase, num_starts, stride)).tolist()
