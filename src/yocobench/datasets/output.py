"""A folder that appears whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

MARGIN_BYTES = 64 * 2**20
"""Free space left over after the dataset is written."""


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new empty folder beside `target`, which takes its place at the end of the block.

    If the block fails or is interrupted (Ctrl-C, SIGTERM) the new folder is removed and `target` stays as it was.
    What a killed process left is removed at the next start.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        if not psutil.pid_exists(int(stale.name.rpartition("-")[2])):
            shutil.rmtree(stale)
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    with _sigterm_raises():
        try:
            partial.mkdir()
            yield partial
            if target.exists():
                shutil.rmtree(target)
            partial.rename(target)
        except OSError as error:
            if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # of a write here
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raises ValueError when the disk of `folder` (or of its nearest existing parent) has less free."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes + MARGIN_BYTES:
        raise ValueError(
            f"{folder.name}/ needs about {needed_bytes / 1e6:.0f} MB and a margin of {MARGIN_BYTES / 1e6:.0f} MB; "
            f"the disk has {free / 1e6:.0f} MB free"
        )


def file_md5(path: Path) -> str:
    """Hexadecimal MD5, as DVC names files."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM as an exception, so that `finally` runs. Signals can be handled in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
