"""Columns of the decision's table that not every decision has: what was measured beside the speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from yocobench.selection.decision import Decision
from yocobench.selection.wording import number


class Column(NamedTuple):
    """One such column."""

    title: str
    values: Sequence[float | None]
    """One value for each row."""

    def text(self, value: float | None) -> str:
        """The text of a value; empty where it is unknown."""
        return "" if value is None else number(value)


def columns(decision: Decision) -> list[Column]:
    """Waiting for the loader, and energy, each where some row has it."""
    waits = [None if row.data_wait_share is None else 100 * row.data_wait_share for row in decision.rows]
    joules = [row.energy_j_per_million_samples for row in decision.rows]
    known = [
        Column("waits for data, %", waits),
        Column(f"kJ per million {decision.asked.sample_unit}s", [None if j is None else j / 1000 for j in joules]),
    ]
    return [one for one in known if any(value is not None for value in one.values)]
