"""Before money is spent: which cells are worth a launch, and in which order, by the decision on file.

That is results/decision.json, or what the launch stage decided since then, while boxes ran (outlook.py). It counts only
while it answers today's question: the same terms, and the same prices. Its intervals are the proof that a cell cannot
win. Without such a decision every cell is launched, in the order of params.yaml, but for those that would time out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from yocobench import config, pricelist
from yocobench.candidates import terms
from yocobench.plan import PlannedCell
from yocobench.schema import Config
from yocobench.selection import decision as layout
from yocobench.selection import measure_next
from yocobench.selection.decide import asked
from yocobench.selection.decision import Decision
from yocobench.selection.eligibility import times_out

DECISION = Path("results/decision.json")
OUTLOOK = Path("mlruns/outlook.json")


def decisions(cfg: Config, root: Path) -> dict[str, Decision]:
    """By workload, the decisions on file that answer today's question."""
    files = [root / name for name in (DECISION, OUTLOOK) if (root / name).is_file()]
    known: dict[str, Decision] = {}
    for file in sorted(files, key=lambda one: one.stat().st_mtime_ns):
        try:
            found = layout.load(file.read_text(encoding="utf-8"), str(file.relative_to(root)))
        except (ValueError, OSError) as error:
            print(f"launching without an order: {error}", file=sys.stderr)
            continue
        ours = [one for one in found if one.workload in config.names("workload")]
        known |= {one.workload: one for one in ours if _is_of_today(one, cfg, root)}
    return known


def _is_of_today(decision: Decision, cfg: Config, root: Path) -> bool:
    if decision.asked != asked(terms(cfg, config.workload(decision.workload))):
        return False
    snapshot = pricelist.load(root / pricelist.SNAPSHOT)
    now = {row.instance: snapshot.find(row.instance, cfg.region, cfg.usage_class) for row in decision.rows}
    return all(
        row.price_usd_per_hour == (price.price_usd_per_hour if (price := now[row.instance]) else None)
        for row in decision.rows
    )


def why_not(cell: PlannedCell, cfg: Config, known: dict[str, Decision]) -> str:
    """Why a launch of that cell would be wasted; empty: nothing proves it.

    What cannot win is launched all the same if it is the baseline or `force` is set; what would time out never is.
    """
    name, decision = cell.spec.instance, known.get(cell.spec.workload.name)
    if decision is None or cfg.force or name == cfg.baseline or not measure_next.cannot_win(decision, name):
        return times_out(cell.spec.kind, cfg)
    row = decision.row(name)
    assert row is not None
    return f"cannot win by all that is known: {row.why}; launched all the same with force=true"


def in_order(cells: Iterable[PlannedCell], known: dict[str, Decision]) -> list[PlannedCell]:
    """The first choice of every workload, then the second ones; cells that no advice names stay behind, as given."""
    places = {name: measure_next.launch_order(one) for name, one in known.items()}

    def place(cell: PlannedCell) -> float:
        order = places.get(cell.spec.workload.name, ())
        return order.index(cell.spec.instance) if cell.spec.instance in order else float("inf")

    return sorted(cells, key=place)
