"""Estimates for `compare`: from this host's micro-benchmark and the measured cells, rates for those without one."""

from __future__ import annotations

import statistics
from pathlib import Path

from yocobench import receipt
from yocobench.bench.statistics import throughput
from yocobench.candidates import Estimator
from yocobench.estimate import calibrate, check, estimator
from yocobench.estimate.calibration import Calibration, good_repeats
from yocobench.evidence import Evidence
from yocobench.receipt import Receipt
from yocobench.schema import WorkloadConfig
from yocobench.selection.checked import Checked, Rates
from yocobench.selection.model import Rate, Shared


def calibration(root: Path) -> Calibration:
    """What estimates lean on. The first call on a host runs its micro-benchmark (15 to 25 s)."""
    return calibrate.load(root)


def estimator_for(config: WorkloadConfig, known: Calibration) -> Estimator:
    """An estimator of one workload's rate on any instance type; it says why where it has no number."""

    def rate(evidence: Evidence) -> tuple[Rate | None, str]:
        found = estimator.estimate(config, evidence.instance, known)
        if isinstance(found, estimator.NoEstimate):
            return None, f"not measured, and no estimate: {found.reason}"
        return (
            Rate(
                samples_per_second=found.samples_per_second,
                low_samples_per_second=found.low_samples_per_second,
                high_samples_per_second=found.high_samples_per_second,
                source="estimated",
                bound_by=estimator.BOUND_WORDS[found.bound_by],
                calibrated_on="; ".join([found.calibrated_on, *found.gaps]),
                shared=tuple(
                    Shared(key=one.key, variance_share=(one.sigma / found.sigma) ** 2) for one in found.shared
                ),
            ),
            "",
        )

    return rate


def checks(root: Path, known: Calibration) -> list[Checked]:
    """Each measured cell of this repository beside the estimate that leaves it out.

    A receipt whose workload or instance type has left the catalogue, or whose code is gone, says so.
    """
    found: list[Checked] = []
    for one in _receipts(root):
        try:
            found += [_checked(each, one) for each in check.leave_one_out([one], known)]
        except ValueError as error:
            found.append(Checked(one.spec.workload.name, one.spec.instance, None, str(error)))
    return found


def _checked(one: check.Check, of: Receipt) -> Checked:
    """Against the mean of the repeats' rates once settled, which is the rate that a decision states of the cell."""
    measured = statistics.fmean(map(throughput, good_repeats(of.measurement)))
    rates = Rates(measured, one.est_samples_per_second, *one.est_interval)
    return Checked(one.workload, one.instance, rates, one.calibrated_on, of.spec.workload.sample_unit)


def _receipts(root: Path) -> list[Receipt]:
    found = []
    for path in sorted((root / receipt.STUDY).rglob("*.json")):
        try:
            found.append(receipt.read(path))
        except (ValueError, OSError):
            continue  # named by `restore` already
    return found
