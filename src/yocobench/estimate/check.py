"""How estimates of measured cells turned out: each cell estimated as if it had not been measured (leave-one-out)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from yocobench import config
from yocobench.estimate.calibration import Calibration, measured_step_s
from yocobench.estimate.estimator import Estimate, estimate
from yocobench.estimate.residuals import is_elsewhere
from yocobench.receipt import Receipt


@dataclass(frozen=True)
class Check:
    """A measured cell beside its estimate from all other cells."""

    workload: str
    instance: str
    samples_per_second: float
    """Measured."""
    est_samples_per_second: float
    est_interval: tuple[float, float]
    """Its 90 % interval."""
    relative_error: float
    """Estimated over measured, minus one."""
    inside: bool
    """Does the 90 % interval hold the measurement?"""
    calibrated_on: str


def leave_one_out(receipts: Iterable[Receipt], calibration: Calibration) -> list[Check]:
    """One check per measured cell that can be estimated: not what another host measured of itself.

    Raises ValueError for a workload that cannot be built.
    """
    found = []
    for receipt in receipts:
        spec, timing = receipt.spec, measured_step_s(receipt.measurement)
        if timing is None or receipt.measurement.source != "measured" or is_elsewhere(spec, calibration.host):
            continue
        split = {"micro_batch_size": spec.micro_batch_size, "processes": spec.processes}
        fixed = spec.workload.model_copy(update=split)
        others = calibration.without(spec.workload.name, spec.instance)
        guess = estimate(fixed, config.instance(spec.instance), others, spec.precision)
        if not isinstance(guess, Estimate):
            continue
        rate = guess.samples_per_second * guess.step_s / timing[0]
        found.append(
            Check(
                workload=spec.workload.name,
                instance=spec.instance,
                samples_per_second=rate,
                est_samples_per_second=guess.samples_per_second,
                est_interval=(guess.low_samples_per_second, guess.high_samples_per_second),
                relative_error=guess.samples_per_second / rate - 1,
                inside=guess.low_samples_per_second <= rate <= guess.high_samples_per_second,
                calibrated_on=guess.calibrated_on,
            )
        )
    return found
