"""All that a decision is made from: runs from MLflow, estimates for what was not measured, prices.

For the stage `compare`, which says what counts, and for the launch stage while boxes run (outlook.py).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from yocobench import config, estimates, evidence, pricelist
from yocobench.bench import hardware
from yocobench.bench.measurement import Detected
from yocobench.candidates import candidate, terms
from yocobench.estimate.calibration import Calibration
from yocobench.evidence import Evidence, SubsetFit
from yocobench.plan import PlannedCell, plan_cell
from yocobench.restore import receipts, restore
from yocobench.schema import Config, Instance, WorkloadConfig
from yocobench.selection.equal_work import Run
from yocobench.selection.model import Candidate, Terms
from yocobench.tracking import Runs, ask, open_store, recall


@dataclass(frozen=True)
class Gathered:
    """All that one workload's decision is made from."""

    terms: Terms
    candidates: list[Candidate]
    references: dict[str, list[Run]]
    """Loss curves in the reference precision, by subset."""
    fits: list[SubsetFit]
    """How well the smaller subsets predicted the largest, by instance type."""

    @property
    def guesses_cpus(self) -> bool:
        """Whether a CPU type's rate is estimated, for which this host's micro-benchmark stands."""
        return any(one.is_cpu_only and one.rate and one.rate.source == "estimated" for one in self.candidates)


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
