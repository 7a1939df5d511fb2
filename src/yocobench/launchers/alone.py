"""One measurement at a time on a machine: two side by side would measure each other."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

LOOK_EVERY_S = 1.0


def lock_path() -> Path:
    """This user's lock on this machine, whatever the checkout: the folder for temporary files is the machine's own."""
    return Path(tempfile.gettempdir()) / f"yocobench-{os.getuid()}.lock"


@contextlib.contextmanager
def alone(label: str, waiting: Callable[[str], None], stop: Sequence[int]) -> Iterator[None]:
    """Have the machine for one repeat; while another command of this user measures here, tell `waiting` which.

    The kernel's lock ends with its process, even a killed one. A signal in `stop` ends the waiting: who is to end need
    not be alone. Where no lock can be had (a folder without locks), none is waited for: the verdict on a disturbed
    measurement says so, and no measurement says nothing.
    """
    lock = FileLock(lock_path())
    holder = lock_path().with_suffix(".holder")
    with contextlib.suppress(OSError, NotImplementedError):
        while not stop and not lock.is_locked:
            try:
                lock.acquire(timeout=LOOK_EVERY_S, poll_interval=0.1)
                holder.write_text(f"{label} (process {os.getpid()})", encoding="utf-8")
            except Timeout:
                waiting(_told(holder))
    try:
        yield
    finally:
        lock.release()


def _told(holder: Path) -> str:
    """Which cell is measured, as far as its process could write it down."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return holder.read_text(encoding="utf-8")
    return "another cell"
