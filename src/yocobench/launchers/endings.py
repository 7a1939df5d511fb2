"""What is recorded of a repeat that could not write its own result: what it had told, and how it ended."""

from __future__ import annotations

import datetime as dt
import signal
import sys
from dataclasses import dataclass, field
from typing import Any

from yocobench.bench.measurement import Outcome, RepeatResult
from yocobench.schema import CellSpec

NO_THREAD = "Thread creation failed: Resource temporarily unavailable"
"""libgomp's last words: a thread's stack is memory, too, and a limit on memory is met there as well as in torch. One on
the number of processes (ulimit -u, pids of a cgroup) sounds the same, and is not told apart."""

ENDED = "RuntimeError: generator raised StopIteration"
"""How Python words a next() within batches() that found no more."""


@dataclass
class Told:
    """What a repeat has said over its pipe."""

    facts: dict[str, Any] = field(default_factory=dict)
    step_times_s: list[float] = field(default_factory=list)
    data_wait_s: list[float] = field(default_factory=list)
    killed_for_memory: bool = False


def timeout_reason(spec: CellSpec) -> str:
    """Why a repeat that took too long was ended."""
    return f"not done after protocol.timeout_s = {spec.protocol.timeout_s:g} s"


def without_result(
    status: int, error: str, number: int, started_at: str, told: Told, spec: CellSpec, timed_out: bool, asked: bool
) -> RepeatResult:
    """The record of a repeat that could not write its own. Raises a mistake or a bug before anything was measured."""
    outcome: Outcome
    file = f"conf/workload/{spec.workload.name}.yaml"
    if status == 0 and not (timed_out or asked):
        status, error = 2, f"{file}: code of {spec.workload.target} ended the process (sys.exit) before it was done"
    elif error.endswith(ENDED):
        status, error = 2, f"{file}: batches() of {spec.workload.target} ended; it must go on: docs/your-model.md"
    if status == 2 and not (number or told.step_times_s):
        raise ValueError(error)
    if status == 2:  # a file that vanished, say: what was measured before stands
        outcome, reason = "interrupted", error
    elif timed_out:
        outcome, reason = "timeout", timeout_reason(spec)
    elif asked:
        outcome, reason = "interrupted", f"stopped after {len(told.step_times_s)} timed steps"
    elif told.killed_for_memory:
        outcome = "out_of_memory"
        reason = f"the kernel killed it for want of memory after {len(told.step_times_s)} timed steps"
    elif status < 0:
        name = signal.Signals(-status).name
        outcome, reason = "killed", f"the process died of {name} after {len(told.step_times_s)} timed steps"
        if name == "SIGKILL":
            reason += "; if nobody killed it, the kernel may have run out of memory (see dmesg)"
    elif NO_THREAD in error:
        outcome = "out_of_memory"
        last = next(line for line in error.splitlines() if NO_THREAD in line)
        reason = f"no memory, or no leave, to start one more thread (ulimit -v, ulimit -u): {last}"
    else:
        bug = f"{spec.label}, repeat {number}: exit status {status}\n{error}"
        if not (number or told.step_times_s):
            raise RuntimeError(bug)
        print(bug, file=sys.stderr)  # with its traceback; what was measured before it stands
        outcome, reason = "interrupted", bug.splitlines()[-1]
    return partial(number, outcome, reason, started_at, told, spec)


def unbegun(number: int, spec: CellSpec) -> RepeatResult:
    """The record of a repeat that was stopped while another cell was measured on the machine."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return partial(number, "interrupted", "stopped while it waited for its turn", now, Told(), spec)


def partial(number: int, outcome: Outcome, reason: str, started_at: str, told: Told, spec: CellSpec) -> RepeatResult:
    """The record of a repeat from what it had told."""
    facts = {"micro_batch_size": spec.micro_batch_size, "accumulation_steps": spec.accumulation_steps, **told.facts}
    return RepeatResult(
        repeat=number,
        outcome=outcome,
        reason=reason,
        started_at=started_at,
        precision=spec.precision,
        step_times_s=tuple(told.step_times_s),
        data_wait_s=tuple(told.data_wait_s),
        **facts,
    )
