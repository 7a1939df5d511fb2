"""All ranks of a repeat on this box, by torchrun's agent: `python -m yocobench.bench.agent --processes N ...`.

Started by launchers/local.py for a cell with several processes; what it does not know it hands on to
bench/measure.py. Its end is the group's: the result of rank 0 if there is one, else the first failure, with the exit
status or the signal of the rank that failed first. Nothing is restarted. Boxes that do not meet are a user's mistake.
"""

# ruff: noqa: E402 (what torch reads when it is imported is set before)

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

# torch reads it when imported. An unreached rendezvous is one line here, not pages of C++ frames before it.
QUIET = os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL") == "FATAL"

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousError, RendezvousTimeoutError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

ENDED_EARLY = 4
"""Exit status of rank 0 with a result that is not `ok`: the others wait for steps that will not come."""
MONITOR_S = 0.1
READ_S = 60
"""Longest wait for an answer of the rendezvous, which is there or not: torch's default."""


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
    if QUIET:  # the ranks speak as ever
        del os.environ["TORCH_CPP_LOG_LEVEL"]
    config = LaunchConfig(
        min_nodes=options.boxes,
        max_nodes=options.boxes,
        nproc_per_node=options.processes,
        run_id=options.run,
        rdzv_backend="c10d",
        rdzv_endpoint=options.rendezvous,
        rdzv_configs={"join_timeout": options.join_timeout, "read_timeout": min(READ_S, options.join_timeout)},
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
    except RendezvousError as error:
        print(_not_met(error, options), file=sys.stderr)
        sys.exit(2)
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        if rank == 0 and first.exitcode == ENDED_EARLY and options.out.is_file():
            return
        options.out.unlink(missing_ok=True)  # what rank 0 makes of another's end is not what happened
        if first.exitcode < 0:
            _die_of(signal.Signals(-first.exitcode))
        sys.exit(first.exitcode)


def _not_met(error: RendezvousError, options: argparse.Namespace) -> str:
    if isinstance(error, RendezvousTimeoutError):  # the place was reached, and held by this box or another
        return (
            f"launcher.rendezvous {options.rendezvous}: not all launcher.boxes ({options.boxes}) came within "
            f"{options.join_timeout:g} s (protocol.timeout_s); run the same command on each of them"
        )
    why = str(error.__cause__ or error).splitlines()[0].rstrip(".")
    return (
        f"launcher.rendezvous {options.rendezvous} was not reached from this box: {why}; name one of the boxes, by an "
        "address and a port that each of them reaches, as in launcher.rendezvous=10.0.0.1:29400"
    )


def _die_of(number: signal.Signals) -> None:
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    main()
