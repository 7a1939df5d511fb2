"""Traces of workload configs, made once: kept in this process and in mlruns/cache/, by code and config.

A trace takes torch and seconds; what it says changes only with the model's code, torch and this package.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

from yocobench.estimate.operations import Operation, Trace
from yocobench.receipt import write_atomic
from yocobench.schema import WorkloadConfig

CACHE = Path("mlruns") / "cache"
PACKAGE = Path(__file__).resolve().parents[1]


def trace(workload: WorkloadConfig, micro_batch_size: int, low_precision: bool) -> Trace:
    """The step of a workload at a micro-batch. Raises ValueError when it cannot be built or traced."""
    return _trace(workload.model_dump_json(by_alias=True), micro_batch_size, low_precision)


@functools.lru_cache(maxsize=128)
def _trace(workload_json: str, micro_batch_size: int, low_precision: bool) -> Trace:
    workload = WorkloadConfig.model_validate_json(workload_json)
    text = f"{_code(workload.target)} {workload_json} {micro_batch_size} {low_precision}"
    path = CACHE / f"trace-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    from yocobench.bench.workloads import build_workload
    from yocobench.estimate.trace import trace_workload

    found = trace_workload(build_workload(workload), micro_batch_size, low_precision)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds, not the answer
        write_atomic(path, json.dumps(dataclasses.asdict(found)))
    return found


def _read(path: Path) -> Trace | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        for name in ("operations", "optimizer"):
            raw[name] = tuple(Operation(**{**one, "shape": tuple(one["shape"])}) for one in raw[name])
        return Trace(**raw)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _code(target: str) -> str:
    """Digest of what a trace depends on beside its config."""
    found = hashlib.sha256(version("torch").encode())
    own = [PACKAGE / "estimate" / f"{name}.py" for name in ("trace", "fused", "operations")]
    for path in (*own, *sorted((PACKAGE / "bench").rglob("*.py"))):
        found.update(path.read_bytes())
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(target.rpartition(".")[0])
        if spec is not None and spec.origin is not None:
            found.update(Path(spec.origin).read_bytes())
    return found.hexdigest()
