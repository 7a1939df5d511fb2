"""Stage `compare`: query MLflow, estimate what was not measured, price everything, decide, report.

    python -m yocobench.compare                                   # as `dvc repro` does
    python -m yocobench.compare objective=fastest job.deadline_h=12 job.tokens=1e9      # what-if: printed, not kept
    python -m yocobench.compare -m objective=cheapest,fastest job.deadline_h=12,72      # scenarios side by side
    python -m yocobench.compare --json | tail -n 1                # for scripts: one line in the format of decision.json

Trains nothing. Runs are found by cell key, so those of a Hydra sweep or of a colleague on the same store count.
Receipts that the store lacks are logged first, so a fresh clone compares too. Runs at each `dvc repro`.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from yocobench import config, estimates, evidence, pricelist, reproduce, sweep
from yocobench.background import background
from yocobench.bench import hardware
from yocobench.bench.measurement import Detected
from yocobench.candidates import candidate, terms
from yocobench.estimate.calibration import Calibration
from yocobench.evidence import Evidence, SubsetFit
from yocobench.plan import PlannedCell, plan_cell
from yocobench.receipt import write_atomic
from yocobench.restore import receipts, restore
from yocobench.schema import Config, Instance, WorkloadConfig
from yocobench.selection import decision as layout
from yocobench.selection import page, report, tables
from yocobench.selection.checked import Checked
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.equal_work import Run
from yocobench.selection.model import Candidate, Terms
from yocobench.selection.page import chart
from yocobench.tracking import Runs, Store, ask, open_store, recall

RESULTS = Path("results")


def main(cfg: Config) -> None:
    """Decide for every workload of the study and write results/."""
    root = config.root()
    changed = [one for one in HydraConfig.get().overrides.task if not one.startswith("output=")]
    snapshot, known = pricelist.load(root / pricelist.SNAPSHOT), estimates.calibration(root)
    gathered = gather(cfg, root, snapshot, known, what_if=bool(changed))
    checks, today = estimates.checks(root, known), dt.datetime.now(dt.UTC).date()
    decisions = tuple(
        decide_workload(one.candidates, one.terms, background(cfg, config.workload(name), snapshot, checks, today))
        for name, one in zip(cfg.workloads, gathered, strict=True)
    )
    if sweep.running():
        sweep.record_scenario(layout.line(decisions))  # shown side by side when all are done
        if cfg.output == "json":
            print(layout.line(decisions))
        return
    console = Console() if sys.stdout.isatty() else Console(width=tables.PLAIN_COLUMNS)
    console.print(tables.terminal(decisions))
    if changed:
        print(f"What if {', '.join(changed)}: shown, not kept. To keep it, change params.yaml and type dvc repro")
    else:
        fits = [fit.line(one.terms.job_samples) for one in gathered for fit in one.fits]
        _keep(root, decisions, reproduce.lines(cfg, snapshot, root, known.host), checks, fits)
    if cfg.output == "json":
        print(layout.line(decisions))


def _keep(
    root: Path,
    decisions: tuple[Decision, ...],
    commands: list[str],
    checks: list[Checked],
    fits: list[str],
) -> None:
    """Write the pages and log them. `commands`: how to reproduce; `checks` of the estimates, `fits` of the subsets."""
    pages = {
        "decision.html": page.html(decisions, commands, checks, fits),
        "decision.md": report.markdown(decisions, commands, checks, fits),
        "decision.svg": chart.svg(decisions),
    }
    _write(root, decisions, pages)
    _log(open_store(root), root, decisions)
    print("Look at results/decision.html; in a terminal: results/decision.md; runs: make ui")


def _runs(root: Path, keys: list[str], what_if: bool) -> Runs:
    """What the store holds of these cells, receipts that it lacked included. A what-if is content with a fit copy."""
    runs = recall(root, keys, receipts(root)) if what_if else None
    if runs is None:
        store = open_store(root)
        _, problems = restore(root, store)
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
        runs = ask(store, keys, receipts(root))
    return runs


@dataclass(frozen=True)
class Gathered:
    """All that one workload's decision is made from."""

    terms: Terms
    candidates: list[Candidate]
    references: dict[str, list[Run]]
    """Loss curves in the reference precision, by subset."""
    fits: list[SubsetFit]
    """How well the smaller subsets predicted the largest, by instance type."""


def gather(
    cfg: Config, root: Path, snapshot: pricelist.PriceList, known: Calibration, what_if: bool = False
) -> list[Gathered]:
    """For each workload of the study: runs from MLflow, estimates for what was not measured, prices.

    `what_if`: a copy of what MLflow holds will do, if it is of today.
    """
    detected, instances = hardware.detect(), config.instances(cfg.instances)
    workloads = [config.workload(name) for name in cfg.workloads]
    cells = [_cells(cfg, workload, instances, detected, root) for workload in workloads]
    # What somebody measured in fp32 for comparison (workload.precision=fp32) is read, and not ranked.
    in_full = [workload.model_copy(update={"precision": evidence.REFERENCE}) for workload in workloads]
    full = [_cells(cfg, workload, instances, detected, root) for workload in in_full]
    keys = [cell.spec.key for rows in (*cells, *full) for row in rows for cell in row]
    runs = _runs(root, keys, what_if)
    return [
        _gather(cfg, workload, instances, rows, more, snapshot, runs, known)
        for workload, rows, more in zip(workloads, cells, full, strict=True)
    ]


def _gather(
    cfg: Config,
    workload: WorkloadConfig,
    instances: list[Instance],
    cells: list[list[PlannedCell]],
    full: list[list[PlannedCell]],
    snapshot: pricelist.PriceList,
    runs: Runs,
    known: Calibration,
) -> Gathered:
    whole = {subset.name for subset in config.subsets(cfg.subsets) if subset.fraction == 1}

    def known_of(cell: PlannedCell, one: Instance) -> Evidence:
        key = cell.spec.key
        return Evidence(
            cell, one, runs.repeats[key], runs.outcomes[key], runs.curves, is_whole=cell.spec.subset in whole
        )

    everything = [[known_of(cell, one) for cell in row] for one, row in zip(instances, cells, strict=True)]
    apart = [known_of(cell, one) for one, row in zip(instances, full, strict=True) for cell in row]
    references = evidence.references([*(one for row in everything for one in row), *apart])
    found = [evidence.largest(row) for row in everything]
    estimator = estimates.estimator_for(workload, known)
    return Gathered(
        terms=terms(cfg, workload),
        candidates=[candidate(one, cfg, snapshot, estimator, references) for one in found],
        references=references,
        fits=[fit for one in found if (fit := evidence.subset_fit(one)) is not None],
    )


def _cells(
    cfg: Config, workload: WorkloadConfig, instances: list[Instance], detected: Detected, root: Path
) -> list[list[PlannedCell]]:
    """For each instance, its cells on the study's subsets, the largest last."""
    subsets = config.subsets(cfg.subsets)
    rows = [[plan_cell(cfg, workload, subset, one, detected, root) for subset in subsets] for one in instances]
    return [sorted(row, key=lambda cell: cell.spec.dataset_items or 0) for row in rows]


def _write(root: Path, decisions: tuple[Decision, ...], pages: dict[str, str]) -> None:
    write_atomic(root / RESULTS / "decision.json", layout.dump(decisions))
    for name, text in pages.items():
        write_atomic(root / RESULTS / name, text)
    write_atomic(root / RESULTS / "metrics.json", json.dumps(tables.metrics(decisions), indent=1) + "\n")
    write_atomic(root / RESULTS / "plots.csv", tables.plots_csv(decisions))
    readme = root / "README.md"
    if readme.is_file():
        old = readme.read_text(encoding="utf-8")
        new = report.replace_block(old, report.readme_block(decisions))
        if new != old:
            write_atomic(readme, new)


def _log(store: Store, root: Path, decisions: tuple[Decision, ...]) -> None:
    pages = [
        root / RESULTS / name for name in ("decision.html", "decision.json", "decision.md", "decision.svg", "plots.csv")
    ]
    for one in decisions:
        row = one.row(one.chosen) if one.chosen else None
        figures = {"probability_best": one.probability_best, "hours": row.hours if row else None}
        figures["cost_usd"] = float(row.cost_usd) if row and row.cost_usd is not None else None
        known = {name: value for name, value in figures.items() if value is not None}
        tags = {"verdict": one.verdict, "objective": one.asked.objective}
        chosen = {"chosen": one.chosen or "none"}
        run_id = store.log_decision(one.model_dump(mode="json"), pages, one.workload, known, tags | chosen)
        sure = {} if one.probability_best is None else {"probability_best": f"{one.probability_best:.2f}"}
        store.register(one.workload, run_id, one.chosen, tags | sure)
    store.describe("\n\n".join(f"**{one.workload}**: {one.sentence}" for one in decisions))


if __name__ == "__main__":
    sys.argv = ["output=json" if word == "--json" else word for word in sys.argv]
    config.stage(main)()
