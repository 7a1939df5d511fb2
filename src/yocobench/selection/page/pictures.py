"""Parts of each bill, and estimates against measurements, as Vega-Lite. Tables and lists beside them say the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yocobench.selection import wording
from yocobench.selection.checked import Checked, Rates
from yocobench.selection.decision import Decision, Row
from yocobench.selection.page.chart import LEGEND_COLUMNS, MOST_ROWS, ROW_PX, Spec, config


def parts(decision: Decision) -> Spec | None:
    """One-off and steady part of the bills of the first six that can be chosen; null without any."""
    rows = [row for row in decision.rows if row.can_be_chosen and row.cost_usd is not None][:MOST_ROWS]
    if not rows:
        return None
    data = [
        _part(row, name, hours)
        for row in rows
        for name, hours in (("one-off", row.one_off_h), ("steady", row.steady_h))
    ]
    y = {"field": "instance", "type": "nominal", "sort": None, "title": None, "axis": {"ticks": False}}
    colour = {"domain": ["one-off", "steady"], "range": ["var(--two)", "var(--one)"]}
    x = {"field": "usd", "type": "quantitative", "title": "bill, USD", "axis": {"tickCount": 5}}
    return {
        "width": "container",
        "height": (ROW_PX - 8) * len(rows),
        "config": config(),
        "data": {"values": data},
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "x": x,
            "y": y,
            "color": {
                "field": "part",
                "type": "nominal",
                "scale": colour,
                "legend": {"orient": "bottom", "title": None, "columns": LEGEND_COLUMNS},
            },
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [{"field": field, "type": "nominal"} for field in ("instance", "part", "hours", "bill")],
        },
    }


def _part(row: Row, name: str, hours: float) -> dict[str, Any]:
    assert row.cost_usd is not None
    usd = float(row.cost_usd) * hours / row.hours if row.hours else 0.0
    mark = wording.mark(row.source)
    told = {"hours": f"{mark}{wording.hours(hours)}", "bill": f"{mark}{wording.usd(usd)}"}
    return {"instance": row.instance, "part": name, "order": int(name == "steady"), "usd": usd, **told}


def checks(found: Sequence[Checked]) -> Spec | None:
    """Estimate over measurement with its interval, for each measured cell; null without any."""
    known = [(f"{one.workload} on {one.instance}", one.rates, one.unit) for one in found if one.rates is not None]
    if not known:
        return None
    # The measurement itself belongs into the picture, and a single interval needs room on both sides.
    low = min([0.5, *(rates.estimated_low / rates.measured for _, rates, _ in known)])
    high = max([2.0, *(rates.estimated_high / rates.measured for _, rates, _ in known)])
    axis = {"title": "estimated over measured", "format": "~r", "tickCount": 5, "labelOverlap": True}
    x = {"type": "quantitative", "scale": {"type": "log", "domain": [low, high], "nice": False}, "axis": axis}
    y = {"field": "cell", "type": "nominal", "sort": None, "title": None, "axis": {"ticks": False, "labelLimit": 140}}
    tips = [{"field": field, "type": "nominal"} for field in ("cell", "measured", "estimated")]
    one: Spec = {"values": [{"at": 1}]}
    at = {**x, "field": "at"}
    point = {"x": {**x, "field": "ratio"}, "y": y, "tooltip": tips}
    return {
        "width": "container",
        "height": ROW_PX * len(known),
        "config": config(),
        "data": {"values": [_check(*one) for one in known]},
        "layer": [
            {"data": one, "mark": MEASURED, "encoding": {"x": at}},
            {"data": one, "mark": NAME, "encoding": {"x": at, "y": {"value": -6}, "text": {"value": "measured"}}},
            {"mark": INTERVAL, "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y}},
            {"mark": POINT, "encoding": point},
        ],
    }


MEASURED = {"type": "rule", "strokeWidth": 2, "color": "var(--measured)"}
NAME = {"type": "text", "align": "left", "dx": 5, "color": "var(--measured)", "fontSize": 12}
INTERVAL = {"type": "rule", "strokeWidth": 2, "color": "var(--estimated)"}
POINT = {
    **{"type": "point", "shape": "square", "size": 90, "stroke": "var(--estimated)", "fill": "var(--paper)"},
    **{"strokeWidth": 2, "opacity": 1},
}


def _check(cell: str, rates: Rates, unit: str) -> dict[str, Any]:
    return {
        "cell": cell,
        "ratio": rates.estimated / rates.measured,
        "low": rates.estimated_low / rates.measured,
        "high": rates.estimated_high / rates.measured,
        "measured": f"{wording.number(rates.measured)} {unit}s/s",
        "estimated": f"~{wording.number(rates.estimated)} {unit}s/s",
    }
