"""How numbers and lists read in sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from yocobench.bench.measurement import Source

ESTIMATES = ("estimated", "extrapolated")
"""Numbers of these sources carry a leading ~."""
DECODING = "decoding images on the CPU"
"""What bounds a speed that the chip that trains has no part in."""


def mark(*sources: Source) -> str:
    """~ where one of the numbers that go in is an estimate."""
    return "~" if any(source in ESTIMATES for source in sources) else ""


def number(value: float) -> str:
    """Three significant digits, whole from 100 on; an exponent only under a ten-thousandth."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < 1e-4 else f"{Decimal(f'{value:.2e}'):f}"


def given(value: float) -> str:
    """A number that was chosen, not found: 72 h, and not 72.0 h, which would speak of precision."""
    whole, _, fraction = number(value).partition(".")
    return f"{whole}.{fraction}" if fraction.strip("0") else whole


def spread(mark: str, point: float | Decimal | None, low: float | Decimal | None, high: float | Decimal | None) -> str:
    """The point with its interval; empty where unknown, no interval where it has no width at this precision."""
    if point is None or low is None or high is None:
        return ""
    middle, ends = number(float(point)), (number(float(low)), number(float(high)))
    return f"{mark}{middle}" if ends == (middle, middle) else f"{mark}{middle} ({ends[0]} to {ends[1]})"


def hours(value: float) -> str:
    """With the unit."""
    return f"{number(value)} h"


def usd(value: float | Decimal) -> str:
    """Cents from a dollar on, three digits below. With the unit."""
    amount = float(value)
    return f"{amount:,.2f} USD" if abs(amount) >= 1 else f"{number(amount)} USD"


def percent(share: float) -> str:
    """Of a share; one digit below ten percent."""
    value = 100 * share
    return f"{value:,.0f} %" if abs(value) >= 10 else f"{value:.1f} %"


def probability(value: float, is_open: bool = False) -> str:
    """Never rounded to certainty. `is_open`: its interval leaves the matter open, so all or none of the draws prove
    nothing."""
    if 0 < value < 0.01 or (is_open and value == 0):
        return "under 1 %"
    return "over 99 %" if 0.99 < value < 1 or (is_open and value == 1) else f"{100 * value:.0f} %"


def samples(value: float, unit: str) -> str:
    """As in "2.1 million images"."""
    rounded = float(f"{value:.3g}")  # first: 999,999,999 are a billion, not 1,000 million
    for size, word in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million")):
        if rounded >= size:
            return f"{given(rounded / size)}{word} {unit}s"
    return f"{rounded:,.0f} {unit}{'' if rounded == 1 else 's'}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """a, b and c; long lists end in a count."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
