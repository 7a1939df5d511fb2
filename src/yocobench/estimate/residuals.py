"""Measured cells against the model: what is left is the workload's own and carries over in part."""

from __future__ import annotations

import functools
from pathlib import Path

from yocobench import config, receipt
from yocobench.bench import hardware
from yocobench.estimate import device as devices
from yocobench.estimate.calibration import HostRates, Residual, measured_step_s
from yocobench.estimate.operations import Trace
from yocobench.estimate.roofline import StepTime, step_time
from yocobench.receipt import Receipt
from yocobench.schema import Instance, Precision, WorkloadConfig


@functools.lru_cache(maxsize=64)
def trace(workload_json: str, micro_batch_size: int, low_precision: bool) -> Trace:
    """The trace of a workload config, once per process. Raises ValueError when it cannot be traced."""
    from yocobench.bench.workloads import build_workload
    from yocobench.estimate.trace import trace_workload

    workload = build_workload(WorkloadConfig.model_validate_json(workload_json))
    return trace_workload(workload, micro_batch_size, low_precision)


def workload_key(workload: WorkloadConfig) -> str:
    """The config as text that `trace` takes."""
    return workload.model_dump_json(by_alias=True)


def open_device(instance: Instance, precision: Precision, host: HostRates | None) -> devices.Device:
    """The device of an instance type, or of this host where the type is detected. Raises Unknown."""
    if not instance.detect:
        return devices.from_instance(instance, precision, host)
    detected = hardware.detect()
    if host is None or detected.kind != "cpu":
        raise devices.Unknown("this host has no calibration; run: python -m yocobench.estimate.calibrate")
    return devices.from_host(host, precision, detected.arch)


def modelled(
    workload: WorkloadConfig, target: devices.Device, precision: Precision, micro: int, accumulation: int
) -> StepTime:
    """The model's step time without input: measured steps state their data wait apart."""
    found = trace(workload_key(workload), micro, precision in ("fp16", "bf16"))
    return step_time(found, target, accumulation, workload.compile)


def of_receipt(found: Receipt, host: HostRates | None) -> Residual | None:
    """The residual of a measured cell; None when it was not measured or the model has no number for it."""
    timing = measured_step_s(found.measurement)
    if found.measurement.source != "measured" or timing is None:
        return None
    spec = found.spec
    if spec.host_id is not None and (host is None or spec.host_id != host.host_id):
        return None  # another detected host: its rates are not known here
    instance = config.instance(spec.instance)
    try:
        target = open_device(instance, spec.precision, host)
        model = modelled(
            spec.workload, target, spec.precision, spec.micro_batch_size, spec.accumulation_steps
        )
    except ValueError:
        return None
    mean, wait, error = timing
    return Residual(
        workload=spec.workload.name,
        instance=spec.instance,
        chip=target.chip,
        family=target.family,
        kind=target.kind,
        precision=spec.precision,
        ratio=max(mean - wait, 1e-9) / model.total_s,
        relative_error=error,
    )


def from_receipts(root: Path, host: HostRates | None) -> tuple[Residual, ...]:
    """Residuals of all readable receipts under results/receipts and mlruns/receipts, one a cell."""
    found: dict[tuple[str, str], Residual] = {}
    for folder in ("mlruns/receipts", "results/receipts"):
        for path in sorted((root / folder).rglob("*.json")):
            try:
                residual = of_receipt(receipt.read(path), host)
            except (ValueError, OSError):
                continue  # a damaged receipt is the stages' business; it calibrates nothing
            if residual is not None:
                found[residual.workload, residual.instance] = residual
    return tuple(found.values())
