"""The time-against-cost chart, as a Vega-Lite specification (https://vega.github.io/vega-lite/docs/).

The page shows it with live data, `svg` draws it as a picture. Colours are CSS variables (palette.py), so that a change
of theme redraws nothing. page.js makes the same point fields anew when a slider moves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from yocobench.selection import wording
from yocobench.selection.decision import Decision, Row
from yocobench.selection.page import labels, palette

Spec = dict[str, Any]
SOURCES = ("measured", "replayed", "extrapolated", "estimated")
SHAPES = ("circle", "diamond", "triangle-up", "square")
LEGEND_COLUMNS = {"expr": "width < 420 ? 2 : 4"}
MOST_ROWS = 6
ROW_PX = 34
"""Of the smaller charts (pictures.py, strips.py)."""
PICTURE_WIDTH_PX = 640
HEIGHT_PX = 360
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
INTERVAL_OPACITY = 0.45
FAR = 3.0
"""A limit farther from all intervals than this factor is told, not drawn: it would press the candidates together."""


def points(decision: Decision) -> list[dict[str, Any]]:
    """What is drawn: every candidate with a price, along the time axis."""
    priced = sorted((row for row in decision.rows if row.cost_usd is not None), key=lambda row: row.hours)
    return [_point(row, decision) for row in priced]


def _point(row: Row, decision: Decision) -> dict[str, Any]:
    assert row.cost_usd is not None
    chosen = row.instance == decision.chosen
    named = chosen or row.on_front or row.instance == decision.asked.baseline
    mark = wording.mark(row.source)
    ends = {"hours_low": row.hours_low, "hours_high": row.hours_high}
    bills = {"cost_low": float(row.cost_usd_low or 0), "cost_high": float(row.cost_usd_high or 0)}
    return {
        "instance": row.instance,
        "source": row.source,
        "hours": row.hours,
        "cost": float(row.cost_usd),
        **ends,
        **bills,
        "chosen": chosen,
        "front": row.on_front,
        "label": row.instance if named else "",
        "time": f"{mark}{wording.hours(row.hours)}",
        "bill": f"{mark}{wording.usd(row.cost_usd)}",
        "why": row.why,
    }


def limits(decision: Decision) -> dict[str, list[dict[str, Any]]]:
    """Deadline and budget, as lists of one or none."""
    asked = decision.asked
    hours, usd = asked.deadline_h, asked.budget_usd
    return {
        "deadline": [] if hours is None else [{"hours": hours, "text": f"deadline {wording.given(hours)} h"}],
        "budget": [] if usd is None else [{"cost": float(usd), "text": f"budget {wording.usd(usd)}"}],
    }


def data(decision: Decision) -> dict[str, list[dict[str, Any]]]:
    """All that the chart of one workload needs, by the names that `layers` uses."""
    shown, asked = points(decision), limits(decision)
    near, beyond = {}, []
    for name, key in (("deadline", "hours"), ("budget", "cost")):
        near[name] = [one for one in asked[name] if _is_near(one[key], key, shown)]
        beyond += [f"{one['text']}: beyond the chart" for one in asked[name] if one not in near[name]]
    hours, costs = [one["hours"] for one in near["deadline"]], [one["cost"] for one in near["budget"]]
    labels.place(shown, hours, costs, PICTURE_WIDTH_PX, HEIGHT_PX)
    return {"points": shown, **near, "beyond": [{"text": ", ".join(beyond)}] if beyond else []}


def _is_near(limit: float, key: str, shown: Sequence[dict[str, Any]]) -> bool:
    lows, highs = ([one[f"{key}_{end}"] for one in shown] for end in ("low", "high"))
    return not shown or min(lows) / FAR <= limit <= max(highs) * FAR


def layers(prefix: str = "") -> Spec:
    """The chart, its data sets named with that prefix."""
    x = {
        "field": "hours",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": labels.PADDING_PX},
        "title": "time of the whole job, hours",
    }
    y = {
        "field": "cost",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": labels.PADDING_PX},
        "title": "bill of the whole job, USD",
    }
    axis = {"format": "~r", "labelOverlap": True, "tickCount": 5}
    at = {"x": {**x, "axis": axis}, "y": {**y, "axis": axis}}
    dashed = {"type": "rule", "color": "var(--limit)", "strokeDash": [6, 4], "strokeWidth": 1.5}
    note = {"type": "text", "color": "var(--limit)", "fontSize": 12}
    source = {"field": "source", "type": "nominal"}
    thin = {"type": "rule", "strokeWidth": 1.5, "opacity": INTERVAL_OPACITY}
    stroke = {"color": {**source, "scale": _scale([f"var(--{name})" for name in SOURCES]), "legend": None}}
    across = {"x": {**at["x"], "field": "hours_low"}, "x2": {"field": "hours_high"}, "y": at["y"], **stroke}
    upright = {"x": at["x"], "y": {**at["y"], "field": "cost_low"}, "y2": {"field": "cost_high"}, **stroke}
    left, foot = {"x": {"value": 0}}, {"y": {"value": "height"}}
    return {
        "resolve": {
            "legend": {"color": "independent"}
        },  # else switching it off for the intervals does so for the marks
        "layer": [
            _layer(f"{prefix}deadline", dashed, {"x": at["x"]}),
            _layer(f"{prefix}deadline", {**note, "align": "right", "dx": -5, "dy": -9}, {"x": at["x"], **foot, **TEXT}),
            _layer(f"{prefix}budget", dashed, {"y": at["y"]}),
            _layer(f"{prefix}budget", {**note, "align": "left", "dy": -7, "dx": 4}, {"y": at["y"], **left, **TEXT}),
            _layer(f"{prefix}beyond", {**note, "align": "left"}, {"x": {"value": 6}, "y": {"value": 10}, **TEXT}),
            _layer(f"{prefix}points", FRONT, {**at, "order": {"field": "hours"}}, "datum.front"),
            _layer(f"{prefix}points", thin, across),
            _layer(f"{prefix}points", thin, upright),
            _layer(f"{prefix}points", LEADER, {**at, "x2": {"field": "hours"}, "y2": {"field": "cost"}}, FAR_LABEL),
            *_labels(f"{prefix}points", {**at, **NAME}),
            _layer(f"{prefix}points", RING, at, "datum.chosen"),
            _layer(f"{prefix}points", {"type": "point", "size": 90, "opacity": 1}, {**at, **_marks()}),
        ],
    }


def _labels(name: str, encoding: Spec) -> list[Spec]:
    """On a ground of their own, so that lines do not run through them."""
    ground = {"stroke": "var(--paper)", "strokeWidth": 4, "strokeJoin": "round", "opacity": 0.85}
    return [_layer(name, {**LABEL, **look}, encoding, "datum.label") for look in (ground, {})]


TEXT = {"text": {"field": "text"}}
NAME = {"text": {"field": "label"}}
PLACED: Spec = {side: {"expr": f"datum.{side}"} for side in ("dx", "dy", "align")}  # labels.py
LABEL: Spec = {"type": "text", "color": "var(--ink)", "fontSize": 12, **PLACED}
LEADER: Spec = {
    **{"type": "rule", "color": "var(--muted)", "strokeWidth": 1},
    **{f"{axis}2Offset": {"expr": f"datum.d{axis}"} for axis in "xy"},
}
FAR_LABEL = f"datum.label && abs(datum.dy) > {labels.BESIDE_PX}"
FRONT = {"type": "line", "interpolate": "step-after", "color": "var(--front)", "strokeWidth": 3}
RING = {"type": "point", "filled": False, "size": 420, "stroke": "var(--chosen)", "strokeWidth": 3, "opacity": 1}


def _layer(name: str, mark: Spec, encoding: Spec, only: str = "") -> Spec:
    layer = {"data": {"name": name}, "mark": mark, "encoding": encoding}
    return {**layer, "transform": [{"filter": only}]} if only else layer


def _scale(values: Sequence[str]) -> Spec:
    return {"domain": list(SOURCES), "range": list(values)}


def _marks() -> Spec:
    """Timed sources are filled, estimates hollow."""
    source: Spec = {"field": "source", "type": "nominal", "title": None}
    legend = {"orient": "bottom", "symbolSize": 90, "columns": LEGEND_COLUMNS}
    strokes = [f"var(--{name})" for name in SOURCES]
    fills = ["var(--paper)" if name in wording.ESTIMATES else f"var(--{name})" for name in SOURCES]
    tips = (("instance", "instance"), ("source", "source"), ("time", "time"), ("bill", "bill"), ("why", "why"))
    return {
        "stroke": {**source, "scale": _scale(strokes), "legend": legend},
        "fill": {**source, "scale": _scale(fills), "legend": legend},
        "shape": {**source, "scale": _scale(SHAPES), "legend": legend},
        "strokeWidth": {"value": 2},
        "tooltip": [{"field": field, "title": title, "type": "nominal"} for field, title in tips],
    }


def config() -> Spec:
    """Fonts and colours that all layers share."""
    quiet = {"labelColor": "var(--ink)", "titleColor": "var(--ink)", "labelFontSize": 12, "titleFontSize": 12}
    axis = {**quiet, "gridColor": "var(--line)", "domainColor": "var(--muted)", "tickColor": "var(--muted)"}
    return {
        "background": None,
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**axis, "titleFontWeight": "normal", "gridOpacity": 0.6},
        "legend": quiet,
        "title": {"color": "var(--ink)", "anchor": "start", "fontSize": 14},
    }


EMPTY_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="48"><text x="16" y="30" font-family="sans-serif">'
    "No candidate with a price has a number: there is nothing to draw.</text></svg>"
)
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def live(decision: Decision) -> Spec:
    """For the page: as wide as its box."""
    return {"width": "container", "height": HEIGHT_PX, "config": config(), "datasets": data(decision), **layers()}


def svg(decisions: Sequence[Decision]) -> str:
    """A picture of every workload's chart, one under the other, on white. Workloads without a number are left out."""
    import vl_convert  # 30 MB of renderer: only when a picture is asked for

    charts: list[Spec] = []
    datasets: Spec = {}
    for i, one in enumerate(decisions):
        if not points(one):
            continue
        datasets |= {f"{i}-{name}": values for name, values in data(one).items()}
        title = f"{one.workload}: {one.chosen or 'nothing meets the limits'} ({one.verdict})"
        charts.append({"title": title, "width": PICTURE_WIDTH_PX, "height": HEIGHT_PX, **layers(f"{i}-")})
    if not charts:
        return EMPTY_SVG
    settings = {**config(), "background": "var(--paper)"}
    spec = {"$schema": SCHEMA, "config": settings, "datasets": datasets, "vconcat": charts, "spacing": 40}
    return str(vl_convert.vegalite_to_svg(palette.resolve(json.dumps(spec), palette.LIGHT)))
