"""Error and interval coverage of the estimator on published training throughput: `python -m benchmarks.estimator`.

A pair is two devices with one model, in one source and one precision; its error is that of the estimated ratio of their
throughputs. A third of the models of each kind and of the devices of each architecture are kept aside by rule (every
third name in alphabetical order, beginning with the second); a pair that touches one is held out and enters no fit.
`--fit` fits estimate/constants.py and the spreads of estimate/interval.py on the rest and prints them; nothing is
written.
What the held-out part is blind to is the fit of constants and spreads, not where it started: the starting values
(constants.PRIOR), which also hold the fit back, were chosen while held-out errors were seen. The model's form (energy
term, instruction term) and the rule of the split were settled with both parts in view as well, and `level` is the
median over all rows: expect a little worse on data that nobody here has seen.
Traces are kept in mlruns/cache/: the first run takes about ten minutes, a later one seconds.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from benchmarks.estimator_data import (
    Model,
    Pair,
    Row,
    aside,
    errors,
    on_cpus,
    on_trainium,
    one_card,
    pairs,
    published,
    trainium,
)

from yocobench.estimate.constants import FITTED, PRIOR, PRIOR_SPREAD, Constants
from yocobench.estimate.interval import SIGMA, Z90
from yocobench.schema import Chip


@dataclass(frozen=True)
class Split:
    """Which pairs may be fitted on."""

    models: set[str]
    devices: set[str]

    def part(self, pair: Pair) -> str:
        model = pair.a.name in self.models
        device = pair.a.device in self.devices or pair.b.device in self.devices
        return {(0, 0): "fitted on", (1, 0): "unseen model", (0, 1): "unseen device", (1, 1): "both unseen"}[
            model, device
        ]


def split(rows: Sequence[Row], described: dict[str, Chip]) -> Split:
    """By whole models and whole devices."""
    devices = {row.device: str(described[row.device].compute_capability) for row in rows}
    return Split(aside({row.name: row.kind for row in rows}), aside(devices))


def fit(model: Model, train: Sequence[Pair], start: Constants) -> Constants:
    """Least squares on log ratios of the training pairs, robust, large groups damped, near the starting values."""
    from scipy.optimize import least_squares

    names = Constants.free()
    begin = np.log([getattr(start, name) for name in names])
    spread = np.array([1.0 if name.startswith("pj") else PRIOR_SPREAD for name in names])
    size: dict[Any, int] = defaultdict(int)
    for p in train:
        size[p.a.group, p.a.model, p.a.low] += 1
    weight = np.array([size[p.a.group, p.a.model, p.a.low] ** -0.25 for p in train])
    rows = list(dict.fromkeys(row for p in train for row in (p.a, p.b)))

    def residuals(x: np.ndarray) -> np.ndarray:
        constants = replace(start, **dict(zip(names, map(float, np.exp(x)), strict=True)))
        off = errors(model.log_rate(rows, constants), train)
        return np.concatenate([off * weight / 0.1, (x - begin) / spread])

    found = least_squares(residuals, begin, loss="soft_l1", diff_step=0.02, max_nfev=40)
    return replace(start, **dict(zip(names, (round(float(v), 3) for v in np.exp(found.x)), strict=True)))


def distance(pair: Pair, described: dict[str, Chip]) -> str:
    same = described[pair.a.device].compute_capability == described[pair.b.device].compute_capability
    return "family" if same else "kind"


def spreads(off: np.ndarray, near: Sequence[str]) -> dict[str, float]:
    """Per distance the spread whose 90 % interval just holds 90 % of the errors."""
    return {level: float(np.quantile(np.abs(off[np.array(near) == level]), 0.9) / Z90) for level in ("family", "kind")}


def absolute(model: Model, rows: Sequence[Row], rates: dict[Row, float]) -> np.ndarray:
    """log(measured / estimated) of throughputs themselves, where the unit is an item of the batch or a token of MPT."""
    found = []
    for row in rows:
        items = {"images/s": 1, "sequences/s": 1}.get(row.unit)
        if row.model.startswith("mpt"):
            items = 8 * int(row.model.split("-")[2])  # eight devices
        if items and row.group.startswith(("lambdal", "NVIDIA", "mosaicml")):
            found.append(math.log(row.throughput / items) - rates[row])
    return np.array(found)


def line(name: str, off: np.ndarray, covered: np.ndarray) -> str:
    size = np.abs(np.exp(off) - 1)
    numbers = f"{np.median(size):7.1%} {size.mean():7.1%} {np.quantile(size, 0.9):7.1%} {covered.mean():7.1%}"
    return f"{name:<44}{len(off):>6} {numbers}"


def by(label: str, keys: Sequence[str], off: np.ndarray, covered: np.ndarray, least: int = 1) -> None:
    """Lines for each value of a key, with at least so many pairs."""
    print(f"\n{label:<44}{'pairs':>6} {'median':>7} {'mean':>7} {'p90':>7} {'in 90%':>7}")
    for key in sorted(set(keys)):
        mask = np.array([k == key for k in keys])
        if mask.sum() >= least:
            print(line(key, off[mask], covered[mask]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="fit the constants on the training part and print them")
    parser.add_argument("--pairs", action="store_true", help="also by pair of devices")
    options = parser.parse_args()
    rows = published()
    model = Model(rows)
    everything = pairs(rows)
    kept = split(rows, model.chips)
    part = [kept.part(p) for p in everything]
    constants = FITTED
    if options.fit:
        constants = fit(model, [p for p, where in zip(everything, part, strict=True) if where == "fitted on"], PRIOR)
        print(constants)
    rates = model.log_rate(rows, constants)
    off = errors(rates, everything)
    near = [distance(p, model.chips) for p in everything]
    train = np.array([where == "fitted on" for where in part])
    if options.fit:
        print("SIGMA", spreads(off[train], [n for n, t in zip(near, train, strict=True) if t]))
    covered = np.abs(off) <= Z90 * np.array([SIGMA[level] for level in near])  # type: ignore[index]
    print(f"Kept aside: models {', '.join(sorted(kept.models))}; devices {', '.join(sorted(kept.devices))}")
    by("part", ["all held out" if not t else "fitted on" for t in train], off, covered)
    held = ~train
    pick = lambda keys: [k for k, h in zip(keys, held, strict=True) if h]  # noqa: E731
    by("held out, what is unseen", pick(part), off[held], covered[held])
    by("held out, kind of model", pick([p.a.kind for p in everything]), off[held], covered[held])
    by("held out, distance of the devices", pick(near), off[held], covered[held])
    if options.pairs:
        names = [f"{p.a.device} / {p.b.device}" for p in everything]
        by("held out, pair of devices (5 or more)", pick(names), off[held], covered[held], least=5)
    for name, rate in baselines(rows, model.chips).items():
        by(f"baseline: {name}", ["all held out" if h else "fitted on" for h in held], errors(rate, everything), covered)
    whole = absolute(model, rows, rates)
    ratio, spread = math.exp(np.median(whole)), np.std(whole)
    print(
        f"\nThroughput itself, of {len(whole)} rows: measured / estimated {ratio:.2f} (median), log spread {spread:.2f}"
    )
    many(constants)
    if not options.fit:
        against("Trainium", on_trainium(trainium()))
        against("CPUs", on_cpus())
    return 0


def many(constants: Constants) -> None:
    """Measured over estimated throughput of many models on one card, none of which was fitted on: by kind of model."""
    layouts = one_card()
    model = Model([row for rows in layouts.values() for row in rows])
    for layout, rows in layouts.items():
        rates = model.log_rate(rows, constants)
        print(
            f"\n{f'one card, {layout}: measured / estimated':<44}{'models':>6} {'median':>7} {'least':>7} {'most':>7}"
        )
        for kind in sorted({row.kind for row in rows}):
            ratios = [row.throughput / math.exp(rates[row]) for row in rows if row.kind == kind]
            print(f"{kind:<44}{len(ratios):>6} {np.median(ratios):7.2f} {min(ratios):7.2f} {max(ratios):7.2f}")


def against(title: str, rates: dict[Row, float]) -> None:
    """Measured over estimated throughput by device, model and software."""
    print(f"\n{title:<72}{'measured':>10} {'estimated':>10} {'ratio':>6}")
    for row, rate in rates.items():
        name, estimated = f"{row.device}, {row.model}, {row.group}, {row.unit}", math.exp(rate)
        print(f"{name:<72}{row.throughput:>10.4g} {estimated:>10.4g} {row.throughput / estimated:>6.2f}")


def baselines(rows: Sequence[Row], described: dict[str, Chip]) -> dict[str, dict[Row, float]]:
    """Ratios of datasheet numbers."""
    peak, width = {}, {}
    for row in rows:
        rates = described[row.device].rates
        assert rates is not None
        wide = rates.peak_tflops["fp16"] if row.low else rates.peak_tflops["tf32"] or rates.peak_tflops["fp32"]
        peak[row], width[row] = math.log(wide or 1.0), math.log(rates.memory_gb_per_s or 1.0)
    return {"peak FLOP/s": peak, "memory bandwidth": width}


if __name__ == "__main__":
    sys.exit(main())
