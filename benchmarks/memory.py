"""Memory foretold against the measured peak, both Yocos at two sizes: `python -m benchmarks memory`.

Each run is a fresh process of a few steps, eagerly, as the trace assumes; its peak is what every receipt states: the
resident set on a CPU, what torch allocated on an accelerator. Foretold: estimate/memory.py, with the runtime's own
memory on a CPU. Needs the datasets, as `benchmarks/precision.py` does.
"""

from __future__ import annotations

from typing import Any

from benchmarks.results import ROOT, Result, measure

from yocobench import config
from yocobench.bench import hardware
from yocobench.estimate import memory, traces
from yocobench.plan import plan_cell

TARGET = 0.10
CASES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("yoco-lm", 4, {}),
    ("yoco-lm", 16, {}),
    ("yoco-det", 16, {}),
    ("yoco-det", 64, {"image_size_px": 160}),
)
"""Workload, micro-batch and changed arguments."""


def results() -> list[Result]:
    """Two rows for each case: the step's own memory, and the process's with its runtime."""
    return [row for case in CASES for row in _case(*case)]


def _case(name: str, items: int, args: dict[str, Any]) -> list[Result]:
    study, base = config.study([]), config.workload(name)
    few = {"repeats": 2, "warmup_steps": 1, "max_warmup_s": None, "min_steps": 3, "max_steps": 3}
    study = study.model_copy(update={"protocol": study.protocol.model_copy(update=few)})
    workload = base.model_copy(
        update={
            "global_batch_size": items,
            "micro_batch_size": items,
            "compile": False,
            "args": {**base.args, **args},
        }
    )
    (subset,) = config.subsets(["smoke"])
    planned = plan_cell(study, workload, subset, config.instance("local"), hardware.detect(), ROOT)
    (run,) = measure(planned.spec, repeat=1).repeats
    assert run.peak_memory_bytes is not None, run.reason
    assert run.runtime_memory_bytes is not None
    need = traces.memory_need(workload, planned.spec.precision).peak_bytes(items)
    runtime = memory.RUNTIME_BYTES if planned.spec.kind == "cpu" else 0
    size = "".join(f", {key} {value}" for key, value in args.items())
    what = f"{name}, micro-batch {items}{size}"
    return [
        _row(f"{what}: the step's memory", need, run.peak_memory_bytes - run.runtime_memory_bytes),
        _row(f"{what}: with the runtime's", need + runtime, run.peak_memory_bytes),
    ]


def _row(what: str, foretold: int, measured: int) -> Result:
    return Result(
        what=f"{what}, foretold",
        value=f"{foretold / 2**20:,.0f} MiB",
        against=f"{measured / 2**20:,.0f} MiB measured",
        ratio=foretold / measured,
        target=f"within {TARGET:.0%}",
        met=abs(foretold / measured - 1) <= TARGET,
    )
