"""What a running cell tells whoever waits for it: shown, never recorded."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class BoxState:
    """A machine that is paid for."""

    zone: str | None
    """Null: none was found yet."""
    alive_s: float
    """Since its launch."""
    usd: float
    """So far."""
    worst_usd: float
    """What is reserved for it."""


@dataclass(frozen=True)
class Progress:
    """Where a cell is, how fast, and for how much longer."""

    phase: str
    """setup, warm-up, measure, evaluate; launchers add their own (waits, boot ...)."""
    repeat: int
    repeats: int
    step: int | None = None
    fraction: float | None = None
    """Share of the repeat that is done, in [0, 1]."""
    samples_per_second: float | None = None
    remaining_s: float | None = None
    box: BoxState | None = None
    """Of a launcher that pays for a machine."""

    def text(self, unit: str) -> str:
        """Phase, rate, time left and money in words."""
        parts = [f"repeat {self.repeat + 1} of {self.repeats}", self.phase]
        if self.samples_per_second is not None:
            parts.append(f"{self.samples_per_second:,.0f} {unit}s/s")
        if self.remaining_s is not None:
            parts.append(f"{self.remaining_s:.0f} s left in this repeat at most")
        if self.box is not None:
            parts.append(f"{self.box.usd:.3f} of at most {self.box.worst_usd:.2f} USD")
        return ", ".join(parts)


def say(line: str) -> None:
    """A line on stderr. A stream that is full or gone ends nothing that is being measured or paid for."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
