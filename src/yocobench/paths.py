"""Paths and errors as they are told: relative to the project, so that what is printed or logged names no machine."""

from __future__ import annotations

import errno
from pathlib import Path

from pydantic import ValidationError


def relative(text: object) -> str:
    """`text`, usually an error, with the project's folder (the current one) taken off every path inside it."""
    return str(text).replace(f"{Path.cwd()}/", "")


def told(error: Exception) -> str:
    """An error as a command ends with it: `relative`, and what to do about a full disk."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"error: {relative(error)}{'; free some (`df -h`), then run it again' if full else ''}"


def first_line(error: BaseException) -> str:
    """What it says first; its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def first_fault(error: ValidationError) -> str:
    """The first field that is wrong, and what is wrong with it: of files that yocobench itself has written."""
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
