"""Places where a cell can run. A launcher returns a Measurement and talks to no tracking store."""

from __future__ import annotations

from hydra.utils import get_class

from yocobench.launchers.base import Launcher
from yocobench.schema import LauncherConfig


def build_launcher(config: LauncherConfig) -> Launcher:
    """The launcher that conf/launcher/<name>.yaml describes. Raises ValueError if its class or args do not exist."""
    try:
        launcher = get_class(config.target)(**config.args)
    except (ImportError, TypeError, ValueError) as error:
        raise ValueError(f"conf/launcher/{config.name}.yaml: cannot build {config.target}: {error}") from error
    if not isinstance(launcher, Launcher):
        raise ValueError(f"conf/launcher/{config.name}.yaml: {config.target} is not a Launcher")
    return launcher
