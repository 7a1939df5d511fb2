"""Paths as they are told: relative to the project, so that what is printed, logged or committed names no machine."""

from __future__ import annotations

from pathlib import Path


def relative(text: object) -> str:
    """`text`, usually an error, with the project's folder (the current one) taken off every path inside it."""
    return str(text).replace(f"{Path.cwd()}/", "")
