"""One measurement at a time on a machine: two side by side would measure each other."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

LOOK_EVERY_S = 1.0


def lock_path() -> Path:
    """This user's lock on this machine, whatever the checkout. Machines may share a folder for temporary files."""
    return Path(tempfile.gettempdir()) / f"yocobench-{socket.gethostname()}-{os.getuid()}.lock"


@contextlib.contextmanager
def alone(label: str, waiting: Callable[[str], None], stop: Sequence[int]) -> Iterator[bool]:
    """Have the machine for one repeat; while another command of this user measures here, tell `waiting` which.

    False: a signal in `stop` ended the waiting. Who waits is next: whoever has the machine must queue up for the next
    repeat. The kernel's locks end with their process, even a killed one; what it measured may take seconds more to
    notice. Where no lock can be had (a folder without locks), none is waited for: the verdict on a disturbed
    measurement says so, and no measurement says nothing.
    """
    path = lock_path()
    queue, machine = (FileLock(path.with_suffix(end), fallback_to_soft=False) for end in (".queue", ".lock"))
    holder = path.with_suffix(".holder")
    try:
        free = all(_take(lock, holder, waiting, stop) for lock in (queue, machine))
    except (OSError, NotImplementedError):
        free = True
    finally:
        queue.release()
    with contextlib.suppress(OSError):
        if machine.is_locked:
            holder.write_text(f"{label} (process {os.getpid()})", encoding="utf-8")
    try:
        yield free
    finally:
        machine.release()


def _take(lock: FileLock, holder: Path, waiting: Callable[[str], None], stop: Sequence[int]) -> bool:
    """Wait for a lock; False: stopped."""
    while not stop:
        try:
            lock.acquire(timeout=LOOK_EVERY_S, poll_interval=0.1)
            return True
        except Timeout:
            waiting(_told(holder))
    return False


def _told(holder: Path) -> str:
    """Which cell is measured, as far as its process could write it down."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return holder.read_text(encoding="utf-8")
    return "another cell"
