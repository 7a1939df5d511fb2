"""Names and base models that every part of the schema shares."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
AcceleratorKind = Literal["cpu", "cuda", "neuron"]
DataKind = Literal["text", "images"]
UsageClass = Literal["on-demand", "spot"]
ImageFamily = Literal["cpu-x86_64", "cpu-arm64", "cuda", "neuron"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Fraction = Annotated[float, Field(gt=0, le=1)]


class Frozen(BaseModel):
    """Base of every model here: immutable, and a key that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())


class Stated(Frozen):
    """Base of what a user or a source states: finite numbers. Null, not infinity, is how "none" is said."""

    model_config = ConfigDict(allow_inf_nan=False)


class Sourced(Stated):
    """A group of facts that one source states."""

    source: Annotated[str, Field(min_length=8)]
    as_of: dt.date
