"""Traces of workload configs, made once: kept in this process and in mlruns/cache/, by code and config.

A trace takes torch and seconds; what it says changes with the model's code and this package. torch's version is no
part of a kept trace's name: a box with another torch must split the batch as was planned here (aws/bundle.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from yocobench.code_digest import code_md5
from yocobench.estimate import memory
from yocobench.estimate.operations import Operation, Trace
from yocobench.files import write_atomic
from yocobench.schema import Precision, WorkloadConfig

CACHE = Path("mlruns") / "cache"
LIMIT_S = 600.0
"""For building a model and tracing it, which takes seconds."""
TRACERS = [Path(__file__).with_name(f"{name}.py") for name in ("trace", "fused", "alive", "operations", "workspace")]


def trace(workload: WorkloadConfig, micro_batch_size: int, low_precision: bool) -> Trace:
    """The step of a workload at a micro-batch. Raises ValueError when it cannot be built or traced."""
    return _trace(_traced(workload).model_dump_json(by_alias=True), micro_batch_size, low_precision)


def _traced(workload: WorkloadConfig) -> WorkloadConfig:
    """Without what a trace does not depend on: one serves all settings that a tuning tries."""
    return workload.model_copy(update={"micro_batch_size": None, "threads": None, "processes": None, "precision": None})


def memory_need(workload: WorkloadConfig, precision: Precision) -> memory.MemoryNeed:
    """Bytes of a step by micro-batch, compiled unless the workload says never. Raises ValueError as `trace` does."""
    small, large = (trace(workload, batch, memory.is_low(precision)) for batch in memory.TRACED_BATCHES)
    return memory.from_traces(small, large, workload.compile is not False)


def memory_files(workload: WorkloadConfig, precision: Precision) -> list[Path]:
    """The kept traces that `memory_need` reads, relative to the root."""
    return [_path(workload, batch, memory.is_low(precision)) for batch in memory.TRACED_BATCHES]


@functools.lru_cache(maxsize=128)
def _trace(workload_json: str, micro_batch_size: int, low_precision: bool) -> Trace:
    workload = WorkloadConfig.model_validate_json(workload_json)
    path = _path(workload, micro_batch_size, low_precision)
    kept = _read(path)
    if kept is not None:
        return kept
    where = f"conf/workload/{workload.name}.yaml"
    try:
        with _limited():
            found = _traced_anew(workload, micro_batch_size, low_precision, where)
    except (ImportError, SyntaxError) as error:
        needed = f"importing what {workload.target} needs"
        raise ValueError(f"{where}: {needed}: {type(error).__name__}: {error}") from error
    except _TooLong as at:
        said = f"{workload.target} was not built and traced after {LIMIT_S:g} s"
        raise NotBuilt(f"{where}: {said}; its code was at {at}") from None
    with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds, not the answer
        write_atomic(path, json.dumps(dataclasses.asdict(found)))
    return found


def _traced_anew(workload: WorkloadConfig, micro_batch_size: int, low_precision: bool, where: str) -> Trace:
    from yocobench.bench.workloads import build_workload
    from yocobench.estimate.trace import trace_workload

    built = build_workload(workload)  # says itself which file is wrong
    try:
        return trace_workload(built, micro_batch_size, low_precision)
    except (ValueError, SystemExit) as error:
        ended = "its code ends the process: sys.exit " if isinstance(error, SystemExit) else ""
        raise ValueError(f"{where}: {ended}{error}") from error


class NotBuilt(ValueError):
    """A model that takes for ever to build: each further attempt would, too."""


class _TooLong(BaseException):
    """Where the code was. No Exception: a user's code may catch those and try again."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raises _TooLong after LIMIT_S: no launcher watches yet, and a model may wait for ever, for a download, say.

    Signals are handled in the main thread only: in another one there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, frame: FrameType | None) -> NoReturn:
        assert frame is not None
        raise _TooLong(f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _path(workload: WorkloadConfig, micro_batch_size: int, low_precision: bool) -> Path:
    known = hashlib.sha256(f"{code_md5(workload)} {micro_batch_size} {low_precision}".encode())
    known.update(_traced(workload).model_dump_json(by_alias=True).encode())
    for path in TRACERS:
        known.update(path.read_bytes())
    return CACHE / f"trace-{known.hexdigest()[:16]}.json"


def _read(path: Path) -> Trace | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        for name in ("operations", "optimizer"):
            raw[name] = tuple(Operation(**{**one, "shape": tuple(one["shape"])}) for one in raw[name])
        return Trace(**raw)
    except (OSError, ValueError, TypeError, KeyError):
        return None
