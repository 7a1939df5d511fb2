"""Does the short benchmark tell the truth about a long run? `python -m benchmarks fidelity`.

A trial measures a cell by a short protocol (three repeats of some steps, as reported by `dvc repro`, with its interval)
and one run, in a process of its own, of 20 times as many timed seconds as a repeat may take. Counted: the trials whose
long run lies inside the short one's interval, and the median error. Trials come in pairs, whose repeats are taken in
turn, as `dvc repro` takes those of cells that share a machine. The cell is small so that a pair takes three minutes;
the protocol's rules are those of params.yaml.

Other tenants of a host change its speed by tens of per cent from one minute to the next, and no protocol predicts
that. So the cell's loader multiplies two matrices before each batch, which the harness clocks as waiting for data, and
the same runs are compared again at equal speed of the host: samples for each second of those products.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from benchmarks.results import Perceptron, Result, cell, measure, without_data
from torch import Tensor

from yocobench.bench.measurement import RepeatResult
from yocobench.bench.stability import stability
from yocobench.bench.statistics import pooled_rate, throughput
from yocobench.schema import CellSpec, Protocol

PAIRS = 5
SHORT_S = 2.0
TIMES = 20
TARGET_INSIDE, TARGET_ERROR = 0.90, 0.01


class Probed(Perceptron):
    """With a product of about a step's FLOPs before each batch."""

    def batches(self, data: Path | None, num_items: int | None, batch_size: int, seed: int) -> Iterator[Tensor]:
        one, other = torch.randn(self.width, self.width), torch.randn(self.width, 2 * self.width)
        for batch in super().batches(data, num_items, batch_size, seed):
            torch.mm(one, other)
            yield batch


PROBED = without_data(Probed)


@dataclass(frozen=True)
class Comparison:
    """Rates in one unit: the short measurement's with its interval, and the long run's."""

    short: float
    low: float
    high: float
    long: float

    @property
    def inside(self) -> bool:
        return self.low <= self.long <= self.high

    @property
    def error(self) -> float:
        return abs(self.short / self.long - 1)


@dataclass(frozen=True)
class Trial:
    """What a short measurement and a long run said."""

    reported: Comparison
    """Samples per second."""
    at_equal_speed: Comparison
    """Samples for each second of the products, whatever the host's speed was."""
    disturbed: str
    """The first thing that the verdicts on its repeats named (bench/stability.py), noise apart; empty: nothing."""


def protocol(repeats: int, max_measure_s: float, target: float, seed: int) -> Protocol:
    """The study's rules with another cap."""
    return Protocol(
        repeats=repeats,
        warmup_steps=3,
        max_warmup_s=3.0,
        min_steps=10,
        max_steps=1_000_000,
        max_measure_s=max_measure_s,
        target_relative_half_width=target,
        timeout_s=900,
        seed=seed,
    )


def pair(number: int, short_s: float = SHORT_S) -> list[Trial]:
    """Two short measurements in turn and their long runs, those first in every other pair."""
    short_cells = [cell(protocol(3, short_s, TARGET_ERROR, 100 * number + 10 * one), PROBED) for one in (0, 1)]
    long_cells = [cell(protocol(1, TIMES * short_s, 1e-9, 100 * number + 50 + 10 * one), PROBED) for one in (0, 1)]
    if number % 2:
        long = [_repeat(one, 0) for one in long_cells]
    taken = [[_repeat(one, repeat) for one in short_cells] for repeat in range(3)]
    if number % 2 == 0:
        long = [_repeat(one, 0) for one in long_cells]
    return [trial(short, run) for short, run in zip(zip(*taken, strict=True), long, strict=True)]


def _repeat(spec: CellSpec, number: int) -> RepeatResult:
    found = measure(spec, number)
    assert found.outcome == "ok", found.reason
    return found.repeats[0]


def trial(short: Sequence[RepeatResult], long: RepeatResult) -> Trial:
    """What the repeats of a cell foretold of its long run."""
    said = [text for r in (*short, long) for text in _said(r)]
    return Trial(compare(short, long, throughput), compare(short, long, at_equal_speed), said[0] if said else "")


def compare(short: Sequence[RepeatResult], long: RepeatResult, rate: Callable[[RepeatResult], float]) -> Comparison:
    """The pooled rate of several repeats, as a cell reports it, beside that of the long run."""
    assert len(short) > 1
    return Comparison(*pooled_rate([rate(one) for one in short], 0.0), rate(long))


def at_equal_speed(repeat: RepeatResult) -> float:
    """Samples for each second that the products took, over the seconds that the steps took beside them."""
    assert repeat.samples_per_step is not None
    products = sum(repeat.data_wait_s)
    return repeat.samples_per_step * products / (sum(repeat.step_times_s) - products)


def _said(repeat: RepeatResult) -> tuple[str, ...]:
    verdict = stability(repeat.step_times_s, repeat.activity, TARGET_ERROR)
    return verdict.reasons if verdict is not None and verdict.verdict in ("trending", "disturbed") else ()


def rows(trials: list[Trial]) -> list[Result]:
    """All trials, those on which no verdict said that something else used the machine, and all at equal speed."""
    quiet = [one.reported for one in trials if not one.disturbed]
    return [
        *_rows([one.reported for one in trials], f"{len(trials)} trials"),
        *(_rows(quiet, f"{len(quiet)} undisturbed trials") if quiet else []),
        *_rows([one.at_equal_speed for one in trials], f"{len(trials)} trials at equal speed of the host"),
    ]


def _rows(found: list[Comparison], count: str) -> list[Result]:
    inside = sum(one.inside for one in found) / len(found)
    error = statistics.median(one.error for one in found)
    bias = statistics.median(one.short / one.long for one in found)
    width = statistics.median((one.high - one.low) / 2 / one.short for one in found)
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
            f"error {error:.2%} (median; largest {max(one.error for one in found):.2%})",
            f"long run, {count}",
            bias,
            f"at most {TARGET_ERROR:.0%}",
            error <= TARGET_ERROR,
        ),
    ]


def results() -> list[Result]:
    """PAIRS pairs of trials, each said as it ends."""
    trials = []
    for number in range(PAIRS):
        for one in pair(number):
            trials.append(one)
            for name, found in (("reported", one.reported), ("at equal speed", one.at_equal_speed)):
                rates = f"{found.short:,.0f} [{found.low:,.0f}, {found.high:,.0f}], long {found.long:,.0f}"
                print(f"  {name}: {rates}", file=sys.stderr)
            if one.disturbed:
                print(f"  {one.disturbed}", file=sys.stderr)
    return rows(trials)
