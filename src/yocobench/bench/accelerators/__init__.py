"""Devices that train. `open_device` finds the module named after the kind: adding one is adding a file."""

from __future__ import annotations

import importlib
from typing import cast

from yocobench.bench.accelerators.base import Accelerator
from yocobench.schema import AcceleratorKind


def open_device(kind: AcceleratorKind) -> Accelerator:
    """The device of this host. Raises ValueError when its driver or framework is absent."""
    module = importlib.import_module(f"yocobench.bench.accelerators.{kind}")
    return cast(Accelerator, module.Device())
