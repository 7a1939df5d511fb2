"""Predicted memory against the measured peak, both Yocos at two sizes: `python -m benchmarks memory`.

Each run is a fresh process of a few steps, compiled where the study would compile; its peak is what every receipt
states: the resident set on a CPU, what torch allocated on an accelerator. The first run compiles, which takes up to
200 MiB more on a CPU, and is not counted; of the next three the median is, since freed memory falls apart differently
from run to run. Foretold: estimate/memory.py, with the runtime's own memory on a CPU. Needs the datasets, as
`benchmarks/precision.py` does.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.results import ROOT, Result, measure

from yocobench import config
from yocobench.bench import hardware
from yocobench.estimate import memory, traces
from yocobench.plan import plan_cell
from yocobench.schema import CellSpec

TARGET = 0.10
RUNS = 3
CASES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("yoco-lm", 4, {}),
    ("yoco-lm", 16, {}),
    ("yoco-det", 16, {}),
    ("yoco-det", 64, {"image_size_px": 160}),
)
"""Workload, micro-batch and changed arguments."""


def results() -> list[Result]:
    """A row for each case."""
    return [_case(*case) for case in CASES]


def _case(name: str, items: int, args: dict[str, Any]) -> Result:
    study, base = config.study([]), config.workload(name)
    few = {"repeats": 2, "warmup_steps": 1, "max_warmup_s": None, "min_steps": 3, "max_steps": 3}
    study = study.model_copy(update={"protocol": study.protocol.model_copy(update=few)})
    workload = base.model_copy(
        update={
            "global_batch_size": items,
            "micro_batch_size": items,
            "args": {**base.args, **args},
        }
    )
    (subset,) = config.subsets(["smoke"])
    planned = plan_cell(study, workload, subset, config.instance("local"), hardware.detect(), ROOT)
    _peak_bytes(planned.spec)  # compiles
    peaks = [_peak_bytes(planned.spec) for _ in range(RUNS)]
    need = traces.memory_need(workload, planned.spec.precision).peak_bytes(items)
    predicted = need + (memory.RUNTIME_BYTES["cpu"] if planned.spec.kind == "cpu" else 0)
    size = "".join(f", {key} {value}" for key, value in args.items())
    return row(f"{name}, micro-batch {items}{size}", predicted, peaks)


def _peak_bytes(spec: CellSpec) -> int:
    (run,) = measure(spec, repeat=1).repeats
    assert run.peak_memory_bytes is not None, run.reason
    return run.peak_memory_bytes


def row(what: str, predicted: int, peaks: Sequence[int]) -> Result:
    """The prediction against the median of the measured peaks, all in bytes."""
    measured = statistics.median(peaks)
    return Result(
        what=f"{what}: peak, predicted",
        value=f"{predicted / 2**20:,.0f} MiB",
        against=f"{measured / 2**20:,.0f} MiB measured ({min(peaks) / 2**20:,.0f} to {max(peaks) / 2**20:,.0f})",
        ratio=predicted / measured,
        target=f"within {TARGET:.0%}",
        met=abs(predicted / measured - 1) <= TARGET,
    )
