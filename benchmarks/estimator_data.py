"""The published measurements, their devices and their traced models: what benchmarks/estimator.py works on."""

from __future__ import annotations

import csv
import hashlib
import itertools
import math
import pickle
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yocobench import config
from yocobench.estimate.constants import Constants
from yocobench.estimate.cpus import from_cpu
from yocobench.estimate.device import from_chip
from yocobench.estimate.devices import from_instance
from yocobench.estimate.operations import Trace
from yocobench.estimate.roofline import step_time
from yocobench.estimate.traces import TRACERS
from yocobench.schema import Chip

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "mlruns" / "cache" / "estimator-traces.pkl"
KIND = {"resnet": "convolutional", "resnext": "convolutional", "se-resnext": "convolutional", "ssd": "convolutional",
        "efficientnet": "depthwise", "mobilenet": "depthwise", "mnasnet": "depthwise", "vgg": "convolutional",
        "unet": "convolutional", "alexnet": "convolutional", "googlenet": "convolutional", "waveglow": "convolutional",
        "bert": "transformer", "distilbert": "transformer", "txl": "transformer", "vit": "transformer",
        "mpt": "language model", "gnmt": "recurrent", "tacotron": "recurrent", "ncf": "embeddings"}  # fmt: skip


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


def one_card() -> dict[str, list[Row]]:
    """Per memory layout the throughputs of many models on one card."""
    found: dict[str, list[Row]] = defaultdict(list)
    for r in table("one_card.csv"):
        batch, rate = int(r["micro_batch"]), float(r["images_per_s"])
        found[r["layout"]].append(Row(r["layout"], r["model"], True, r["device"], batch, 1, rate, "images/s"))
    return found


def trainium() -> list[Row]:
    """Throughputs of a whole trn1.32xlarge; the group is the Neuron SDK's version."""
    return [
        Row(
            f"SDK {r['sdk']}", r["model"], True, "trn1.32xlarge", int(r["micro_batch"]), int(r["accumulation"]),
            float(r["throughput"]), r["unit"],
        )
        for r in table("trainium.csv")
    ]  # fmt: skip


def on_trainium(rows: Sequence[Row]) -> dict[Row, float]:
    """log(items per second) of rows as a cell of the catalogue is estimated: compiled, a process on each NeuronCore."""
    instance = config.instance("trn1.32xlarge")
    assert instance.hardware
    assert instance.hardware.neuron_cores
    device, cores = from_instance(instance, "bf16", host=None), instance.hardware.neuron_cores
    known = traces(sorted({row.key for row in rows}))
    found = {}
    for row in rows:
        step = step_time(known[row.key], device, row.accumulation, compiled=True, accelerator_count=cores)
        found[row] = math.log(cores * row.micro_batch * row.accumulation / step.total_s)
    return found


def on_cpus() -> dict[Row, float]:
    """log(items per second) estimated for the rows of cpus.csv, with no host calibrated; the group is the software."""
    found, devices = {}, {}
    for r in table("cpus.csv"):
        low, batch = r["precision"] != "fp32", int(r["micro_batch"])
        row = Row(r["software"], r["model"], low, r["cpu"], batch, 1, float(r["throughput"]), r["unit"])
        peaks = {name: float(r[f"{name}_flops_per_cycle"] or 0) or None for name in ("fp32", "bf16")}
        rates = {"flops_per_cycle_per_core": peaks, "source": "data/cpus.csv", "as_of": "2026-12-01"}
        chip = Chip.model_validate(
            {"name": "published", "kind": "cpu", "identity": [], "precision": r["precision"], "rates": rates}
        )
        devices[row] = from_cpu(
            chip, r["precision"], int(r["cores"]), float(r["sustained_ghz"]), "x86_64", speed=None, host=None
        )
        found[row] = math.log(batch)
    known = traces(sorted({row.key for row in found}))
    return {row: rate - math.log(step_time(known[row.key], devices[row]).total_s) for row, rate in found.items()}


def chips() -> dict[str, Chip]:
    """The devices as the catalogue would describe them."""
    found = {}
    for r in table("devices.csv"):
        peaks = {name: float(r[name]) if r[name] else None for name in ("fp32", "tf32", "fp16")}
        rates = {
            "peak_tflops": peaks,
            "memory_gb_per_s": float(r["memory_gb_per_s"]),
            "board_power_w": float(r["board_power_w"]),
            "source": "data/devices.csv",
        }
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
    import torch
    from benchmarks import published_models

    from yocobench.estimate.trace import trace_module

    torch.set_num_threads(1)
    name, batch, low = key
    with torch.device("meta"):
        module, loss, example = published_models.make(name, batch)
    return trace_module(module, loss, example, batch, low)


def traces(keys: Sequence[tuple[str, int, bool]]) -> dict[tuple[str, int, bool], Trace]:
    """Traces of all rows, from the cache where the code that makes them is unchanged."""
    sources = [*sorted(HERE.glob("*models*.py")), *TRACERS]
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
                precision = "fp16" if row.low else "tf32"  # what published "fp32" is from Ampere on
                devices[row.device, row.low] = from_chip(
                    self.chips[row.device], precision, host_speed=1.0, constants=constants
                )
            seconds = step_time(self.traces[row.key], devices[row.device, row.low], row.accumulation).total_s
            found[row] = math.log(row.micro_batch * row.accumulation / seconds)
        return found


def errors(rates: dict[Row, float], of: Iterable[Pair]) -> np.ndarray:
    """log(estimated ratio / measured ratio)."""
    return np.array([rates[p.a] - rates[p.b] - p.measured for p in of])
