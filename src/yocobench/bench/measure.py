"""One repeat, in this process: `python -m yocobench.bench.measure --spec F --repeat N --out F --progress P`.

Started by launchers/local.py, never by hand. Set-up is timed apart, warm-up is left out, the clock of a step runs from
before its batch is fetched until the device has finished, and every step time is kept. Garbage collection is off in
the timed region; losses are read and progress is told between steps, outside the clock.
Exit status: 0 with a RepeatResult in --out (whatever its outcome), 2 for a user's mistake (message on stderr),
anything else is a bug with its traceback.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import json
import math
import os
import signal
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from torch import Tensor

from yocobench.bench import parallel
from yocobench.bench.accelerators import open_device
from yocobench.bench.activity import Watch
from yocobench.bench.agent import ENDED_EARLY
from yocobench.bench.energy import Meter
from yocobench.bench.follow import follow
from yocobench.bench.loading import Rates, input_bound, loader_rates
from yocobench.bench.measurement import Outcome, RepeatResult
from yocobench.bench.stability import MIN_WARMUP_STEPS, is_stationary
from yocobench.bench.statistics import relative_half_width
from yocobench.bench.trainer import Diverged, Trace, Trainer, evaluate, first_step, scaling_efficiency
from yocobench.schema import CellSpec

TELL_EVERY_S = 0.5
LOADER_DIED = "DataLoader worker (pid"
"""How torch begins when a worker is gone (torch/utils/data/dataloader.py, and its SIGCHLD handler)."""
IF_IT_DIED = (
    "if nobody killed it, memory ran out, or /dev/shm in a container (docker run --shm-size=8g): "
    "fewer workers need less (workload.args.num_workers)"
)
MIN_TIMED_STEPS = 3  # fewer give no interval at all
LOOK_AGAIN_AFTER = 1.25


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived. No Exception: compilers wrap those, and a fallback would go on training."""


Tell = Callable[[dict[str, Any]], None]


def run(spec: CellSpec, repeat: int, root: Path, tell: Tell, trace: Trace) -> None:
    """Fill `trace` with a repeat's numbers. Raises what ends it early."""
    tell({"phase": "setup"})
    trainer, loss = first_step(spec, root, repeat, trace, time.perf_counter)
    try:
        _finite([loss], trace, keep=False)
        tell({"phase": "warm-up", **trace.facts})
        _warm_up(trainer, tell, trace)
        compilations = trainer.loss.num_compilations
        _timed(trainer, tell, trace)
        if trainer.loss.num_compilations > compilations:
            trace.warnings.append("the model was compiled again inside the timed steps; set compile: false")
        trace.facts["compiled"] = trainer.loss.compiled  # given up meanwhile where the shapes change
        trace.facts["peak_memory_bytes"] = trainer.device.peak_memory_bytes()
        trace.facts["skipped_steps"] = trainer.device.skipped_steps()
        if repeat == 0:
            tell({"phase": "evaluate"})
            trace.heldout.update(evaluate(trainer, root))
            trace.facts["scaling_efficiency"] = scaling_efficiency(trainer, trace.step_times_s)
        _look_at_input(trainer, repeat, root, trace)
    finally:
        trainer.close()


def _warm_up(trainer: Trainer, tell: Tell, trace: Trace) -> None:
    """Steps that do not count: the protocol's fewest, then more until their time is stationary or the cap is reached.

    Looked at again each time their number has grown by a quarter: testing at every step would stop on a fluke.
    """
    protocol, times = trainer.spec.protocol, trace.warmup_step_times_s
    look_at = max(protocol.warmup_steps, MIN_WARMUP_STEPS)
    while len(times) < protocol.warmup_steps or protocol.max_warmup_s is not None:
        seconds, _, _ = trainer.step()
        times.append(seconds)
        tell({"phase": "warm-up", "step": len(times)})
        if protocol.max_warmup_s is None or len(times) < protocol.warmup_steps:
            continue
        if len(times) >= look_at:
            trace.facts["warmup_settled"] = is_stationary(times)
            look_at = math.ceil(len(times) * LOOK_AGAIN_AFTER)
        if trace.facts.get("warmup_settled") or sum(times) >= protocol.max_warmup_s:
            trace.facts.setdefault("warmup_settled", False)
            return


def _timed(trainer: Trainer, tell: Tell, trace: Trace) -> None:
    """Add steps until the mean is known well enough or the protocol's cap is reached."""
    protocol = trainer.spec.protocol
    pending: list[Tensor] = []
    elapsed, look_at = 0.0, protocol.min_steps
    gc.collect()
    gc.disable()
    watch, meter = Watch(), Meter()
    started = told_at = trainer.clock()
    told_steps = 0
    try:
        while True:
            seconds, waited, loss = trainer.step()
            elapsed += seconds
            trace.step_times_s.append(seconds)
            trace.data_wait_s.append(waited)
            pending.append(loss)
            steps = len(trace.step_times_s)
            done = steps >= protocol.max_steps or (elapsed >= protocol.max_measure_s and steps >= MIN_TIMED_STEPS)
            if not done and steps >= look_at:
                done = relative_half_width(trace.step_times_s) <= protocol.target_relative_half_width
                look_at = steps + max(1, steps // 20)
            if done or trainer.clock() - told_at >= TELL_EVERY_S:
                _finite(pending, trace)
                pending.clear()
                watch.look()
                meter.look()
                tell(
                    {
                        "phase": "measure",
                        "step": steps,
                        "elapsed_s": elapsed,
                        "step_times_s": trace.step_times_s[told_steps:],
                        "data_wait_s": trace.data_wait_s[told_steps:],
                        **trace.facts,
                    }
                )
                told_at, told_steps = trainer.clock(), steps
            if done:
                return
    finally:
        trace.facts["harness_s"] = trainer.clock() - started - elapsed
        trace.facts.update(activity=watch.seen(), energy_j=meter.used_j())
        gc.enable()


def _look_at_input(trainer: Trainer, repeat: int, root: Path, trace: Trace) -> None:
    """The loader's own rates, once a cell, and a warning where it holds the steps up."""
    spec = trainer.spec
    rates = Rates(None, None)
    if repeat == 0 and spec.dataset_path is not None and spec.dataset_items is not None:
        data, micro, size = root / spec.dataset_path, trace.facts["micro_batch_size"], trainer.group.size
        try:
            rates = loader_rates(
                trainer.workload, data, spec.dataset_items, micro, spec.protocol.seed, trainer.clock, size
            )
        except Exception as error:  # a file that no timed step met, batches that end: the measurement stands
            trace.warnings.append(f"the loader alone was not measured: {str(error) or type(error).__name__}")
    trace.facts["loader_samples_per_second_cold"] = rates.cold
    trace.facts["loader_samples_per_second_warm"] = rates.warm
    has_workers, per_step = "num_workers" in spec.workload.args, trace.facts["samples_per_step"]
    bound = input_bound(trace.step_times_s, trace.data_wait_s, per_step, rates, has_workers)
    if bound is not None:
        trace.warnings.append(bound)


def _finite(losses: list[Tensor], trace: Trace, keep: bool = True) -> None:
    """Read losses off the device. Raises Diverged at the first that is not finite."""
    for loss in losses:
        value = float(loss)
        if not math.isfinite(value):
            raise Diverged(f"loss became {value} after {len(trace.losses)} timed steps")
        if keep:
            trace.losses.append(value)


def result(repeat: int, started_at: str, outcome: Outcome, reason: str, trace: Trace, spec: CellSpec) -> RepeatResult:
    """The record of a repeat, however it ended."""
    return RepeatResult(
        repeat=repeat,
        outcome=outcome,
        reason=reason,
        started_at=started_at,
        precision=spec.precision,
        warmup_step_times_s=tuple(trace.warmup_step_times_s),
        step_times_s=tuple(trace.step_times_s),
        data_wait_s=tuple(trace.data_wait_s),
        losses=tuple(trace.losses),
        heldout=trace.heldout,
        warnings=tuple(trace.warnings),
        load_average_end=os.getloadavg()[0],
        **trace.facts,
    )


def measure(spec: CellSpec, repeat: int, root: Path, tell: Tell) -> RepeatResult:
    """Run a repeat and turn the ways in which it may end into an outcome. Raises only for bugs and user's mistakes."""
    started_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    trace = Trace(facts={"import_s": time.time() - psutil.Process().create_time()})
    trace.facts["load_average_start"] = os.getloadavg()[0]
    outcome: Outcome = "ok"
    reason = ""
    try:
        with parallel.peers(spec.processes):
            run(spec, repeat, root, tell, trace)
    except Interrupted as signal_name:
        outcome, reason = "interrupted", f"{signal_name} after {len(trace.step_times_s)} timed steps"
    except Diverged as error:
        outcome, reason = "diverged", str(error)
    except (MemoryError, RuntimeError) as error:
        device = open_device(spec.kind)
        if str(error).startswith(LOADER_DIED):
            outcome, reason = "killed", f"{str(error).splitlines()[0][:200]}; {IF_IT_DIED}"
            return result(repeat, started_at, outcome, reason, trace, spec)
        if not isinstance(error, MemoryError) and not device.is_out_of_memory(error):
            raise
        trace.facts["peak_memory_bytes"] = device.peak_memory_bytes()
        outcome, reason = "out_of_memory", (str(error) or type(error).__name__).splitlines()[0][:300]
    return result(repeat, started_at, outcome, reason, trace, spec)


def _located(error: Exception) -> str:
    """What it says; of a ValueError from code of the user's own the place, too, which such words seldom name."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(path) for path in libraries)]
    if isinstance(error, OSError) or not own or Path(own[-1].filename).is_relative_to(Path(__file__).parents[1]):
        return str(error)
    return f"{type(error).__name__}: {error} ({own[-1].filename}:{own[-1].lineno}, in {own[-1].name})"


def main() -> None:
    """Command line of the measured process."""
    parser = argparse.ArgumentParser(description="measure one repeat of a cell; started by the local launcher")
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--repeat", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--progress", type=Path, required=True, help="named pipe that the launcher reads")
    options = parser.parse_args()
    spec = CellSpec.model_validate_json(options.spec.read_bytes())
    rank = int(os.environ["RANK"]) if spec.processes > 1 else 0
    if rank > 0:
        parallel.finish(follow(spec, options.repeat, Path.cwd(), rank, options.out))

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    try:  # without a reader there is no launcher any more, and opening in the plain way would wait for one
        end = os.open(options.progress, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        sys.exit(f"{options.progress}: nobody reads it, the launcher is gone ({error.strerror})")
    os.set_blocking(end, True)
    with os.fdopen(end, "w") as pipe:

        def tell(message: dict[str, Any]) -> None:
            # A parent that is gone breaks the pipe, which ends this process too: nobody trains for nobody.
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()

        try:
            outcome = measure(spec, options.repeat, Path.cwd(), tell)
        except (ValueError, OSError) as error:
            print(_located(error), file=sys.stderr)
            parallel.finish(2)
        except Exception:
            traceback.print_exc()
            parallel.finish(1)
    options.out.write_text(outcome.model_dump_json(), encoding="utf-8")
    if spec.processes > 1:
        if outcome.outcome != "ok":
            parallel.finish(ENDED_EARLY)
        parallel.group(open_device(spec.kind).group_backend, spec.protocol.timeout_s).lead("end")
        parallel.leave()


if __name__ == "__main__":
    main()
