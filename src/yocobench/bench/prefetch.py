"""Batches made ready on a thread of their own while the device computes."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

POLL_S = 0.1
"""How often a thread that waits for room looks whether it should end."""
CLOSE_S = 5.0


class Prefetcher(Iterator[Any]):
    """`ready(batch)` for each batch, up to `depth` ahead, in order. What the batches raise is raised in its turn."""

    def __init__(self, batches: Iterator[Any], ready: Callable[[Any], Any], depth: int = 2) -> None:
        self._batches, self._ready = batches, ready
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def __next__(self) -> Any:
        """The next batch; waits for it."""
        batch, error = self._queue.get()
        if error is not None:
            self._queue.put((None, error))  # for whoever asks again
            raise error
        return batch

    def close(self) -> bool:
        """Take no more batches. True: the thread has ended, so that their source may be closed; else it is in there."""
        self._closed.set()
        self._thread.join(CLOSE_S)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._closed.is_set():
            made: tuple[Any, BaseException | None]
            try:
                made = (self._ready(next(self._batches)), None)
            except BaseException as error:
                made = (None, error)
            while not self._closed.is_set():
                with contextlib.suppress(queue.Full):
                    self._queue.put(made, timeout=POLL_S)
                    break
            if made[1] is not None:
                return
