"""Files of the catalogue with their defaults, as Hydra composes them: once for each state of conf/.

Not covered: what the values mean, and whether a name is known (config.py checks both).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from yocobench.plain import one_line

_composed: dict[tuple[str, str, str], DictConfig] = {}
"""By group, name and the state of the files then. To be read only: the next caller gets the same."""


def entries(group: str, names: Sequence[str], conf: Path) -> list[DictConfig]:
    """<conf>/<group>/<name>.yaml of these names, in that order.

    Raises ValueError for broken YAML or an unknown part in the defaults, naming the file.
    """
    state = _state(conf)
    missing = [name for name in dict.fromkeys(names) if (group, name, state) not in _composed]
    for name, found in zip(missing, _compose(group, missing, conf), strict=True):
        _composed[group, name, state] = found
    return [_composed[group, name, state] for name in names]


def _compose(group: str, wanted: list[str], conf: Path) -> list[DictConfig]:
    """All at once: Hydra takes 80 ms for each composition, 10 for a file."""
    if not wanted:
        return []
    chosen = [f"+{group}@entry_{number}={name}" for number, name in enumerate(wanted)]
    try:
        if GlobalHydra.instance().is_initialized():
            found = compose(overrides=chosen)
        else:
            with initialize_config_dir(version_base=None, config_dir=str(conf)):
                found = compose(overrides=chosen)
        return [found[f"entry_{number}"] for number in range(len(wanted))]
    except (yaml.YAMLError, HydraException, OmegaConfBaseException, UnicodeDecodeError) as error:
        if len(wanted) == 1:
            raise ValueError(f"conf/{group}/{wanted[0]}.yaml: {one_line(error)}") from None
        return [one for name in wanted for one in _compose(group, [name], conf)]  # raises for the first bad one


def _state(conf: Path) -> str:
    """A digest of the files that Hydra may look into, in milliseconds: conf/ and what --config-dir adds."""
    found = sorted(conf.rglob("[!.]*.yaml"))
    if GlobalHydra.instance().is_initialized():
        searched = GlobalHydra.instance().config_loader().get_search_path().get_path()
        for path in (one.path.removeprefix("file://") for one in searched if one.path):
            if "://" not in path and Path(path).resolve() != conf.resolve():  # --config-dir
                found += sorted([*Path(path).glob("[!.]*.yaml"), *Path(path).glob("*/[!.]*.yaml")])
    digest = hashlib.sha256()
    for file in found:
        content = file.read_bytes()
        name = file.relative_to(conf) if file.is_relative_to(conf) else file
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()
