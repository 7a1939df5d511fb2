"""Who wins at which length of the job, and while one price changes: as Vega-Lite strips, and the same in words.

Exact: the places where the winner changes are those of sensitivity.py. The sliders do not move these strips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import log
from typing import Any

from yocobench.selection import sensitivity, wording
from yocobench.selection.decision import Decision
from yocobench.selection.objectives import get
from yocobench.selection.page import palette
from yocobench.selection.page.chart import LEGEND_COLUMNS, MOST_ROWS, ROW_PX, Spec, config
from yocobench.selection.sensitivity import Line, Setting, Span

NOTHING = "nothing that fits"
JOB_RANGE = (1e-3, 1e3)
"""Job lengths that are looked at, as shares of the one asked for."""
PRICE_RANGE = (0.25, 4.0)
"""Prices that are looked at, as shares of today's."""
LETTER_PX = 7.5


def lines(decision: Decision) -> list[Line]:
    """Medians of those that can be chosen, as sensitivity.py wants them."""
    return [
        Line(
            name=row.instance,
            one_off_h=row.one_off_h,
            hours_per_sample=row.steady_h / decision.asked.job_samples,
            price_usd_per_hour=float(row.price_usd_per_hour),
            extras_usd_per_hour=float(row.hourly_usd - row.price_usd_per_hour),
        )
        for row in decision.rows
        if row.can_be_chosen and row.hourly_usd is not None and row.price_usd_per_hour is not None
    ]


def setting(decision: Decision) -> Setting:
    """The job as asked."""
    asked = decision.asked
    return Setting(
        samples=asked.job_samples,
        deadline_h=float("inf") if asked.deadline_h is None else asked.deadline_h,
        budget_usd=float("inf") if asked.budget_usd is None else float(asked.budget_usd),
        weight=float(get(asked.objective).cost_weight),
    )


def job_spans(decision: Decision) -> list[Span]:
    """Who wins from a thousandth to a thousand times the job as asked; empty: nothing can be chosen."""
    every, asked = lines(decision), decision.asked.job_samples
    return sensitivity.job_spans(every, setting(decision), *(asked * share for share in JOB_RANGE)) if every else []


def price_spans(decision: Decision) -> dict[str, list[Span]]:
    """For the chosen one and those whose price decides: who wins while it alone changes, in shares of today's price."""
    every, found = lines(decision), {}
    for line in every:
        ends = [line.price_usd_per_hour * share for share in PRICE_RANGE]
        spans = sensitivity.price_spans(every, setting(decision), line.name, ends[0], ends[1])
        if line.name == decision.chosen or len(spans) > 1:
            today = line.price_usd_per_hour
            found[line.name] = [Span(one.start / today, one.end / today, one.winner) for one in spans]
    return dict(list(found.items())[:MOST_ROWS])


# --- in words ---------------------------------------------------------------------------------------------------


def job_words(decision: Decision) -> str:
    """As in "up to 35,900 images m5a.large, then g4dn.xlarge"."""
    spans = job_spans(decision)
    if len(spans) == 1:
        return f"{spans[0].winner or NOTHING} wins at every length shown."
    lengths = _ends(decision, spans, _length(decision))[1:]
    parts = [f"up to {at} {one.winner or NOTHING}" for one, at in zip(spans[:-1], lengths, strict=False)]
    return f"Who wins: {', '.join(parts)}, beyond that {spans[-1].winner or NOTHING}."


def price_words(decision: Decision) -> list[str]:
    """A line for each price that decides."""
    return [_price_words(decision, name, spans) for name, spans in price_spans(decision).items()]


def _price_words(decision: Decision, name: str, spans: Sequence[Span]) -> str:
    changes = _ends(decision, spans, _change)[1:]
    first = [f"up to {at} {one.winner or NOTHING} wins" for one, at in zip(spans[:-1], changes, strict=False)]
    last = f"{spans[-1].winner or NOTHING} wins"
    return f"Price of {name}: {', '.join([*first, f'beyond that {last}' if first else f'{last} at each shown'])}."


def _change(share: float) -> str:
    """As `wording.percent` has it, since the same change stands in sentences too; with its sign, nought as +0.0 %."""
    change = 100 * (share - 1)
    words = f"{change:+.0f} %" if abs(change) >= 10 else f"{change:+z.1f} %"
    return words.replace("-", "\N{MINUS SIGN}")  # a hyphen after ~ is hard to see


def _length(decision: Decision) -> Callable[[float], str]:
    return lambda samples: wording.samples(samples, decision.asked.sample_unit)


def _ends(decision: Decision, spans: Sequence[Span], text: Callable[[float], str]) -> list[str]:
    """The start, each place where one winner follows another (~ where either is an estimate), and the end."""

    def level(before: Span, after: Span) -> str:
        rows = [decision.row(name) for name in (before.winner, after.winner) if name is not None]
        return wording.mark(*(row.source for row in rows if row is not None)) + text(after.start)

    return [text(spans[0].start), *(level(*both) for both in pairwise(spans)), text(spans[-1].end)]


# --- as pictures ------------------------------------------------------------------------------------------------


def winner_by_job(decision: Decision) -> Spec | None:
    """A strip over the job's length; null without anything to choose."""
    spans = job_spans(decision)
    if not spans:
        return None
    unit = decision.asked.sample_unit
    data = _bars("", spans, _ends(decision, spans, _length(decision)))
    label = "replace(format(datum.value, '~s'), 'G', 'B')"  # a billion is no giga to most readers
    axis = {"title": f"length of the job, {unit}s", "labelExpr": label, "tickCount": 6, "labelOverlap": True}
    return _strips(data, axis, decision.asked.job_samples, "as asked", _winners(decision, [*spans]))


def winner_by_price(decision: Decision) -> Spec | None:
    """A strip for each price that decides; null without anything to choose."""
    rows = price_spans(decision)
    if not rows:
        return None
    data = [part for name, spans in rows.items() for part in _bars(name, spans, _ends(decision, spans, _change))]
    label = "datum.value == 1 ? 'today' : format(datum.value - 1, '+.0%')"
    axis = {"title": "change of that price alone", "values": [0.25, 0.5, 1, 2, 4], "labelExpr": label}
    return _strips(data, axis, 1.0, "", _winners(decision, [one for spans in rows.values() for one in spans]))


def _bars(row: str, spans: Sequence[Span], ends: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"row": row, "start": one.start, "end": one.end, "winner": one.winner or NOTHING, "between": f"{low} to {high}"}
        for one, (low, high) in zip(spans, pairwise(ends), strict=True)
    ]


def _winners(decision: Decision, spans: Sequence[Span]) -> dict[str, str]:
    """A colour for each, the same in both charts: the chosen one has its own, nothing is grey."""
    prices = [one for each in price_spans(decision).values() for one in each]
    everyone = dict.fromkeys(one.winner for one in [*prices, *job_spans(decision)])
    others = [name for name in everyone if name not in (None, decision.chosen)]
    colours: dict[str | None, str] = {
        name: f"var(--{palette.SERIES[i % len(palette.SERIES)]})" for i, name in enumerate(others)
    }
    colours |= {decision.chosen: "var(--chosen)", None: "var(--muted)"}
    shown = sorted({one.winner for one in spans}, key=lambda name: (name != decision.chosen, name is None, str(name)))
    return {name or NOTHING: colours[name] for name in shown}


def _strips(data: list[dict[str, Any]], axis: Spec, today: float, note: str, winners: dict[str, str]) -> Spec:
    low, high = min(one["start"] for one in data), max(one["end"] for one in data)
    scale = {"type": "log", "domain": [low, high], "nice": False}
    x = {"type": "quantitative", "scale": scale, "axis": axis}
    rows = {one["row"] for one in data}
    several = len(rows) > 1
    y = {"field": "row", "type": "nominal", "sort": None, "title": None, "axis": {"labels": several, "ticks": False}}
    # The name stands in its segment where it has room; the legend and the tooltip say it everywhere.
    share = f"log(datum.end / datum.start) / {log(high / low)}"
    room = f"{share} * width > {LETTER_PX} * length(datum.winner) + 8"
    named = {"x": {**x, "field": "start"}, "y": y, "text": {"field": "winner"}}
    here: Spec = {"values": [{"at": today}]}
    at = {**x, "field": "at"}
    return {
        "width": "container",
        "height": ROW_PX * len(rows),
        "config": config(),
        "data": {"values": data},
        "layer": [
            {"mark": BAR, "encoding": {**_segments(winners, several), "x": {**x, "field": "start"}, "y": y}},
            {"transform": [{"filter": room}], "mark": NAME, "encoding": named},
            {"data": here, "mark": TODAY, "encoding": {"x": at}},
            {"data": here, "mark": NOTE, "encoding": {"x": at, "y": {"value": -6}, "text": {"value": note}}},
        ],
    }


BAR = {"type": "bar", "height": {"band": 0.8}, "stroke": "var(--paper)", "strokeWidth": 2}
NAME = {"type": "text", "align": "left", "dx": 8, "color": "var(--paper)", "fontSize": 12, "fontWeight": 600}
TODAY = {"type": "rule", "color": "var(--ink)", "strokeWidth": 2, "strokeDash": [4, 3]}
NOTE = {"type": "text", "align": "left", "dx": 5, "color": "var(--ink)", "fontSize": 12}


def _segments(winners: dict[str, str], several: bool) -> Spec:
    """Ends, colour and tooltip of each segment."""
    colour = {"domain": list(winners), "range": list(winners.values())}
    legend = {"orient": "bottom", "title": "wins", "columns": LEGEND_COLUMNS}
    tips = [("price of", "row")] if several else []
    tips += [("wins", "winner"), ("between", "between")]
    return {
        "x2": {"field": "end"},
        "color": {"field": "winner", "type": "nominal", "scale": colour, "legend": legend},
        "tooltip": [{"field": field, "title": title, "type": "nominal"} for title, field in tips],
    }
