"""Versions of what the measured number depends on."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("torch", "torch-neuronx", "torch-xla", "numpy", "pillow", "tokenizers", "yocobench")


def versions() -> dict[str, str]:
    """Installed versions of the packages that a step runs through, of Python and of the kernel."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
