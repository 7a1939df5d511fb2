"""Paths and errors as they are told: relative to the project, so that what is printed or logged names no machine."""

from __future__ import annotations

from pathlib import Path


def relative(text: object) -> str:
    """`text`, usually an error, with the project's folder (the current one) taken off every path inside it."""
    return str(text).replace(f"{Path.cwd()}/", "")


def first_line(error: BaseException) -> str:
    """What it says first; its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
