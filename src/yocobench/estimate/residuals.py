"""Measured cells against the model: what is left is the workload's own and carries over in part."""

from __future__ import annotations

from pathlib import Path

from yocobench import config, receipt
from yocobench.estimate import loading
from yocobench.estimate.calibration import HostRates, LoaderResidual, Residual, busy_factor, measured_step_s
from yocobench.estimate.device import Device
from yocobench.estimate.devices import open_device
from yocobench.estimate.memory import is_low
from yocobench.estimate.roofline import StepTime, step_time
from yocobench.estimate.traces import trace
from yocobench.receipt import Receipt
from yocobench.schema import CellSpec


def modelled(spec: CellSpec, target: Device) -> StepTime:
    """The model's step time without input: measured steps state their data wait apart."""
    found = trace(spec.workload, spec.micro_batch_size, is_low(spec.precision))
    compiled = spec.workload.compile is not False
    return step_time(found, target, spec.accumulation_steps, compiled, accelerator_count=spec.processes)


def is_elsewhere(spec: CellSpec, host: HostRates | None) -> bool:
    """Whether it is a cell of a detected host that is not the calibrated one: nothing here tells how fast that is."""
    return spec.host_id is not None and (host is None or spec.host_id != host.host_id)


def of_cell(
    spec: CellSpec, compute_step_s: float, relative_error: float, busy: float, host: HostRates | None
) -> Residual | None:
    """The residual of a measured cell: `compute_step_s` is its mean step less the wait for data.

    None when the model has no number for it: a detected host that is not the calibrated one, or a fact that is unknown.
    """
    if is_elsewhere(spec, host):
        return None
    try:
        target = open_device(config.instance(spec.instance), spec.precision, host)
        model = modelled(spec, target)
    except ValueError:
        return None
    busy = busy if target.kind == "cpu" else 1.0
    return Residual(
        workload=spec.workload.name,
        instance=spec.instance,
        chip=target.chip,
        family=target.family,
        kind=target.kind,
        precision=spec.precision,
        ratio=max(compute_step_s, 1e-9) / model.total_s / busy,
        relative_error=relative_error,
        busy=busy,
    )


def of_receipt(found: Receipt, host: HostRates | None) -> Residual | None:
    """The residual of a receipt's cell; None when it was not measured, or was a trial with settings of its own."""
    if found.provenance.purpose == "tune":
        return None
    timing = measured_step_s(found.measurement)
    if found.measurement.source != "measured" or timing is None:
        return None
    mean, wait, error = timing
    spec = _as_run(found)
    return of_cell(spec, mean - wait, error, busy_factor(found.measurement), host)


def _as_run(found: Receipt) -> CellSpec:
    """The cell's spec with `compile` as the steps really ran: a host may lack what compiling takes."""
    ran = [repeat.compiled for repeat in found.measurement.repeats if repeat.compiled is not None]
    if not ran:
        return found.spec
    return found.spec.model_copy(update={"workload": found.spec.workload.model_copy(update={"compile": all(ran)})})


def from_receipts(
    root: Path, host: HostRates | None, mean_image_pixels: float | None
) -> tuple[tuple[Residual, ...], tuple[LoaderResidual, ...]]:
    """Residuals of all readable receipts, one a cell: the study's own before those of cells trained by hand.

    Of the training, and of the loader where it was timed.
    """
    found: dict[tuple[str, str], Residual] = {}
    loaders: dict[tuple[str, str], LoaderResidual] = {}
    for folder in (receipt.STANDALONE, receipt.STUDY):  # the last one counts
        for path in sorted((root / folder).rglob("*.json")):
            try:
                one = receipt.read(path)
                residual = of_receipt(one, host)
            except (ValueError, OSError):
                continue  # a damaged receipt is the stages' business; it calibrates nothing
            if residual is None:
                continue
            cell = residual.workload, residual.instance
            found[cell] = residual
            loader = loading.of_receipt(one, host, mean_image_pixels)
            if loader is not None:
                loaders[cell] = loader
    return tuple(found.values()), tuple(loaders.values())
