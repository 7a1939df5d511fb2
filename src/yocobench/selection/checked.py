"""A measured cell beside the estimate that leaves it out: how wrong the estimates were, in words and as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """Samples per second, measured and estimated, the estimate with its 90 % interval."""

    measured: float
    estimated: float
    estimated_low: float
    estimated_high: float

    @property
    def inside(self) -> bool:
        """Does the interval hold the measurement?"""
        return self.estimated_low <= self.measured <= self.estimated_high


@dataclass(frozen=True)
class Checked:
    """One cell. Null rates: it could not be checked, and `note` says why."""

    workload: str
    instance: str
    rates: Rates | None
    note: str
    """What the estimate was calibrated on, or why there is none."""
    unit: str = "sample"
    """What a sample is."""

    @property
    def line(self) -> str:
        """For lists."""
        if self.rates is None:
            return f"{self.workload} on {self.instance}: not checked: {self.note}"
        found = self.rates
        return (
            f"{self.workload} on {self.instance}: measured {found.measured:,.1f} {self.unit}s/s, "
            f"~{found.estimated:,.1f} estimated without it ({100 * (found.estimated / found.measured - 1):+.0f} %), "
            f"{'inside' if found.inside else 'outside'} its 90 % interval; rests on {self.note}"
        )

    @property
    def warning(self) -> str:
        """To keep in mind about the other estimates of the workload; empty: the interval held."""
        if self.rates is None or self.rates.inside:
            return ""
        off = 100 * (self.rates.estimated / self.rates.measured - 1)
        return (
            f"checked on {self.instance}, the estimate was {off:+.0f} % off, outside its 90 % interval: other "
            "estimates of this workload may be too"
        )
