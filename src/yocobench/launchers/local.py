"""Measure on this host: a fresh process per repeat, or a group of them, watched without busy waiting.

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from yocobench.bench import fit, hardware
from yocobench.bench.measurement import Detected, Measurement, RepeatResult, SystemSample
from yocobench.bench.system import Sampler, oom_kills
from yocobench.bench.versions import versions
from yocobench.launchers import endings, turns
from yocobench.launchers.alone import alone
from yocobench.launchers.base import Launcher, Show
from yocobench.launchers.signals import came_too_late, stop_requests
from yocobench.paths import relative
from yocobench.schema import CellSpec, Instance
from yocobench.telling import Progress

GRACE_S = 20.0  # from SIGTERM to SIGKILL: time to write the partial result
SAMPLE_EVERY_S = 2.0
LAST_BYTES = 1 << 15
"""Of all that a repeat printed: a traceback whole, and not the megabytes of a progress bar."""
PARENT = os.getppid()


class LocalLauncher(Launcher):
    """Runs the cell here, if this host is what the cell names.

    `boxes` of the same type may train together: the same command runs on each, and they meet at `rendezvous`
    (HOST:PORT of one of them). `workload.processes` then counts those of all boxes. The box where rank 0 comes to
    stand has the numbers; the others say so.
    """

    is_free = True

    def __init__(self, repeat: int | None = None, boxes: int = 1, rendezvous: str | None = None) -> None:
        """`repeat`: only this one of the protocol's, so that a sweep can take cells in turn; null: all of them."""
        for name, number in (("repeat", repeat), ("boxes", boxes)):
            if number is not None and type(number) is not int:
                raise ValueError(f"{name} must be a whole number (got {number!r})")
        if boxes < 1 or (boxes > 1) != (rendezvous is not None):
            raise ValueError(f"boxes ({boxes}) above 1 and rendezvous ({rendezvous}) belong together")
        self.only, self.boxes, self.rendezvous = repeat, boxes, rendezvous or "localhost:0"
        self._taken: Path | None = None

    def run(self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]) -> Measurement:
        """See Launcher.run. Raises ValueError for a user's mistake found while measuring, RuntimeError for a bug."""
        repeats = spec.protocol.repeats
        if self.only is not None and not 0 <= self.only < repeats:
            raise ValueError(
                f"launcher.repeat: {self.only} is not one of 0 to {repeats - 1} (protocol.repeats: {repeats})"
            )
        detected = hardware.detect()
        refused = hardware.mismatch(detected, instance)
        if refused is not None:
            return Measurement(outcome="unmeasured", reason=refused, source="measured", detected=detected)
        if self.only is None and (measured := turns.whole(spec, root)) is not None:
            self._taken = turns.path_of(spec, root)
            return measured
        return self._measure(spec, root, detected, report)

    def waits(self, spec: CellSpec, root: Path) -> bool:
        """Measured in turn, and not recorded yet."""
        return turns.whole(spec, root) is not None

    def recorded(self) -> None:
        """What was measured in turn has its receipt."""
        if self._taken is not None:
            self._taken.unlink(missing_ok=True)
            self._taken = None

    def in_turn(self, cells: Sequence[tuple[CellSpec, Instance]], root: Path, show: Show) -> bool:
        """See Launcher.in_turn. A repeat of this launcher's own choice is no study: nothing is taken in turn then."""
        if self.only is not None or self.boxes > 1:
            return False
        detected = hardware.detect()
        here = [spec for spec, instance in cells if hardware.mismatch(detected, instance) is None]
        with stop_requests() as stop:

            def one(spec: CellSpec, number: int) -> Measurement:
                with show(spec) as report:
                    return LocalLauncher(repeat=number)._measure(spec, root, detected, report, stop)

            return turns.take(here, one, root, stop)

    def _measure(
        self,
        spec: CellSpec,
        root: Path,
        detected: Detected | None,
        report: Callable[[Progress], None],
        asked: list[int] | None = None,
    ) -> Measurement:
        """`asked`: signals that somebody else collects; null: they are collected here."""
        if spec.processes % self.boxes:
            raise ValueError(f"workload.processes ({spec.processes}) cannot be shared by launcher.boxes ({self.boxes})")
        repeats: list[RepeatResult] = []
        samples: list[SystemSample] = []
        with stop_requests() if asked is None else contextlib.nullcontext(asked) as stop:
            for number in range(spec.protocol.repeats) if self.only is None else [self.only]:
                with self._alone(spec, number, report, stop) as free, Sampler(SAMPLE_EVERY_S) as sampler:
                    found = self._fitting(spec, number, root, report, stop) if free else endings.unbegun(number, spec)
                samples += sampler.samples
                if found is None:
                    reason = "this box took part; the one with rank 0 has the numbers"
                    return Measurement(outcome="unmeasured", reason=reason, source="measured", detected=detected)
                repeats.append(found)
                if found.micro_batch_size is not None:
                    spec = fit.at(spec, found.micro_batch_size)  # found once, for all repeats
                if repeats[-1].outcome != "ok":
                    break  # what ended one repeat would end the next: keep the money
        if stop and repeats[-1].outcome == "ok":  # after the block, from which on signals are held
            came_too_late(stop[0])
        return turns.measured(repeats, samples, detected, versions())

    def _fitting(
        self, spec: CellSpec, number: int, root: Path, report: Callable[[Progress], None], stop: list[int]
    ) -> RepeatResult | None:
        """One repeat, with fewer items at a time where memory runs out before the first step is done."""
        failed: list[RepeatResult] = []
        while True:
            found = self._repeat(spec, number, root, report, stop)
            if found is None:
                return None
            fewer = fit.smaller(spec)
            if not fit.ran_out_at_once(found) or fewer is None:
                return fit.with_tries(found, failed)
            failed.append(found)
            spec = fewer

    def _alone(
        self, spec: CellSpec, number: int, report: Callable[[Progress], None], stop: list[int]
    ) -> contextlib.AbstractContextManager[bool]:
        """Nothing else of ours is measured on this machine meanwhile; boxes that train together may be one machine."""
        if self.boxes > 1:
            return contextlib.nullcontext(True)

        def waiting(cell: str) -> None:
            _notice_orphaned(stop)
            report(Progress(f"waits, {cell} is measured here", number, spec.protocol.repeats))

        return alone(spec.label, waiting, stop)

    def _repeat(
        self, spec: CellSpec, number: int, root: Path, report: Callable[[Progress], None], stop: list[int]
    ) -> RepeatResult | None:
        """One repeat in a process, or a group of them, of its own; null on a box without rank 0."""
        available, kills = psutil.virtual_memory().available, oom_kills()
        with tempfile.TemporaryDirectory(prefix="yocobench-") as folder:
            spec_file, out_file, log_file, pipe = (Path(folder) / n for n in ("spec", "out.json", "stderr", "progress"))
            spec_file.write_text(spec.model_dump_json(by_alias=True), encoding="utf-8")
            os.mkfifo(pipe)
            started_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
            command = [*self._entry(spec, number), "--spec", str(spec_file), "--out", str(out_file)]
            command += ["--repeat", str(number), "--progress", str(pipe)]
            with log_file.open("w") as log:
                # A session of its own: Ctrl-C reaches the parent alone, which then ends the child in order.
                read_end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # first: the child opens a pipe that is read
                try:
                    child = subprocess.Popen(command, cwd=root, stdout=log, stderr=log, start_new_session=True)
                except BaseException:
                    os.close(read_end)
                    raise
            told = endings.Told()
            try:
                timed_out = _watch(child, read_end, spec, number, told, report, stop)
            finally:
                os.close(read_end)
                _end(child)
            if out_file.is_file() and child.returncode == 0:
                result = RepeatResult.model_validate_json(out_file.read_bytes())
                if timed_out:
                    result = result.model_copy(update={"outcome": "timeout", "reason": endings.timeout_reason(spec)})
                return result
            if child.returncode == 0 and self.boxes > 1:
                return None
            left = out_file.with_suffix(".failed")  # by a rank above 0 (bench/follow.py)
            if left.is_file():
                verdict = json.loads(left.read_text())
                told.facts.setdefault("micro_batch_size", spec.micro_batch_size)
                return endings.partial(number, verdict["outcome"], verdict["reason"], started_at, told, spec)
            error = relative(_printed_last(log_file))
            asked = bool(stop) and not timed_out
            if child.returncode == -signal.SIGKILL and kills is not None and oom_kills() != kills:
                told.killed_for_memory = True
                told.facts.setdefault("available_memory_bytes", available)
            return endings.without_result(child.returncode, error, number, started_at, told, spec, timed_out, asked)

    def _entry(self, spec: CellSpec, number: int) -> list[str]:
        """The module that runs a repeat: the measuring one, or torchrun's agent that starts it once for each rank."""
        if spec.processes == 1:
            return [sys.executable, "-m", "yocobench.bench.measure"]
        command = [sys.executable, "-m", "yocobench.bench.agent", "--processes", str(spec.processes // self.boxes)]
        command += ["--boxes", str(self.boxes), "--rendezvous", self.rendezvous]
        return [*command, "--run", f"{spec.key}-{number}", "--join-timeout", str(spec.protocol.timeout_s)]


def _printed_last(log_file: Path) -> str:
    with log_file.open("rb") as log:
        log.seek(max(0, log_file.stat().st_size - LAST_BYTES))
        return log.read().decode(errors="replace").strip()


def _watch(
    child: subprocess.Popen[bytes],
    read_end: int,
    spec: CellSpec,
    number: int,
    told: endings.Told,
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
            _notice_orphaned(stop)
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


def _notice_orphaned(stop: list[int]) -> None:
    """`dvc repro` was killed: nobody waits for this cell any more."""
    if "DVC_STAGE" in os.environ and os.getppid() != PARENT and not stop:
        stop.append(signal.SIGTERM)


def _hear(
    message: dict[str, Any], spec: CellSpec, number: int, told: endings.Told, report: Callable[[Progress], None]
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
    """Wait for the child; whatever it left running in its group, or its ranks in theirs, is killed."""
    descendants: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(child.pid).children(recursive=True)  # ranks: torchrun gives each its own group
    try:
        child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(child, signal.SIGKILL)
        child.wait()
    _signal_group(child, signal.SIGKILL)  # loader workers of a killed parent
    for process in descendants:
        with contextlib.suppress(psutil.Error):  # it knows whether the process id has passed to another since
            process.kill()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
