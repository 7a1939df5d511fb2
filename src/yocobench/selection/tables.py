"""The decision for terminals, `dvc metrics` and `dvc plots`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from yocobench.selection import beside, paying, report, tracks
from yocobench.selection.decision import Decision

PLAIN_COLUMNS = 160
"""Width of what is piped or logged: 80 columns would fold every reason into a ribbon."""
PLOT_COLUMNS = (
    *("workload", "instance", "source", "hours", "hours_low", "hours_high"),
    *("cost_usd", "cost_low_usd", "cost_high_usd"),
)


def terminal(decisions: Sequence[Decision]) -> Group:
    """For rich.print: each workload's answer and table, the most important columns only."""
    parts: list[Text | Table] = []
    for one in decisions:
        shown = Table(title=one.workload, title_justify="left", title_style="bold")
        columns = beside.columns(one)
        titles = [column.title for column in columns]
        for name in ("instance", "source", "hours", "cost, USD", "best", *titles, "why"):
            shown.add_column(name, overflow="fold")
        for number, row in enumerate(one.rows):
            cells = report.cells(row, one)
            chosen = row.instance == one.chosen
            more = [column.text(column.values[number]) for column in columns]
            style = "bold" if chosen else ""
            shown.add_row(row.instance, *(cells[i] for i in (1, 2, 3, 6)), *more, row.why, style=style)
        for left in (*one.excluded, *one.unmeasured):
            shown.add_row(left.instance, left.status, "", "", "", *("" for _ in columns), left.reason, style="dim")
        parts.append(shown)
        if (drawn := tracks.chart(one)) is not None:
            parts += [drawn, Text()]
        parts += [*_ways(one), *(Text(f"Mind: {text}", style="yellow") for text in one.warnings)]
        parts.append(Text(f"Asked: {report.asked(one)}.", style="dim"))
        parts.append(Text(one.sentence + "\n"))
    return Group(*parts)


def _ways(decision: Decision) -> list[Text | Table]:
    """Side by side where there is something to compare; else only how to learn the other prices."""
    lines = [Text(line, style="dim") for line in paying.notes(decision)]
    if not any(cell != paying.UNKNOWN for row in paying.table(decision) for cell in row[2:]):
        return [*lines]
    shown = Table(title="the same bill on-demand, on spot and reserved", title_justify="left")
    for name in paying.HEADER:
        shown.add_column(name, overflow="fold")
    for row in paying.table(decision):
        shown.add_row(*row, style="bold" if row[0] == decision.chosen else "")
    return [shown, *lines]


def scenarios(asked: Sequence[tuple[str, Sequence[Decision]]]) -> Table:
    """Several what-ifs side by side: what was changed, and what was decided for each workload."""
    shown = Table()
    for name in ("what if", "workload", "verdict", "instance", "hours", "cost, USD", "best"):
        shown.add_column(name, overflow="fold")
    for changed, decisions in asked:
        for one in decisions:
            row = one.row(one.chosen) if one.chosen else None
            cells = report.cells(row, one) if row else ("none", *[""] * 6)
            shown.add_row(Text(changed), one.workload, one.verdict, cells[0].strip("*"), *(cells[i] for i in (2, 3, 6)))
    return shown


def metrics(decisions: Sequence[Decision]) -> dict[str, dict[str, str | float | None]]:
    """results/metrics.json, for `dvc metrics show`: a small flat object per workload."""
    result: dict[str, dict[str, str | float | None]] = {}
    for one in decisions:
        row = one.row(one.chosen) if one.chosen else None
        result[one.workload] = {
            "verdict": one.verdict,
            "chosen": one.chosen,
            "cost_usd": float(row.cost_usd) if row and row.cost_usd is not None else None,
            "hours": row.hours if row else None,
            "probability_best": one.probability_best,
        }
    return result


def plots_csv(decisions: Sequence[Decision]) -> str:
    """results/plots.csv, for `dvc plots show`: one line per candidate with a number; unknown is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PLOT_COLUMNS)
    for one in decisions:
        for row in one.rows:
            times = (row.hours, row.hours_low, row.hours_high)
            bills = (row.cost_usd, row.cost_usd_low, row.cost_usd_high)
            writer.writerow((one.workload, row.instance, row.source, *times, *bills))
    return text.getvalue()
