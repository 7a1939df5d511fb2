"""Ctrl-C and SIGTERM in a multirun: they end the sweep, not the running job alone.

A launcher ends its cell in order on such a signal (launchers/signals.py), so the job returns as any other does, and
Hydra would start the next one: on EC2, a paid box. Here the signal is noted in the sweep's folder, whoever handled it,
and no job starts once it is. In the folder, because jobs may run in processes of their own, here or on other machines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NoReturn

import psutil

from yocobench.launchers.signals import INTERRUPTED_STATUS

STOPPED = "stopped.txt"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stops:
    """How one process hears of its sweep's end, and passes it on."""

    current: ClassVar[Stops | None] = None

    def __init__(self, folder: Path, is_worker: bool) -> None:
        """`folder`: the sweep's. `is_worker`: a process that works on jobs which another one starts."""
        self.folder, self.is_worker, self.in_job = folder, is_worker, False
        folder.mkdir(parents=True, exist_ok=True)
        if is_worker:
            _mark(folder, os.getpid()).touch()
        # A cluster ends one of its jobs by SIGTERM, too: that says nothing of the others.
        self.ends_sweep = (signal.SIGINT,) if is_worker else SIGNALS
        # While a launcher has handlers of its own, this pipe alone hears of a signal: Python writes its number there.
        self.heard, written = os.pipe()
        os.set_blocking(self.heard, False)
        os.set_blocking(written, False)
        self.fds = (self.heard, written)
        self.fd_before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        self.before = {number: signal.signal(number, self._handle) for number in SIGNALS}

    def close(self) -> None:
        """Signals are handled as they were before."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self.fd_before)
        for fd in self.fds:
            os.close(fd)

    def note(self) -> None:
        """Leave word if one of the signals came since the last look, and it ends the sweep."""
        came = b""
        with contextlib.suppress(BlockingIOError):
            came = os.read(self.heard, 1 << 16)
        if any(number in came for number in self.ends_sweep):
            (self.folder / STOPPED).touch()

    def _handle(self, number: int, _frame: object) -> None:
        """Where no launcher has a handler: end this job, or wait until workers have ended theirs."""
        self.note()
        if self.in_job:
            raise KeyboardInterrupt
        if self.is_worker:
            return
        workers = [one for one in psutil.Process().children(recursive=True) if _mark(self.folder, one.pid).exists()]
        if not workers:
            raise KeyboardInterrupt
        # No exception: joblib would kill them, while they end their boxes.
        for worker in workers:
            with contextlib.suppress(OSError, psutil.Error):
                if number != signal.SIGINT or os.getpgid(worker.pid) != os.getpgrp():  # else the terminal told it, too
                    worker.send_signal(number)


def heed(folder: Path, is_worker: bool = False) -> None:
    """From here on, signals to this process end the sweep in that folder. Only a process's first call counts."""
    if Stops.current is None and threading.current_thread() is threading.main_thread():
        Stops.current = Stops(folder, is_worker)


def let_go() -> None:
    """The sweep is over in this process."""
    if Stops.current is not None:
        Stops.current.close()
        Stops.current = None


def stopped(folder: Path) -> bool:
    """Has a signal ended this sweep?"""
    return (folder / STOPPED).exists()


def end() -> NoReturn:
    """End the command, once all of its jobs have."""
    print("interrupted: no further job was started; what was measured is recorded", file=sys.stderr)
    sys.exit(INTERRUPTED_STATUS)


@contextlib.contextmanager
def job(folder: Path) -> Iterator[None]:
    """Around one job. A signal that no launcher made an outcome of ends it here.

    Raises InterruptedError when that ends this job alone.
    """
    heed(folder, is_worker=True)  # unless this is the process that starts the jobs
    stops = Stops.current
    if stops is None:  # not the main thread, which alone gets signals
        yield
        return
    stops.in_job = True
    try:
        yield
    except KeyboardInterrupt as error:
        stops.note()
        if not stopped(folder):
            what = f": {error}" if str(error) else " before its outcome was recorded"
            raise InterruptedError(f"ended by a signal{what}") from None
    finally:
        stops.in_job = False
        stops.note()


def _mark(folder: Path, pid: int) -> Path:
    """What tells that a process works on jobs of the sweep: it ends them in order when it gets a signal."""
    return folder / f"worker-{pid}.txt"
