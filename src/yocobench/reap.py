"""Terminate overdue boxes, found by tag: the last resort when both the client and the box's own timer failed.

    python -m yocobench.reap                    # boxes past their expires-at tag
    python -m yocobench.reap --all              # every box of the project, including colleagues'
    python -m yocobench.reap --list             # terminate nothing, list this checkout's boxes
    python -m yocobench.reap --region us-west-2

Exit status 0: no overdue box is left. 2: something stood in the way (AWS refused to list or terminate, a ledger entry
cannot be read): it is printed at the end, after all else was done.
"""

from __future__ import annotations

import argparse
import sys

from yocobench import config
from yocobench.aws import boxes, ending
from yocobench.aws.ledger import HOLDING, Entry, Ledger
from yocobench.paths import relative


def main(words: list[str] | None = None) -> int:
    """Sweep the regions: the study's, and every one that this checkout's ledger has an open box in.

    Nothing that goes wrong with one box, entry or region keeps it from the others.
    """
    parser = argparse.ArgumentParser(
        prog="python -m yocobench.reap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every box of the project, even if it is still measuring")
    parser.add_argument("--list", action="store_true", help="only list this checkout's boxes: phase, rate, dollars")
    parser.add_argument("--region", help="only this region")
    asked = parser.parse_args(words)
    try:
        ledger = Ledger(config.root())
        entries, errors = ledger.readable()
        if asked.list:
            show(ledger, [one for one in entries if asked.region in (None, one.region)], bool(errors))
            return _told(errors)
    except (ValueError, OSError) as error:
        return _told([str(error)])
    regions = {asked.region} if asked.region else {entry.region for entry in entries if entry.state != "closed"}
    if not asked.region:
        try:
            regions.add(config.study().region)
        except (ValueError, OSError) as error:
            errors.append(f"{error}; the study's region is not swept: name it with --region")
    for region in sorted(regions):
        errors += _sweep(ledger, region, asked.all)
    return _told(errors)


def _sweep(ledger: Ledger, region: str, everything: bool) -> list[str]:
    """Sweep one region and tell what was done; what went wrong is returned."""
    errors: list[str] = []
    try:
        try:
            done = ending.sweep(ledger, region, everything)
        except ending.Unfinished as unfinished:
            done, errors = unfinished.done, unfinished.errors
        for line in done:
            print(line)
        print(f"{region}: {len(boxes.find(region))} box(es) of the project left")
    except (ValueError, OSError) as error:
        errors.append(str(error))
    return errors


def _told(errors: list[str]) -> int:
    """The exit status, once each error is told."""
    for error in dict.fromkeys(errors):
        print(f"error: {relative(error)}", file=sys.stderr)
    return 2 if errors else 0


def show(ledger: Ledger, entries: list[Entry], is_partial: bool) -> None:
    """One line for each box that the ledger holds open, and the sum."""
    held = [entry for entry in entries if entry.state in HOLDING]
    for entry in held:
        told = ledger.file(entry, "now")
        phase = told.read_text(encoding="utf-8") if told.is_file() else "reserved"
        client = "" if ledger.held(entry.cell_key) else " (no client: the cell's next run collects it)"
        print(f"{entry.label}: {entry.zone or entry.region}, {phase}{client}")
    spent = "dollars unknown" if is_partial else f"{ledger.taken_usd(24):.2f} USD spent or reserved in the last 24 h"
    print(f"{len(held)} box(es), {spent}")


if __name__ == "__main__":
    sys.exit(main())
