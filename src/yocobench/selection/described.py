"""The base of everything that results/decision.json states."""

from __future__ import annotations

from pydantic import ConfigDict

from yocobench.schema import Frozen


class Described(Frozen):
    """Base of the output: the docstring under a field is its description in the JSON schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)
