"""The only reader of raw config: Hydra composes, pydantic validates, every error at once with its path.

Not covered: building the things that a config names (bench/, launchers/ do that).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from yocobench import composition, nearest, plain, stops, sweep, usage
from yocobench.launchers.signals import INTERRUPTED_STATUS
from yocobench.paths import told
from yocobench.schema import Chip, Config, Instance, LauncherConfig, MachineImages, Study, Subset, WorkloadConfig

Model = TypeVar("Model", bound=BaseModel)
GROUPS: dict[str, type[BaseModel]] = {
    "workload": WorkloadConfig,
    "subset": Subset,
    "instance": Instance,
    "accelerator": Chip,
    "launcher": LauncherConfig,
}
_CELL = ("workload", "subset", "instance", "launcher")
"""Groups of which a composed config has one file."""


def root() -> Path:
    """The repository: the current folder, which must hold params.yaml and conf/. Raises ValueError otherwise."""
    here = Path.cwd()
    for needed in ("params.yaml", "conf/config.yaml"):
        if not (here / needed).is_file():
            raise ValueError(f"{here.name}/ has no {needed}: run this from the repository's top folder")
    return here


def names(group: str) -> list[str]:
    """The files of a config group, without suffix."""
    return sorted(path.name.removesuffix(".yaml") for path in (root() / "conf" / group).glob("[!.]*.yaml"))


def load(raw: DictConfig) -> Config:
    """A composed config, validated. Raises ValueError listing every error."""
    try:
        cfg = validate(Config, raw, "params.yaml with conf/ and overrides")
    except ValueError as error:
        raise ValueError(f"{error}{_origin(raw.get('instance'))}") from None
    try:
        _check_known("instance", cfg.baseline)
    except ValueError as error:
        raise ValueError(f"baseline: {error}") from None
    return cfg


def entries(group: str, names: Iterable[str]) -> list[Any]:
    """Validated files of the catalogue, conf/<group>/<name>.yaml, in that order.

    Raises ValueError: no such file (with the nearest names), or every error in the first bad one.
    """
    wanted = list(names)
    for name in wanted:
        _check_known(group, name)
    found: list[Any] = []
    for name, raw in zip(wanted, composition.entries(group, wanted, root() / "conf"), strict=True):
        try:
            found.append(validate(GROUPS[group], raw, f"conf/{group}/{name}.yaml"))
        except ValueError as error:
            raise ValueError(f"{error}{_origin(raw) if group == 'instance' else ''}") from None
        _check_named(group, name, found[-1].name)
    return found


def entry(group: str, name: str) -> Any:
    """One validated file of the catalogue: see `entries`."""
    [found] = entries(group, [name])
    return found


def instance(name: str) -> Instance:
    """conf/instance/<name>.yaml."""
    return _typed(entry("instance", name), Instance)


def instances(names: Iterable[str]) -> list[Instance]:
    """The files conf/instance/<name>.yaml of these names, in that order."""
    return [_typed(one, Instance) for one in entries("instance", names)]


def chips() -> list[Chip]:
    """All of conf/accelerator/."""
    return [_typed(one, Chip) for one in entries("accelerator", names("accelerator"))]


def workload(name: str) -> WorkloadConfig:
    """conf/workload/<name>.yaml."""
    return _typed(entry("workload", name), WorkloadConfig)


def subsets(names: Iterable[str]) -> list[Subset]:
    """The files conf/subset/<name>.yaml of these names, in that order."""
    return [_typed(one, Subset) for one in entries("subset", names)]


def images() -> MachineImages:
    """conf/images.yaml: the machine image of each accelerator family."""
    return validate(MachineImages, _load("conf/images.yaml"), "conf/images.yaml")


def study(overrides: list[str] | None = None) -> Study:
    """params.yaml with overrides, without any cell's parts."""
    try:
        raw = OmegaConf.merge(_load("params.yaml"), OmegaConf.from_dotlist(overrides or []))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{' '.join(overrides or [])}: {plain.one_line(error)}") from None
    return validate(Study, raw, "params.yaml")


def stage(main: Callable[[Config], int | None]) -> Callable[[], None]:
    """Make `main` a command: Hydra's overrides and multirun, and one line instead of a traceback for a user's mistake.

    Exit status: what `main` returns (None is 0); 2 for a ValueError or OSError, whose message is printed; 130 for
    Ctrl-C. A failed job of a multirun is listed when all are done (sweep.py); Ctrl-C and SIGTERM end it (stops.py).
    """

    @functools.wraps(main)
    def command() -> None:
        if usage.shown(main.__module__, settings=True):
            return
        try:
            conf = str(root() / "conf")
            _check_yaml()
            _check_words(sys.argv[1:])
        except (ValueError, OSError) as error:
            _fail(error)

        @hydra.main(version_base=None, config_path=conf, config_name="config")
        @functools.wraps(main)
        def app(raw: DictConfig) -> None:
            if sweep.stopped():
                return
            status = None
            try:
                with sweep.job():
                    cfg = load(raw)
                    for group in _CELL:
                        _check_named(group, HydraConfig.get().runtime.choices[group], getattr(cfg, group).name)
                    status = main(cfg)
            except Exception as error:
                if sweep.running():
                    sweep.record_failure(error)
                    return
                if not isinstance(error, ValueError | OSError):
                    raise
                _fail(error)
            if status and not sweep.running():
                sys.exit(status)

        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # raise: Hydra would print a page and end with status 1
        try:
            app()
        except (HydraException, OmegaConfBaseException) as error:
            _fail(ValueError(plain.said(error)))
        except KeyboardInterrupt as error:
            if stops.Stops.current is None:
                print(": ".join(filter(None, ("interrupted", str(error)))), file=sys.stderr)
                sys.exit(INTERRUPTED_STATUS)
            stops.end()
        finally:
            stops.let_go()

    return command


def _fail(error: Exception) -> NoReturn:
    print(told(error), file=sys.stderr)
    sys.exit(2)


def _load(path: str) -> Any:
    """One YAML file as it stands, its path relative to the root. Raises ValueError when it is none."""
    try:
        plain.check((root() / path).read_text(encoding="utf-8"))
        return OmegaConf.load(root() / path)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise ValueError(f"{path}: {plain.one_line(error)}") from None


def _check_known(group: str, name: str) -> None:
    """Raise ValueError for a name without a file, with the nearest one."""
    known = names(group)
    if name not in known:
        raise ValueError(f"{group} {name!r} is not known{nearest.among(name, known)}. Add conf/{group}/{name}.yaml")


def _origin(instance: Any) -> str:
    """Where an instance's mistakes stand that are its chips': in the chips' own files; empty if those are in order."""
    bad = []
    for part in ("cpu", "accelerator"):
        with contextlib.suppress(OmegaConfBaseException):  # the reference itself leads nowhere
            chip = OmegaConf.select(instance, f"{part}.name") if OmegaConf.is_dict(instance) else None
            if chip in names("accelerator"):
                try:
                    entry("accelerator", chip)
                except ValueError:
                    bad.append(f"conf/accelerator/{chip}.yaml")
    return f"\n  Mend it in {' and '.join(bad)}" if bad else ""


def _check_named(group: str, file: str, name: str) -> None:
    """Raise ValueError for a file that was copied and kept the name of the other: its numbers would be filed there."""
    if name != file:
        raise ValueError(f"conf/{group}/{file}.yaml: name: {name!r} is not the file's; write name: {file}")


def _check_words(words: list[str]) -> None:
    """Raise ValueError for an unknown name or key among command-line words, before the first job of a sweep starts.

    Hydra would answer with a page and, in a sweep, end all jobs behind it. Globs and functions are left to Hydra.
    """
    for word in words:
        key, is_set, chosen = word.partition("=")
        if key in GROUPS and re.fullmatch(r"[\w.,-]*", chosen):
            for name in chosen.split(","):
                _check_known(key, name)
                _check_is_text(key, name)
        elif is_set and re.fullmatch(r"\w+(\.\w+)*", key):
            _check_key(key)


def _check_is_text(group: str, name: str) -> None:
    """Raise ValueError for a name that Hydra takes for a number, a truth or null, or cannot read, not for a file's."""
    if not plain.is_name(name):
        raise ValueError(f"{group} {name!r} does not read as a name: rename conf/{group}/{name}.yaml")


def _check_key(key: str) -> None:
    """Raise ValueError for a key that no config has, with the nearest one. Hydra's own, `args` and launchers apart."""
    path = key.split(".")
    for depth, part in enumerate(path):
        known = plain.fields_at(Config, path[:depth])
        if path[0] in ("hydra", "launcher") or not known:
            return
        if part not in known:
            raise ValueError(plain.unknown_key(".".join(path[: depth + 1]), known))


def _check_yaml() -> None:
    """Raise ValueError for a file that is no YAML, or not what it seems, before Hydra reads it. Takes milliseconds.

    Editors keep hidden files of their own there: Emacs a link to nowhere, macOS its attributes.
    """
    _load("params.yaml")
    for path in sorted((root() / "conf").rglob("[!.]*.yaml")):
        try:
            plain.check(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root())}: {error}") from None


def _typed(value: Any, kind: type[Model]) -> Model:
    assert isinstance(value, kind)
    return value


def validate(kind: type[Model], raw: Any, where: str) -> Model:
    """Raw values as that model. Raises ValueError with every error in them, each with its path behind `where`."""
    try:
        values = OmegaConf.to_container(raw, resolve=True) if OmegaConf.is_config(raw) else raw
        return kind.model_validate(values)
    except OmegaConfBaseException as error:  # a bad ${...}
        key = re.sub(r"^entry_\d+\.", "", error.full_key or "")  # composition.py's own name for what it composes
        raise ValueError(f"{where}: {key}: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        lines = [plain.explain(kind, item) for item in error.errors()]
        raise ValueError(f"{where}: {len(lines)} error(s)\n" + "\n".join(f"  {line}" for line in lines)) from None
