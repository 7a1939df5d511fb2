"""Print estimated training throughput by instance type, with 90 % intervals. Trains nothing.

    python -m yocobench.estimate                                             # the study of params.yaml
    python -m yocobench.estimate workload=yoco-lm 'instance=glob(*)'         # every type on file
    python -m yocobench.estimate instance=g5.xlarge,<file>.yaml              # a type described outside conf/

workload= takes names (`a,b`) and patterns (`glob(c*)`), instance= file names besides. `refresh=true` repeats the
micro-benchmark of this host. Exit status: 0 with the table, 2 for a mistake in the input.
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from yocobench import config, usage
from yocobench.estimate import outside
from yocobench.estimate.calibration import Calibration
from yocobench.estimate.estimator import BOUND_WORDS, Estimate, NoEstimate, estimate
from yocobench.paths import told
from yocobench.schema import Chip, Instance, WorkloadConfig

KEYS = ("workload", "instance", "refresh")


def expand(text: str, group: str) -> list[str]:
    """Names that `a,b`, `glob(pattern)` or a mixture means; files ending in .yaml stand for themselves.

    Raises ValueError for a name that conf/<group>/ does not have, or a pattern that nothing matches.
    """
    known, found = config.names(group), []
    for part in (piece.strip() for piece in text.split(",")):
        if part.startswith("glob(") and part.endswith(")"):
            matching = fnmatch.filter(known, part[5:-1])
            if not matching:
                raise ValueError(f"{group}={part} matches nothing; known: {', '.join(known)}")
            found += matching
        elif part.endswith((".yaml", ".yml")):
            found.append(part)
        else:
            if part not in known:
                config.entry(group, part)  # raises, with the nearest names
            found.append(part)
    return list(dict.fromkeys(found))


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """`key=value` overrides. Raises ValueError for anything else."""
    found = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not sign or key not in KEYS:
            raise ValueError(f"{argument!r} is not known; give {', '.join(f'{key}=...' for key in KEYS)}")
        found[key] = value
    return found


def described(names: Iterable[str]) -> list[Instance]:
    """The instances of these names and files. Raises ValueError, OSError."""
    found = []
    for name in names:
        target = outside.read(name) if name.endswith((".yaml", ".yml")) else config.instance(name)
        if isinstance(target, Chip):
            raise ValueError(
                f"{name} describes a chip: write an instance file around it (see conf/instance/), or call "
                "yocobench.estimate.outside.estimate_module"
            )
        found.append(target)
    return found


def rows(
    workload: WorkloadConfig, instances: Iterable[Instance], calibration: Calibration
) -> list[Estimate | NoEstimate]:
    """One estimate, or its reason, per instance; fastest first, those without a number last."""
    found = [estimate(workload, one, calibration) for one in instances]
    return sorted(found, key=lambda e: (-e.samples_per_second if isinstance(e, Estimate) else 1.0, e.instance))


def table(workload: WorkloadConfig, found: Sequence[Estimate | NoEstimate]) -> Table:
    """The table of one workload."""
    title = f"{workload.name}: estimated {workload.sample_unit}s per second, 90 % interval"
    result = Table(title=title, title_justify="left")
    for name in (
        "instance",
        "precision",
        f"{workload.sample_unit}s/s",
        "90 %",
        "bound by",
        "memory",
        "batch",
        "rests on",
    ):
        result.add_column(name, justify="right" if name in ("90 %", f"{workload.sample_unit}s/s") else "left")
    for one in found:
        if isinstance(one, NoEstimate):
            known = one.needed_bytes is not None or one.available_bytes is not None
            memory = f"{_gib(one.needed_bytes)} of {_gib(one.available_bytes)}" if known else "-"
            result.add_row(one.instance, "", "-", "", "", memory, "", one.reason)
            continue
        result.add_row(
            one.instance,
            one.precision,
            f"~{one.samples_per_second:,.3g}" if one.samples_per_second < 100 else f"~{one.samples_per_second:,.0f}",
            f"{one.low_samples_per_second:,.0f} to {one.high_samples_per_second:,.0f}",
            BOUND_WORDS[one.bound_by],
            f"{_gib(one.needed_bytes)} of {_gib(one.available_bytes)}",
            f"{one.micro_batch_size} x {one.accumulation_steps}",
            "; ".join([one.calibrated_on, *one.gaps]),
        )
    return result


def _gib(value: int | None) -> str:
    return "?" if value is None else f"{value / 2**30:.1f} GiB"


def main(arguments: Sequence[str]) -> int:
    """Print one table per workload."""
    from yocobench.estimate import calibrate

    if usage.shown(__name__):
        return 0
    try:
        given = parse(arguments)
        study = config.study()
        workloads = expand(given["workload"], "workload") if "workload" in given else list(study.workloads)
        instances = expand(given["instance"], "instance") if "instance" in given else list(study.instances)
        refresh = given.get("refresh", "false").lower()
        if refresh not in ("true", "1", "false", "0"):
            raise ValueError(f"refresh={given['refresh']}: give true or false")
        # Before the host is timed, which takes minutes: a mistake in a file is told at once.
        jobs, machines = [config.workload(name) for name in workloads], described(instances)
        calibration = calibrate.load(config.root(), refresh=refresh in ("true", "1"))
        console = Console(width=None if sys.stdout.isatty() else 200)
        for workload in jobs:
            console.print(table(workload, rows(workload, machines, calibration)))
        host = calibration.host
        if host is not None:
            when = f"{host.measured_at} on {host.cpu_model}, torch {host.torch_version}"
            console.print(f"Host micro-benchmark: {when}; {len(calibration.residuals)} measured cell(s) used.")
            if host.warning:
                console.print(f"Mind: {host.warning}")
    except (ValueError, OSError) as error:
        print(told(error), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
