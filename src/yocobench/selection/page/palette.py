"""Colours of the page, one set for each theme: the style sheet and the static chart take them from here.

Every text colour has a contrast of 4.5 or more against `paper` and `card` (WCAG 2.2, 1.4.3), every mark 3 or more
(1.4.11); a test computes it. Sources differ in shape and fill too: colour alone tells nobody anything.
"""

from __future__ import annotations

import re

LIGHT = {
    "paper": "#ffffff",
    "card": "#f5f7f9",
    "ink": "#1a1d21",
    "muted": "#545c69",
    "line": "#d3d8df",
    "link": "#0b5cad",
    "measured": "#0b5cad",
    "replayed": "#7a3e9d",
    "extrapolated": "#7d5200",
    "estimated": "#b0400a",
    "chosen": "#0a6b43",
    "limit": "#b00020",
    "front": "#7a828f",
    "one": "#0f6a78",
    "two": "#a3296b",
    "three": "#5a6300",
    "four": "#4a4fb5",
    "five": "#8a4b1f",
    "six": "#b01e3c",
}
DARK = {
    "paper": "#14171b",
    "card": "#1d2126",
    "ink": "#e8eaed",
    "muted": "#a8b0bc",
    "line": "#3a414b",
    "link": "#7cbcfa",
    "measured": "#6cb2f7",
    "replayed": "#c79bea",
    "extrapolated": "#e0b050",
    "estimated": "#f39b63",
    "chosen": "#58d49c",
    "limit": "#ff8f8f",
    "front": "#8a93a1",
    "one": "#5cc9d6",
    "two": "#f08cc0",
    "three": "#c3cf5a",
    "four": "#a9aefa",
    "five": "#e0a57a",
    "six": "#ff9db0",
}
SERIES = ("one", "two", "three", "four", "five", "six")
"""Where names and not sources are told apart; each segment carries its name too."""


def css(palette: dict[str, str]) -> str:
    """As custom properties."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


def resolve(text: str, palette: dict[str, str]) -> str:
    """The text with each var(--name) exchanged for its colour, for pictures that have no style sheet."""
    return re.sub(r"var\(--(\w+)\)", lambda found: palette[found[1]], text)
