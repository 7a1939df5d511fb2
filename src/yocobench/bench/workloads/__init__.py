"""The models to train, behind one seam (base.py). `build_workload` finds the class that a config names."""

from __future__ import annotations

import importlib
import inspect
import math
from types import ModuleType
from typing import Any

from yocobench.bench.workloads.base import Workload
from yocobench.schema import WorkloadConfig


def build_workload(config: WorkloadConfig) -> Workload:
    """The workload of conf/workload/<name>.yaml: its `_target_`, in this package or the user's, called with `args`.

    Raises ValueError, naming the file: no such module or class, a class that is no Workload or leaves methods out,
    arguments that it does not take, items without samples. An error inside the user's own module passes through with
    its traceback.
    """
    where = f"conf/workload/{config.name}.yaml"
    found = _find(config.target, where)
    if not (inspect.isclass(found) and issubclass(found, Workload)):
        raise ValueError(
            f"{where}: _target_ {config.target} is not a Workload; derive it from {Workload.__module__}.Workload"
        )
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise ValueError(f"{where}: _target_ {config.target} does not define {', '.join(missing)}")
    signature = inspect.signature(found)
    try:
        signature.bind(**config.args)
    except TypeError as error:
        accepted = ", ".join(str(parameter) for parameter in signature.parameters.values()) or "none"
        raise ValueError(f"{where}: args: {error}. Accepted by {config.target}: {accepted}") from None
    try:
        workload: Workload = found(**config.args)
        samples = workload.samples_per_item()
    except (ValueError, SystemExit) as error:
        if config.target.startswith(f"{__package__}."):  # whose words name the place
            raise
        raise ValueError(f"{where}: building {config.target}: {type(error).__name__}: {error}") from error
    if not (isinstance(samples, int | float) and 0 < samples < math.inf):
        raise ValueError(
            f"{where}: samples_per_item() of {config.target} must be a Python int or float above 0 (got {samples!r})"
        )
    return workload


def _find(target: str, where: str) -> Any:
    module_name, _, class_name = target.rpartition(".")
    if not module_name:
        raise ValueError(f"{where}: _target_ {target!r} must be package.module.ClassName")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"{where}: _target_ {target}: importing {module_name} needs the module {error.name!r}, which is not "
                "installed; install it into the environment that runs yocobench"
            ) from error
        raise ValueError(
            f"{where}: _target_ {target}: no module {error.name!r}; install its package (pip install -e <folder>) "
            "or put the folder that holds it on PYTHONPATH"
        ) from None
    found = getattr(module, class_name, None)
    if found is None:
        raise ValueError(f"{where}: _target_ {target}: {module_name} has no {class_name!r}{_workloads_in(module)}")
    return found


def _workloads_in(module: ModuleType) -> str:
    names = sorted(
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Workload) and not inspect.isabstract(value)
    )
    return f". Workloads in it: {', '.join(names)}" if names else ""
