"""`--help` of the commands: the docstring of the command's module."""

from __future__ import annotations

import sys

SETTINGS = """
Settings of params.yaml and conf/ are overridden by key=value, and workload=, subset=, instance= and launcher= choose
files of conf/. `--cfg job` prints the settings in force, `--hydra-help` the options of Hydra itself."""


def shown(module: str, settings: bool = False) -> bool:
    """Print it if the command line asks for it. `settings`: of a command that Hydra composes."""
    if {"-h", "--help"}.isdisjoint(sys.argv[1:]):
        return False
    print((sys.modules[module].__doc__ or "").strip())
    if settings:
        print(SETTINGS)
    return True
