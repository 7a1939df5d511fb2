"""Error and interval coverage of the estimator on published training throughput: `python benchmarks/estimator.py`.

A pair is two devices with one model, in one source and one precision; its error is that of the estimated ratio of their
throughputs. A third of the models of each kind and of the devices of each architecture are kept aside by rule (every
third name in alphabetical order, beginning with the second); a pair that touches one is held out and enters no fit. `--fit` fits
estimate/constants.py and the spreads of estimate/interval.py on the rest and prints them; nothing is written.
Traces are kept in mlruns/cache/: the first run takes about ten minutes, a later one seconds.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import math
import pickle
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from yocobench.estimate.constants import FITTED, PRIOR_SPREAD, Constants  # noqa: E402
from yocobench.estimate.device import from_chip  # noqa: E402
from yocobench.estimate.interval import SIGMA, Z90  # noqa: E402
from yocobench.estimate.operations import Trace  # noqa: E402
from yocobench.estimate.roofline import step_time  # noqa: E402
from yocobench.schema import Chip  # noqa: E402

CACHE = HERE.parent / "mlruns" / "cache" / "estimator-traces.pkl"
KIND = {"resnet": "convolutional", "resnext": "convolutional", "se-resnext": "convolutional", "ssd": "convolutional",
        "efficientnet": "depthwise", "unet": "convolutional", "waveglow": "convolutional", "bert": "transformer",
        "txl": "transformer", "vit": "transformer", "mpt": "language model", "gnmt": "recurrent",
        "tacotron": "recurrent", "ncf": "embeddings"}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One published throughput."""

    group: str
    model: str
    low: bool
    device: str
    micro_batch: int
    accumulation: int
    throughput: float
    unit: str

    @property
    def key(self) -> tuple[str, int, bool]:
        return self.model, self.micro_batch, self.low

    @property
    def name(self) -> str:
        """The model, MPT without its sequence length."""
        return "-".join(self.model.split("-")[:2]) if self.model.startswith("mpt") else self.model

    @property
    def kind(self) -> str:
        return next(kind for start, kind in KIND.items() if self.model.startswith(start))


@dataclass(frozen=True)
class Pair:
    """Two rows that differ in the device."""

    a: Row
    b: Row

    @property
    def measured(self) -> float:
        return math.log(self.a.throughput / self.b.throughput)


def table(name: str) -> list[dict[str, str]]:
    """A csv of benchmarks/data/ without its comment lines."""
    with (HERE / "data" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def published() -> list[Row]:
    """Per group, model, precision and device the row with the largest micro-batch."""
    best: dict[tuple[str, str, bool, str], Row] = {}
    for r in table("published_training.csv"):
        low = r["precision"] == "low"
        row = Row(
            r["group"], r["model"], low, r["device"], int(r["micro_batch"]), int(r["accumulation"]),
            float(r["throughput"]), r["unit"],
        )  # fmt: skip
        key = row.group, row.model, low, row.device
        if key not in best or row.micro_batch > best[key].micro_batch:
            best[key] = row
    return list(best.values())


def chips() -> dict[str, Chip]:
    """The devices as the catalogue would describe them."""
    found = {}
    for r in table("devices.csv"):
        peaks = {name: float(r[name]) if r[name] else None for name in ("fp32", "tf32", "fp16")}
        rates = {"peak_tflops": peaks, "memory_gb_per_s": float(r["memory_gb_per_s"]),
                 "board_power_w": float(r["board_power_w"]), "source": "data/devices.csv"}
        found[r["device"]] = Chip.model_validate(
            {"name": r["device"], "kind": "cuda", "identity": [], "precision": "fp16",
             "compute_capability": r["compute_capability"], "rates": {**rates, "as_of": "2026-11-23"}}
        )  # fmt: skip
    return found


def pairs(rows: Iterable[Row]) -> list[Pair]:
    """All pairs of devices in one group, model and precision, in alphabetical order."""
    groups: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group, row.model, row.low].append(row)
    found = []
    for members in groups.values():
        found += [Pair(a, b) for a, b in itertools.combinations(sorted(members, key=lambda r: r.device), 2)]
    return found


def aside(names: dict[str, str]) -> set[str]:
    """Of each stratum (name -> kind of model, or architecture) every third name, beginning with the second."""
    strata: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        strata[names[name]].append(name)
    return {name for members in strata.values() for name in members[1::3]}


def trace_row(key: tuple[str, int, bool]) -> Trace:
    import published_models
    import torch

    from yocobench.estimate.trace import trace_module

    torch.set_num_threads(1)
    name, batch, low = key
    with torch.device("meta"):
        module, loss, example = published_models.make(name, batch)
    return trace_module(module, loss, example, batch, low)


def traces(keys: Sequence[tuple[str, int, bool]]) -> dict[tuple[str, int, bool], Trace]:
    """Traces of all rows, from the cache where the code that makes them is unchanged."""
    sources = [HERE / "published_models.py", *(HERE.parent / "src/yocobench/estimate" / f"{n}.py" for n in ("trace", "fused"))]
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    known: dict[str, Any] = pickle.loads(CACHE.read_bytes()) if CACHE.is_file() else {}
    found = known.get("traces", {}) if known.get("stamp") == stamp else {}
    missing = [key for key in keys if key not in found]
    for done, key in enumerate(missing):
        print(f"\rtracing {done + 1}/{len(missing)} {key[0]} x {key[1]}        ", end="", file=sys.stderr)
        found[key] = trace_row(key)
    if missing:
        print(file=sys.stderr)
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        CACHE.write_bytes(pickle.dumps({"stamp": stamp, "traces": found}))
    return found


class Model:
    """Estimated throughput of rows, by constants."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.chips = chips()
        self.traces = traces(sorted({row.key for row in rows}))

    def log_rate(self, rows: Iterable[Row], constants: Constants) -> dict[Row, float]:
        """log(items per second) of each row."""
        devices = {}
        found = {}
        for row in rows:
            if (row.device, row.low) not in devices:
                precision = "fp16" if row.low else "fp32"
                devices[row.device, row.low] = from_chip(self.chips[row.device], precision, constants=constants)
            seconds = step_time(self.traces[row.key], devices[row.device, row.low], row.accumulation).total_s
            found[row] = math.log(row.micro_batch * row.accumulation / seconds)
        return found


def errors(rates: dict[Row, float], of: Iterable[Pair]) -> np.ndarray:
    """log(estimated ratio / measured ratio)."""
    return np.array([rates[p.a] - rates[p.b] - p.measured for p in of])


@dataclass(frozen=True)
class Split:
    """Which pairs may be fitted on."""

    models: set[str]
    devices: set[str]

    def part(self, pair: Pair) -> str:
        model = pair.a.name in self.models
        device = pair.a.device in self.devices or pair.b.device in self.devices
        return {(0, 0): "fitted on", (1, 0): "unseen model", (0, 1): "unseen device", (1, 1): "both unseen"}[model, device]


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
    return {
        level: float(np.quantile(np.abs(off[np.array(near) == level]), 0.9) / Z90) for level in ("family", "kind")
    }


def absolute(model: Model, rows: Sequence[Row], rates: dict[Row, float]) -> np.ndarray:
    """log(measured / estimated) of throughputs themselves, where the unit is one item of the batch, or tokens of MPT."""
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
        constants = fit(model, [p for p, where in zip(everything, part, strict=True) if where == "fitted on"], FITTED)
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
    print(f"\nThroughput itself, without any measurement: measured / estimated {math.exp(np.median(whole)):.2f} (median), "
          f"spread of the logarithm {np.std(whole):.2f}, {len(whole)} rows")  # fmt: skip
    return 0


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
