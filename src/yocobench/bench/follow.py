"""A rank above 0: do what rank 0 announces until it says `end`, keep no numbers (bench/parallel.py).

Exit status as of bench/measure.py, and 3 for out of memory, with the verdict in <out>.failed for the launcher.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
import traceback
from pathlib import Path

from yocobench.bench import compiling, parallel
from yocobench.bench.accelerators import open_device
from yocobench.bench.trainer import Trace, Trainer, build, evaluate
from yocobench.paths import first_line
from yocobench.schema import CellSpec

FIRST_WORD_S = 2.0
"""A user's mistake meets every rank: rank 0 is given the time to say it, once."""


def follow(spec: CellSpec, repeat: int, root: Path, rank: int, out: Path) -> int:
    """Exit status of this rank."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # also inside a collective, where Python would not get to a handler
    try:
        _obey(spec, repeat, root)
    except (ValueError, OSError) as error:
        time.sleep(FIRST_WORD_S)
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        if not open_device(spec.kind).is_out_of_memory(error):
            traceback.print_exc()
            return 1
        reason = f"rank {rank}: {first_line(error)[:300]}"
        failed(out).write_text(json.dumps({"outcome": "out_of_memory", "reason": reason}))
        return 3
    return 0


def failed(out: Path) -> Path:
    """Where a rank above 0 leaves the outcome that it ended with."""
    return out.with_suffix(".failed")


def _obey(spec: CellSpec, repeat: int, root: Path) -> None:
    group = parallel.group(open_device(spec.kind).group_backend, spec.protocol.timeout_s)
    trainer: Trainer | None = None
    try:
        while True:
            command, *words = group.follow()
            if command == "end":
                break
            if command == "build":
                if trainer is not None:
                    trainer.close()
                    trainer = None  # before the next is built: two models may not fit
                    gc.collect()
                seed, compiled = spec.protocol.seed + repeat, words[0] == "compiled"
                trainer = build(spec, root, seed, Trace(), time.perf_counter, compiled)
                continue
            assert trainer is not None, command
            if command == "step":
                _step(trainer)
            else:
                assert command == "evaluate", command
                evaluate(trainer, root)
    finally:
        if trainer is not None:
            trainer.close()
    parallel.leave()


def _step(trainer: Trainer) -> None:
    """One step; a compiled one that fails does so on every rank alike, and rank 0 builds anew without."""
    try:
        trainer.step()
    except Exception as error:
        if not trainer.loss.compiled or trainer.device.is_out_of_memory(error):
            raise
        trainer.loss.give_up(compiling.reason_of(error))
