"""What a YAML file of ours may not say although YAML allows it, and complaints of Hydra and pydantic in our words.

Not covered: what the keys mean (schema/), and which files there are (config.py).
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from yocobench import nearest
from yocobench.schema import Config

WITH_KEYS = "write keys with values, such as `name: smoke`"
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


def check(text: str) -> None:
    """Raise ValueError for no YAML, for what has no keys or one twice, and for numbers that are read as others.

    YAML 1.1 takes 1:30 for 90 and 0250 for 168; DVC, which reads YAML 1.2, does not.
    """
    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(one_line(error)) from None
    if isinstance(node, yaml.SequenceNode):
        raise ValueError(f"is a list; {WITH_KEYS}")
    if isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null":
        raise ValueError(f"is one value, {node.value}; {WITH_KEYS}")
    left, seen = [node], set()
    while left:
        one = left.pop()
        if id(one) in seen:  # an alias
            continue
        seen.add(id(one))
        if isinstance(one, yaml.MappingNode):
            _check_keys(one)
            left += [part for pair in one.value for part in pair]
        elif isinstance(one, yaml.SequenceNode):
            left += one.value
        elif isinstance(one, yaml.ScalarNode) and one.tag in _NUMBERS:
            _check_number(one)


def one_line(error: Exception) -> str:
    """What it says; of broken YAML, the place and the complaint without what stands between."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    said = f"{_place(error.problem_mark)}: {error.problem}"
    if error.context and error.context_mark:
        said += f", {error.context} ({_place(error.context_mark)})"
    return said


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise in the words of OmegaConf, which refuses a key that stands twice too, but to Hydra only by a traceback."""
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):  # a list as a key: OmegaConf's to refuse
            continue
        if key.value in seen:
            raise ValueError(
                f"{_place(key.start_mark)}: found duplicate key {key.value}, "
                f"while constructing a mapping ({_place(node.start_mark)})"
            )
        seen.add(key.value)


def _check_number(node: yaml.ScalarNode) -> None:
    where, value = f"line {node.start_mark.line + 1}", str(node.value)
    if ":" in value:
        raise ValueError(
            f"{where}: YAML counts {value} in sixties ({yaml.safe_load(value)}): write one number, in the key's unit"
        )
    if re.fullmatch(r"[-+]?0[0-7_]+", value):
        raise ValueError(f"{where}: YAML takes {value} for octal ({yaml.safe_load(value)}): leave the leading 0 out")


def said(error: Exception) -> str:
    """A complaint of Hydra about the words of a command, without its pages; of an unknown key, the known ones."""
    cause = error.__cause__
    parent = getattr(cause, "parent_node", None)
    if isinstance(cause, OmegaConfBaseException) and isinstance(parent, DictConfig) and cause.full_key:
        key = str(cause.full_key)
        if cause.key not in parent:
            if str(cause.key) in fields_at(Config, key.split(".")[:-1]):  # known, but not in this file
                return f"{key} does not stand in the file that is composed; write ++{key}=..., or add it there"
            return unknown_key(key, [str(one) for one in parent])
    return str(error).partition("\n\nConfig search path")[0].strip()


def is_name(text: str) -> bool:
    """Whether Hydra takes it for a name: not for a number, a truth or null, nor for what its grammar cannot read."""
    try:
        return isinstance(OverridesParser.create().parse_override(f"key={text}").value(), str)
    except HydraException:
        return False


def explain(kind: type[BaseModel], item: Any) -> str:
    """One pydantic error as `path: what (value); known: ...`."""
    path = [str(part) for part in item["loc"]]
    said = item["msg"].removeprefix("Value error, ")  # a validator of ours, whose words name the place
    text = f"{'.'.join(path)}: {said}" if path else said
    if item["type"] == "extra_forbidden":
        return unknown_key(".".join(path), fields_at(kind, path[:-1]))
    if item["type"] != "missing" and not (item["type"] == "value_error" and isinstance(item["input"], dict)):
        text += f" (got {item['input']!r})"
    return text


def unknown_key(key: str, known: list[str]) -> str:
    """Which keys are known there, the nearest first."""
    return f"{key}: unknown key{nearest.among(key.rpartition('.')[2], known)}"


def fields_at(kind: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the model found by walking `path` from `kind`."""
    model: Any = kind
    for part in path:
        if part.isdigit():  # an entry of a list, whose type the field before it gave
            continue
        field = model.model_fields.get(part)
        if field is None:
            return []
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]
