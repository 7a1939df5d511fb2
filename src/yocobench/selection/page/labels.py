"""Where the names stand in the time-against-cost chart: beside their points, clear of others. page.js does the same.

Vega's own placement of labels needs a canvas, which the renderer of the picture (vl-convert) has not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

PADDING_PX = 24
"""Between the outermost data and the edge, as the scales of the chart have it."""
CHARACTER_PX, LINE_PX = 6.6, 15.0
"""Of a label's font, a little generous."""
POINT_PX = 8.0
"""From a point's middle to its edge."""
PLACES = (
    (9, -12, "left"), (9, 12, "left"), (-9, -12, "right"), (-9, 12, "right"),
    (14, 0, "left"), (-14, 0, "right"), (0, -18, "center"), (0, 18, "center"),
    (14, -28, "left"), (14, 28, "left"), (-14, -28, "right"), (-14, 28, "right"),
    (30, -28, "left"), (30, 28, "left"), (-30, -28, "right"), (-30, 28, "right"),
    (14, -44, "left"), (14, 44, "left"), (-14, -44, "right"), (-14, 44, "right"),
    (60, -44, "left"), (60, 44, "left"), (-60, -44, "right"), (-60, 44, "right"),
)  # fmt: skip
"""dx, dy and alignment, the best first: between the lines of an interval, beside, above, below, then farther away,
where a line leads to them (chart.py)."""
BESIDE_PX = 20
"""Up to this |dy| a name needs no line to its point."""
SHARES = {"left": 0.0, "center": 0.5, "right": 1.0}
"""Of a label's length to the left of where it is put."""
ON_LABEL, ON_POINT, BY_POINT, ON_LINE, OUTSIDE, LATER = 4.0, 2.0, 1.0, 0.3, 8.0, 0.04
"""What it costs a place to lie on another name, on a point, close to a point that is not its own, on the line of an
interval, outside, and to stand later in PLACES."""
CLOSE_PX = 10.0
NUMBERS: dict[str, Any] = {
    "padding": PADDING_PX, "character": CHARACTER_PX, "line": LINE_PX, "point": POINT_PX, "close": CLOSE_PX,
    "places": PLACES, "shares": SHARES, "on_label": ON_LABEL, "on_point": ON_POINT, "by_point": BY_POINT,
    "on_line": ON_LINE, "outside": OUTSIDE, "later": LATER,
}  # fmt: skip
"""For page.js."""


class Box(NamedTuple):
    """Left, right, top and bottom, in pixels from the chart's upper left."""

    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def around(cls, x: float, y: float, half: float) -> Box:
        """A square."""
        return cls(x - half, x + half, y - half, y + half)

    def grown(self, by: float) -> Box:
        """The same with a margin."""
        return Box(self.left - by, self.right + by, self.top - by, self.bottom + by)

    def meets(self, other: Box) -> bool:
        """Do the two share a pixel?"""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


class Axis:
    """Pixels along a logarithmic axis that shows all of these values; the lowest at `start`, the highest at `end`.

    A bill of nothing has no place there: it stands at `start`.
    """

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        logs = [math.log(value) for value in values if value > 0] or [0.0]
        self.low, self.high = min(logs), max(logs)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        """The value's place in pixels."""
        span = self.high - self.low
        if value <= 0:
            return self.start
        part = (math.log(value) - self.low) / span if span else 0.5
        return self.start + part * (self.end - self.start)


def place(
    points: Sequence[dict[str, Any]], hours: Sequence[float], costs: Sequence[float], width: float, height: float
) -> None:
    """Give each point `dx`, `dy` and `align` of its label, the chosen one's first.

    `hours` and `costs`: limits that are drawn too. `width` and `height`: of the chart in pixels.
    """
    if not points:
        return
    across = [*hours, *(one[end] for one in points for end in ("hours_low", "hours_high"))]
    upright = [*costs, *(one[end] for one in points for end in ("cost_low", "cost_high"))]
    at = Axis(across, PADDING_PX, width - PADDING_PX)
    up = Axis(upright, height - PADDING_PX, PADDING_PX)
    marks = [Box.around(at(one["hours"]), up(one["cost"]), POINT_PX) for one in points]
    lines = [Box(at(one["hours_low"]), at(one["hours_high"]), y := up(one["cost"]), y + 1) for one in points]
    lines += [Box(x := at(one["hours"]), x + 1, up(one["cost_high"]), up(one["cost_low"])) for one in points]
    taken: list[Box] = []
    for own, one in sorted(enumerate(points), key=lambda pair: not pair[1]["chosen"]):
        others = [mark.grown(CLOSE_PX) for other, mark in enumerate(marks) if other != own]
        size = CHARACTER_PX * len(one["label"])
        prices = {}
        for later, (dx, dy, align) in enumerate(PLACES):
            left = at(one["hours"]) + dx - size * SHARES[align]
            middle = up(one["cost"]) + dy
            box = Box(left, left + size, middle - LINE_PX / 2, middle + LINE_PX / 2)
            met = ((ON_LABEL, taken), (ON_POINT, marks), (BY_POINT, others), (ON_LINE, lines))
            price = sum(each * sum(map(box.meets, found)) for each, found in met)
            inside = box.left >= 0 and box.right <= width and box.top >= 0 and box.bottom <= height
            prices[dx, dy, align, box] = price + LATER * later + (0 if inside else OUTSIDE)
        one["dx"], one["dy"], one["align"], box = min(prices, key=lambda found: prices[found])
        if one["label"]:
            taken.append(box)
