"""All benchmarks as one table with ratios: `python -m benchmarks`, or some of them: `python -m benchmarks overhead`.

A benchmark is a module here with `results() -> list[Result]`; its figures go into docs/benchmarks.md by hand, with the
machine and the date. They take minutes and want a quiet machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import sys

from rich.console import Console
from rich.table import Table

from yocobench.bench import hardware
from yocobench.bench.versions import versions
from yocobench.paths import relative

BENCHMARKS = {
    "detector": "the detector's step against the same model in torch's own layers",
    "fidelity": "the short benchmark against a long run",
    "loader": "the image loader against one made with Pillow",
    "memory": "predicted memory against the measured peak",
    "overhead": "the harness against a bare loop",
    "precision": "loss curves in lower precision against fp32",
    "trainer": "the language models against the processor's own speed and a Transformer",
}


def main() -> int:
    """Print the table; exit status 1 when a target is missed, 2 when a benchmark could not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; none: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    detected = hardware.detect()
    where = f"{detected.accelerator_name or detected.cpu_model}, {detected.vcpus} vCPUs, torch {versions()['torch']}"
    table = Table(title=f"{where}, {dt.date.today()}", title_justify="left")
    for column in ("benchmark", "what", "value", "against", "ratio", "target", "met"):
        table.add_column(column, overflow="fold")
    missed = failed = False
    for name in names:
        print(f"{name}: {BENCHMARKS[name]} ...", file=sys.stderr)
        try:
            found = importlib.import_module(f"benchmarks.{name}").results()
        except (ValueError, OSError) as error:  # the others still have something to say
            print(f"{name}: {relative(error)}", file=sys.stderr)
            failed = True
            continue
        for one in found:
            ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
            met = "?" if one.met is None and one.target else "" if one.met is None else "yes" if one.met else "NO"
            print(f"  {one.what}: {one.value}; {one.against}", file=sys.stderr)
            table.add_row(name, one.what, one.value, one.against, ratio, one.target, met)
            missed |= one.met is False
    (Console() if sys.stdout.isatty() else Console(width=200)).print(table)
    return 2 if failed else int(missed)


if __name__ == "__main__":
    sys.exit(main())
