"""All ranks of a repeat on this box, by torchrun's agent: `python -m yocobench.bench.agent --processes N ...`.

Started by launchers/local.py for a cell with several processes; what it does not know it hands on to
bench/measure.py. Its end is the group's: the result of rank 0 if there is one, else the first failure, with the exit
status or the signal of the rank that failed first. Nothing is restarted.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

ENDED_EARLY = 4
"""Exit status of rank 0 with a result that is not `ok`: the others wait for steps that will not come."""
MONITOR_S = 0.1


def main() -> None:
    """Command line of the agent."""
    parser = argparse.ArgumentParser(description="all ranks of one repeat; started by the local launcher")
    parser.add_argument("--processes", type=int, required=True, help="ranks on this box")
    parser.add_argument("--boxes", type=int, required=True)
    parser.add_argument("--rendezvous", required=True, help="HOST:PORT that every box reaches; localhost:0 for one box")
    parser.add_argument("--run", required=True, help="name of the repeat, the same on every box")
    parser.add_argument("--join-timeout", type=float, required=True, help="seconds to wait for the other boxes")
    parser.add_argument("--out", type=Path, required=True)
    options, passed_on = parser.parse_known_args()
    # What failed is told by the ranks themselves and, to the launcher, by the exit status.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=options.boxes,
        max_nodes=options.boxes,
        nproc_per_node=options.processes,
        run_id=options.run,
        rdzv_backend="c10d",
        rdzv_endpoint=options.rendezvous,
        rdzv_configs={"join_timeout": options.join_timeout},
        local_addr="localhost" if options.boxes == 1 else None,
        max_restarts=0,
        monitor_interval=MONITOR_S,
        logs_specs=DefaultLogsSpecs(),
    )
    command = ["-m", "yocobench.bench.measure", "--out", str(options.out), *passed_on]
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException as stopped:
        if not options.out.is_file():
            _die_of(stopped.sigval)
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        if rank == 0 and first.exitcode == ENDED_EARLY and options.out.is_file():
            return
        options.out.unlink(missing_ok=True)  # what rank 0 makes of another's end is not what happened
        if first.exitcode < 0:
            _die_of(signal.Signals(-first.exitcode))
        sys.exit(first.exitcode)


def _die_of(number: signal.Signals) -> None:
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    main()
