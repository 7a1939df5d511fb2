"""Time and cost with their intervals as a chart of characters, for terminals and logs.

Both axes are logarithmic and shared by all candidates of a workload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from yocobench.selection import wording
from yocobench.selection.decision import Decision, Row

CAPTION = "full marks were timed, hollow ones are estimates; lines are 90 % intervals, : a limit; logarithmic"
NARROWEST, WIDEST = 12, 44
"""Characters of one axis."""
LINE, TIMED, ESTIMATED, LIMIT = 0, 1, 2, 3
MARKS = {True: "-*o:", False: "─●○:"}
"""By whether only ASCII can be shown."""


@dataclass(frozen=True)
class Axis:
    """From the least to the most of a quantity."""

    low: float
    high: float
    limit: float | None

    def place(self, value: float, width: int) -> int:
        """The character on which a value lies."""
        share = log(value / self.low) / log(self.high / self.low) if self.high > self.low else 0.5
        return round(share * (width - 1))


@dataclass(frozen=True)
class Track:
    """One interval on its axis."""

    low: float
    middle: float
    high: float
    timed: bool
    axis: Axis

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Any width between the two."""
        return Measurement(NARROWEST, WIDEST)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As wide as the column."""
        yield Text(self.drawn(min(options.max_width, WIDEST), options.ascii_only), no_wrap=True)

    def drawn(self, width: int, ascii_only: bool) -> str:
        """`width` characters."""
        marks, axis = MARKS[ascii_only], self.axis
        line = [" "] * width
        if axis.limit is not None and axis.low <= axis.limit <= axis.high:
            line[axis.place(axis.limit, width)] = marks[LIMIT]
        start, end = axis.place(self.low, width), axis.place(self.high, width)
        line[start : end + 1] = marks[LINE] * (end + 1 - start)
        line[axis.place(self.middle, width)] = marks[TIMED if self.timed else ESTIMATED]
        return "".join(line)


def chart(decision: Decision) -> Table | None:
    """A line for each candidate with a bill, best first; null without any."""
    rows = [row for row in decision.rows if row.cost_usd]
    if not rows:
        return None
    asked = decision.asked
    budget = None if asked.budget_usd is None else float(asked.budget_usd)
    hours = _axis([(row.hours_low, row.hours_high) for row in rows], asked.deadline_h)
    bills = _axis([(float(row.cost_usd_low or 0), float(row.cost_usd_high or 0)) for row in rows], budget)
    shown = Table(box=None, pad_edge=False, caption=CAPTION, caption_justify="left")
    shown.add_column("")
    shown.add_column(f"time, {wording.number(hours.low)} to {wording.number(hours.high)} h")
    shown.add_column(f"cost, {wording.number(bills.low)} to {wording.number(bills.high)} USD")
    for row in rows:
        style = "bold" if row.instance == decision.chosen else ""
        shown.add_row(row.instance, _time(row, hours), _cost(row, bills), style=style)
    return shown


def _axis(ends: Sequence[tuple[float, float]], limit: float | None) -> Axis:
    return Axis(min(low for low, _ in ends), max(high for _, high in ends), limit)


def _time(row: Row, axis: Axis) -> Track:
    return Track(row.hours_low, row.hours, row.hours_high, row.source not in wording.ESTIMATES, axis)


def _cost(row: Row, axis: Axis) -> Track:
    low, middle, high = (float(value or 0) for value in (row.cost_usd_low, row.cost_usd, row.cost_usd_high))
    return Track(low, middle, high, row.source not in wording.ESTIMATES, axis)
