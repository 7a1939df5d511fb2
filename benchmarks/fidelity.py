"""Does the short benchmark tell the truth about a long run? `python -m benchmarks fidelity`.

A trial measures a cell by a short protocol (three repeats of some steps, as reported by `dvc repro`, with its interval)
and then one run, in a process of its own, of 20 times as many timed seconds as a repeat may take. Counted: the trials
whose long run lies inside the short one's interval, and the median error. The cell is small so that a trial takes half
a minute; the protocol's rules are those of params.yaml.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass

from benchmarks.results import Result, cell, measure

from yocobench.bench.measurement import RepeatResult
from yocobench.bench.stability import stability
from yocobench.bench.statistics import summarize
from yocobench.schema import Protocol

TRIALS = 4
SHORT_S = 1.0
TIMES = 20
TARGET_INSIDE, TARGET_ERROR = 0.90, 0.01


@dataclass(frozen=True)
class Trial:
    """Samples per second."""

    short: float
    low: float
    high: float
    long: float
    disturbed: str
    """The first thing that the verdicts on its repeats named (bench/stability.py), noise apart; empty: nothing."""

    @property
    def inside(self) -> bool:
        return self.low <= self.long <= self.high

    @property
    def error(self) -> float:
        return abs(self.short / self.long - 1)


def protocol(repeats: int, max_measure_s: float, target: float, seed: int) -> Protocol:
    """The study's rules with another cap."""
    return Protocol(
        repeats=repeats,
        warmup_steps=3,
        max_warmup_s=1.0,
        min_steps=10,
        max_steps=1_000_000,
        max_measure_s=max_measure_s,
        target_relative_half_width=target,
        timeout_s=900,
        seed=seed,
    )


def trial(number: int, short_s: float = SHORT_S) -> Trial:
    """One short measurement and one long run, the long one first in every other trial."""
    short_cell = cell(protocol(3, short_s, TARGET_ERROR, 100 * number))
    long_cell = cell(protocol(1, TIMES * short_s, 1e-9, 100 * number + 50))
    if number % 2:
        long, short = measure(long_cell), measure(short_cell)
    else:
        short, long = measure(short_cell), measure(long_cell)
    found = summarize(short)
    rates = (found.samples_per_second, found.samples_per_second_low, found.samples_per_second_high)
    long_rate = summarize(long).samples_per_second
    assert long_rate is not None, long.reason
    said = [text for r in (*short.repeats, *long.repeats) for text in _said(r)]
    return Trial(*rates, long_rate, said[0] if said else "")  # type: ignore[arg-type]


def _said(repeat: RepeatResult) -> tuple[str, ...]:
    verdict = stability(repeat.step_times_s, repeat.activity, TARGET_ERROR)
    return verdict.reasons if verdict is not None and verdict.verdict in ("trending", "disturbed") else ()


def rows(trials: list[Trial]) -> list[Result]:
    """All trials, and those on which no verdict said that something else used the machine."""
    quiet = [one for one in trials if not one.disturbed]
    return [
        *_rows(trials, f"{len(trials)} trials"),
        *(_rows(quiet, f"{len(quiet)} undisturbed trials") if quiet else []),
    ]


def _rows(trials: list[Trial], count: str) -> list[Result]:
    inside = sum(one.inside for one in trials) / len(trials)
    error = statistics.median(one.error for one in trials)
    bias = statistics.median(one.short / one.long for one in trials)
    width = statistics.median((one.high - one.low) / 2 / one.short for one in trials)
    return [
        Result(
            f"a run {TIMES} times longer inside the short one's interval",
            f"{inside:.0%} of {count}",
            f"interval of +-{width:.1%} (median)",
            None,
            f"at least {TARGET_INSIDE:.0%}",
            inside >= TARGET_INSIDE,
        ),
        Result(
            f"throughput reported against a run {TIMES} times longer",
            f"error {error:.2%} (median; largest {max(one.error for one in trials):.2%})",
            f"long run, {count}",
            bias,
            f"at most {TARGET_ERROR:.0%}",
            error <= TARGET_ERROR,
        ),
    ]


def results() -> list[Result]:
    """TRIALS trials, each said as it ends."""
    trials = []
    for number in range(TRIALS):
        trials.append(one := trial(number))
        print(
            f"  {one.short:,.0f} [{one.low:,.0f}, {one.high:,.0f}], long {one.long:,.0f} {one.disturbed}",
            file=sys.stderr,
        )
    return rows(trials)
