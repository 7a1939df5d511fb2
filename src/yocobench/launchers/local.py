"""Measure on this host: a fresh process per repeat, watched without busy waiting.

A repeat that is killed, stuck or interrupted keeps what it had told: its outcome says what happened and the repeats
before it stand. Ctrl-C and SIGTERM end the running repeat, then the cell.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yocobench.bench import hardware
from yocobench.bench.measurement import Detected, Measurement, Outcome, RepeatResult
from yocobench.bench.system import Sampler
from yocobench.bench.versions import versions
from yocobench.launchers.base import Launcher, Progress
from yocobench.launchers.signals import stop_requests
from yocobench.paths import relative
from yocobench.schema import CellSpec, Instance

GRACE_S = 20.0  # from SIGTERM to SIGKILL: time to write the partial result
SAMPLE_EVERY_S = 2.0
PARENT = os.getppid()


@dataclass
class _Told:
    """What a repeat has said over its pipe."""

    facts: dict[str, Any] = field(default_factory=dict)
    step_times_s: list[float] = field(default_factory=list)
    data_wait_s: list[float] = field(default_factory=list)


class LocalLauncher(Launcher):
    """Runs the cell here, if this host is what the cell names."""

    is_free = True

    def run(self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]) -> Measurement:
        """See Launcher.run. Raises ValueError for a user's mistake found while measuring, RuntimeError for a bug."""
        detected = hardware.detect()
        refused = hardware.mismatch(detected, instance)
        if refused is not None:
            return Measurement(outcome="unmeasured", reason=refused, source="measured", detected=detected)
        return self._measure(spec, root, detected, report)

    def _measure(
        self, spec: CellSpec, root: Path, detected: Detected, report: Callable[[Progress], None]
    ) -> Measurement:
        repeats: list[RepeatResult] = []
        with Sampler(SAMPLE_EVERY_S) as sampler, stop_requests() as stop:
            for number in range(spec.protocol.repeats):
                repeats.append(_repeat(spec, number, root, report, stop))
                if repeats[-1].outcome != "ok":
                    break  # what ended one repeat would end the next: keep the money
        last = repeats[-1]
        ok = any(r.outcome == "ok" for r in repeats) and last.outcome != "interrupted"
        return Measurement(
            outcome="ok" if ok else last.outcome,
            reason=last.reason,
            source="measured",
            detected=detected,
            repeats=tuple(repeats),
            system_samples=sampler.samples,
            versions=versions(),
        )


def _repeat(
    spec: CellSpec, number: int, root: Path, report: Callable[[Progress], None], stop: list[int]
) -> RepeatResult:
    """One repeat in a child process."""
    with tempfile.TemporaryDirectory(prefix="yocobench-") as folder:
        spec_file, out_file, log_file = (Path(folder) / name for name in ("spec.json", "out.json", "stderr"))
        spec_file.write_text(spec.model_dump_json(by_alias=True))
        read_end, write_end = os.pipe()
        started_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        command = [sys.executable, "-m", "yocobench.bench.measure", "--spec", str(spec_file), "--out", str(out_file)]
        command += ["--repeat", str(number), "--progress-fd", str(write_end)]
        with log_file.open("w") as log:
            # A session of its own: Ctrl-C reaches the parent alone, which then ends the child in order.
            child = subprocess.Popen(
                command, cwd=root, stdout=log, stderr=log, pass_fds=[write_end], start_new_session=True
            )
        os.close(write_end)
        told = _Told()
        try:
            timed_out = _watch(child, read_end, spec, number, told, report, stop)
        finally:
            os.close(read_end)
            _end(child)
        if out_file.is_file() and child.returncode == 0:
            result = RepeatResult.model_validate_json(out_file.read_text())
            if timed_out:
                result = result.model_copy(update={"outcome": "timeout", "reason": _timeout_reason(spec)})
            return result
        error = relative(log_file.read_text(errors="replace").strip())
        return _without_result(child.returncode, error, number, started_at, told, spec, timed_out)


def _watch(
    child: subprocess.Popen[bytes],
    read_end: int,
    spec: CellSpec,
    number: int,
    told: _Told,
    report: Callable[[Progress], None],
    stop: list[int],
) -> bool:
    """Read the child's progress until its end of the pipe closes; True if it ran out of time."""
    deadline = time.monotonic() + spec.protocol.timeout_s
    timed_out, asked, buffer = False, False, b""
    with selectors.DefaultSelector() as selector:
        selector.register(read_end, selectors.EVENT_READ)
        while True:
            ready = selector.select(timeout=1.0)
            if "DVC_STAGE" in os.environ and os.getppid() != PARENT and not stop:
                stop.append(signal.SIGTERM)  # `dvc repro` was killed: nobody waits for this cell any more
            if not asked and (stop or time.monotonic() > deadline):
                timed_out, asked = not stop, True
                deadline = time.monotonic() + GRACE_S
                # To the child alone, which stops its loader workers in order; _end() looks after any that are left.
                child.send_signal(stop[0] if stop else signal.SIGTERM)
            elif asked and time.monotonic() > deadline:
                return timed_out
            if not ready:
                if child.poll() is not None:
                    return timed_out
                continue
            chunk = os.read(read_end, 1 << 16)
            if not chunk:
                return timed_out
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                _hear(json.loads(line), spec, number, told, report)


def _hear(
    message: dict[str, Any], spec: CellSpec, number: int, told: _Told, report: Callable[[Progress], None]
) -> None:
    told.step_times_s += message.pop("step_times_s", [])
    told.data_wait_s += message.pop("data_wait_s", [])
    phase, step, elapsed = message.pop("phase"), message.pop("step", None), message.pop("elapsed_s", None)
    told.facts.update(message)
    rate = fraction = remaining = None
    if elapsed:
        rate = told.facts["samples_per_step"] * len(told.step_times_s) / elapsed
        fraction = min(1.0, max(elapsed / spec.protocol.max_measure_s, step / spec.protocol.max_steps))
        remaining = elapsed / fraction - elapsed
    report(Progress(phase, number, spec.protocol.repeats, step, fraction, rate, remaining))


def _end(child: subprocess.Popen[bytes]) -> None:
    """Wait for the child; whatever it left running in its group is killed."""
    try:
        child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(child, signal.SIGKILL)
        child.wait()
    _signal_group(child, signal.SIGKILL)  # loader workers of a killed parent


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _timeout_reason(spec: CellSpec) -> str:
    return f"not done after protocol.timeout_s = {spec.protocol.timeout_s:g} s"


def _without_result(
    status: int, error: str, number: int, started_at: str, told: _Told, spec: CellSpec, timed_out: bool
) -> RepeatResult:
    """The record of a repeat that could not write its own. Raises a bug, and a mistake before anything was measured."""
    outcome: Outcome
    if status == 2 and not (number or told.step_times_s):
        raise ValueError(error)
    if status == 2:  # a file that vanished, say: what was measured before stands
        outcome, reason = "interrupted", error
    elif timed_out:
        outcome, reason = "timeout", _timeout_reason(spec)
    elif status < 0:
        name = signal.Signals(-status).name
        outcome, reason = "killed", f"the process died of {name} after {len(told.step_times_s)} timed steps"
        if name == "SIGKILL":
            reason += "; if nobody killed it, the kernel ran out of memory (see dmesg)"
    else:
        raise RuntimeError(f"{spec.label}, repeat {number}: exit status {status}\n{error}")
    return RepeatResult(
        repeat=number,
        outcome=outcome,
        reason=reason,
        started_at=started_at,
        precision=spec.precision,
        step_times_s=tuple(told.step_times_s),
        data_wait_s=tuple(told.data_wait_s),
        **told.facts,
    )
