"""Ctrl-C and SIGTERM as requests: noticed between two looks, never in the middle of a write.

A launcher takes them in `stop_requests`. Those that come after it, or too late for it, wait until the receipt is on
disk: whoever writes that opens `held` and calls `release`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from yocobench.telling import say

INTERRUPTED_STATUS = 130
"""What a shell reports after Ctrl-C: DVC then stops, and runs the stage again next time."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _Held:
    """Signals that wait, and the handlers that they wait for."""

    before: dict[signal.Signals, Any]
    waiting: list[int] = field(default_factory=list)

    current: ClassVar[_Held | None] = None

    def wait(self, number: int, _frame: object) -> None:
        """The handler meanwhile."""
        self.waiting.append(number)


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """The signals that came so far, in a list that grows; the process does not die of them inside the block."""
    caught: list[int] = []
    previous = {}
    for number in SIGNALS:
        previous[number] = signal.signal(number, lambda n, _frame: caught.append(n))
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            was = _Held.current
            signal.signal(number, was.wait if was is not None and handler == was.before[number] else handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """From the end of a `stop_requests` inside, signals wait for `release`, or the end of this block; then they act.

    Before that they act at once: a question, or the wait for a box, can be ended.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    _Held.current = _Held({number: signal.getsignal(number) for number in SIGNALS})
    try:
        yield
    except Exception as error:
        if _Held.current is not None and _Held.current.waiting:  # it ends the command: what failed is said before
            say(f"error: {error}")
        raise
    finally:
        release()


def release() -> None:
    """What was measured is on disk: a signal that waited acts now, and one to come at once."""
    was = _Held.current
    if was is None:
        return
    try:
        for number, handler in was.before.items():
            signal.signal(number, handler)
    finally:
        _Held.current = None
    if was.waiting:
        signal.raise_signal(was.waiting[0])


def came_too_late(number: int) -> None:
    """To end a measurement: it waits where signals are held, lest a command that it ends go on to the next."""
    if _Held.current is not None:
        _Held.current.waiting.append(number)
