"""Terminate overdue boxes, found by tag: the last resort when both the client and the box's own timer failed.

    python -m yocobench.reap                    # boxes past their expires-at tag
    python -m yocobench.reap --all              # every box of the project, including colleagues'
    python -m yocobench.reap --list             # terminate nothing, list this checkout's boxes
    python -m yocobench.reap --region us-west-2

Exit status 0: no overdue box is left. 2: AWS refused to list or terminate; the message says why.
"""

from __future__ import annotations

import argparse
import sys

from yocobench import config
from yocobench.aws import boxes, ending
from yocobench.aws.ledger import HOLDING, Ledger
from yocobench.paths import relative


def main(words: list[str] | None = None) -> int:
    """Sweep the regions: the study's, and every one that this checkout's ledger has an open box in."""
    parser = argparse.ArgumentParser(
        prog="python -m yocobench.reap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every box of the project, even if it is still measuring")
    parser.add_argument("--list", action="store_true", help="only list this checkout's boxes: phase, rate, dollars")
    parser.add_argument("--region", help="only this region")
    asked = parser.parse_args(words)
    try:
        root = config.root()
        ledger = Ledger(root)
        if asked.list:
            show(ledger)
            return 0
        held = {entry.region for entry in ledger.entries() if entry.state != "closed"}
        regions = [asked.region] if asked.region else sorted({config.study().region} | held)
        for region in regions:
            for line in ending.sweep(ledger, region, everything=asked.all):
                print(line)
            print(f"{region}: {len(boxes.find(region))} box(es) of the project left")
    except (ValueError, OSError) as error:
        print(f"error: {relative(error)}", file=sys.stderr)
        return 2
    return 0


def show(ledger: Ledger) -> None:
    """One line for each box that the ledger holds open, and the sum."""
    held = [entry for entry in ledger.entries() if entry.state in HOLDING]
    for entry in held:
        told = ledger.file(entry, "now")
        phase = told.read_text() if told.is_file() else "reserved"
        client = "" if ledger.held(entry.cell_key) else " (no client: the cell's next run collects it)"
        print(f"{entry.label}: {entry.zone or entry.region}, {phase}{client}")
    print(f"{len(held)} box(es), {ledger.taken_usd(24):.2f} USD spent or reserved in the last 24 h")


if __name__ == "__main__":
    sys.exit(main())
