"""Stage `compare`: query MLflow, estimate what was not measured, price everything, decide, report.

    python -m yocobench.compare                                   # as `dvc repro` does
    python -m yocobench.compare objective=fastest job.deadline_h=12 job.tokens=1e9      # what if: printed only

Nothing is trained here. Runs are found by cell key, so those of a Hydra sweep or of a colleague on the same store
count. Receipts that the store lacks are logged first, so a fresh clone compares too. Runs at each `dvc repro`.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from yocobench import config, estimates, prices
from yocobench.bench import hardware
from yocobench.bench.measurement import Detected
from yocobench.candidates import Evidence, candidate
from yocobench.estimate.calibration import Calibration
from yocobench.plan import PlannedCell, plan_cell
from yocobench.receipt import write_atomic
from yocobench.restore import restore
from yocobench.schema import Config, Instance, WorkloadConfig
from yocobench.selection import decision as layout
from yocobench.selection import report, tables
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.model import Terms
from yocobench.tracking import Store, open_store

RESULTS = Path("results")
PLAIN_COLUMNS = 160


def main(cfg: Config) -> None:
    """Decide for every workload of the study and write results/."""
    root, detected = config.root(), hardware.detect()
    store = open_store(root)
    _, problems = restore(root, store)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    snapshot = prices.load(root / prices.SNAPSHOT)
    instances = [config.instance(name) for name in cfg.instances]
    known = estimates.calibration(root)
    decisions = tuple(
        _decide(cfg, config.workload(name), instances, detected, snapshot, store, known, root) for name in cfg.workloads
    )
    # Piped or logged, 80 columns would fold every reason into a ribbon.
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_COLUMNS)
    console.print(tables.terminal(decisions))
    changed = HydraConfig.get().overrides.task
    if changed:
        print(f"What if {', '.join(changed)}: shown, not kept. To keep it, change params.yaml and type dvc repro")
        return
    page = report.markdown(decisions, reproduce(cfg, snapshot), estimates.checks(root, known))
    _write(root, decisions, page)
    _log(store, root, decisions)
    print("Pages: results/decision.md, results/decision.json; runs: make ui")


def terms(cfg: Config, workload: WorkloadConfig) -> Terms:
    """What the user asks about that workload."""
    return Terms(
        job_samples=cfg.job.num_samples(workload.sample_unit),
        sample_unit=workload.sample_unit,
        deadline_h=cfg.job.deadline_h,
        budget_usd=cfg.job.budget_usd,
        objective=cfg.objective,
        restrict=cfg.restrict,
        baseline=cfg.baseline,
        usage_class=cfg.usage_class,
        interruption_overhead=cfg.assume.interruption_overhead,
    )


def _decide(
    cfg: Config,
    workload: WorkloadConfig,
    instances: list[Instance],
    detected: Detected,
    snapshot: prices.PriceList,
    store: Store,
    known: Calibration,
    root: Path,
) -> Decision:
    cells = _cells(cfg, workload, instances, detected, root)
    keys = [cell.spec.key for row in cells for cell in row]
    repeats, outcomes = store.fetch_repeats(keys), store.fetch_outcomes(keys)
    found = [
        _largest([Evidence(cell, one, repeats[cell.spec.key], outcomes[cell.spec.key]) for cell in row])
        for one, row in zip(instances, cells, strict=True)
    ]
    estimator = estimates.estimator_for(workload, known)
    rows = [candidate(evidence, cfg, snapshot, estimator) for evidence in found]
    return decide_workload(rows, terms(cfg, workload))


def _cells(
    cfg: Config, workload: WorkloadConfig, instances: list[Instance], detected: Detected, root: Path
) -> list[list[PlannedCell]]:
    """For each instance, its cells on the study's subsets, the largest last."""
    subsets = [config.subset(name) for name in cfg.subsets]
    rows = [[plan_cell(cfg, workload, subset, one, detected, root) for subset in subsets] for one in instances]
    return [sorted(row, key=lambda cell: cell.spec.dataset_items or 0) for row in rows]


def _largest(evidences: list[Evidence]) -> Evidence:
    """The evidence on the largest subset that has a number; on the largest one where none has."""
    return next((e for e in reversed(evidences) if e.counted), evidences[-1])


def _write(root: Path, decisions: tuple[Decision, ...], page: str) -> None:
    write_atomic(root / RESULTS / "decision.json", layout.dump(decisions))
    write_atomic(root / RESULTS / "decision.md", page)
    write_atomic(root / RESULTS / "metrics.json", json.dumps(tables.metrics(decisions), indent=1) + "\n")
    write_atomic(root / RESULTS / "plots.csv", tables.plots_csv(decisions))
    readme = root / "README.md"
    if readme.is_file():
        old = readme.read_text(encoding="utf-8")
        new = report.replace_block(old, report.readme_block(decisions))
        if new != old:
            write_atomic(readme, new)


def _log(store: Store, root: Path, decisions: tuple[Decision, ...]) -> None:
    pages = [root / RESULTS / name for name in ("decision.json", "decision.md", "plots.csv")]
    for one in decisions:
        row = one.row(one.chosen) if one.chosen else None
        figures = {"probability_best": one.probability_best, "hours": row.hours if row else None}
        figures["cost_usd"] = float(row.cost_usd) if row and row.cost_usd is not None else None
        known = {name: value for name, value in figures.items() if value is not None}
        tags = {"verdict": one.verdict, "chosen": one.chosen or "none", "objective": one.asked.objective}
        store.log_decision(one.model_dump(mode="json"), pages, one.workload, known, tags)


def reproduce(cfg: Config, snapshot: prices.PriceList) -> list[str]:
    """Commands and facts that lead to this answer."""
    today = dt.datetime.now(dt.UTC).date()
    return [
        "make decide    # or, without training anything again: python -m yocobench.compare",
        prices.age(snapshot, cfg.price_stale_after_days, cfg.region, cfg.usage_class, today),
        f"region {cfg.region}, {cfg.usage_class}; objective {cfg.objective}; runs by launcher {cfg.launch}",
    ]


if __name__ == "__main__":
    config.stage(main)()
