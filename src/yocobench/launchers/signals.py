"""Ctrl-C and SIGTERM as requests: noticed between two looks, never in the middle of a write."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

INTERRUPTED_STATUS = 130
"""What a shell reports after Ctrl-C: DVC then stops, and runs the stage again next time."""


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """The signals that came so far, in a list that grows; the process does not die of them inside the block."""
    caught: list[int] = []
    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, lambda n, _frame: caught.append(n))
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
