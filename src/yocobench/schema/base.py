"""Names and base models that every part of the schema shares."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

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


def _kinds(annotation: Any) -> set[Any]:
    """All types that stand in it."""
    parts = get_args(annotation)
    return set().union(*map(_kinds, parts)) if parts else {annotation}


class Stated(Frozen):
    """Base of what a user or a source states: finite numbers. Null, not infinity, is how "none" is said."""

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`yes`, `on` and `true` would count as 1."""
        if isinstance(value, bool):
            kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("write a number: true, yes and on are none")
        return value


def _written_out(value: Any) -> Any:
    if not isinstance(value, dt.date) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)):
        raise ValueError("write the day as in 2026-10-27")  # a bare number would count as seconds since 1970
    return value


Day = Annotated[dt.date, BeforeValidator(_written_out)]


class Sourced(Stated):
    """A group of facts that one source states."""

    source: Annotated[str, Field(min_length=8)]
    as_of: Day
