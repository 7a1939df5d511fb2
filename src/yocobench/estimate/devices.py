"""The device of an instance type, or of this host. No torch, no measurement."""

from __future__ import annotations

from yocobench.bench import hardware
from yocobench.estimate.calibration import HostRates
from yocobench.estimate.constants import LINK_BYTES_PER_S, REFERENCE_COREMARK, SMT_COREMARK
from yocobench.estimate.cpus import from_cpu, from_host
from yocobench.estimate.device import Device, Unknown, from_chip
from yocobench.schema import Hardware, Instance, Observed, Precision


def open_device(instance: Instance, precision: Precision, host: HostRates | None) -> Device:
    """The device of an instance type, or of this host where the type is detected. Raises Unknown."""
    if not instance.detect:
        return from_instance(instance, precision, host)
    detected = hardware.detect()
    if host is None or detected.kind != "cpu":
        raise Unknown("this host has no calibration; run: python -m yocobench.estimate.calibrate")
    return from_host(host, precision, detected.arch)


def from_instance(instance: Instance, precision: Precision, host: HostRates | None) -> Device:
    """The device that trains on an instance type. Raises Unknown when a fact that nothing can stand for is null."""
    chip, hardware = instance.chip, instance.hardware
    if chip is None or hardware is None:
        raise Unknown(f"instance {instance.name!r} states no hardware")
    speed = _thread_speed(instance.observed, hardware)
    if chip.kind == "cpu":
        return from_cpu(
            chip, precision, hardware.physical_cores, hardware.sustained_ghz, hardware.arch, speed, host, instance.name
        )
    # A process drives one NeuronCore (bench/accelerators/neuron.py), which has its share of the chip's memory.
    neuron_cores = hardware.neuron_cores or hardware.accelerator_count
    part = hardware.accelerator_count / neuron_cores if chip.kind == "neuron" else 1.0
    return from_chip(
        chip,
        precision,
        host_cores=hardware.physical_cores,
        host_speed=speed,
        host_chip=instance.cpu.name if instance.cpu else "",
        part_used=part,
        name=instance.name,
        link_bytes_per_s=LINK_BYTES_PER_S,
    )


def _thread_speed(observed: Observed | None, hardware: Hardware) -> float | None:
    """Speed of a thread that has a core to itself, against the reference core's; None: no CoreMark known."""
    coremark = observed.coremark_iterations_per_second if observed else None
    if coremark is None:
        return None
    smt = SMT_COREMARK if hardware.vcpus > hardware.physical_cores else 1.0
    return coremark / hardware.physical_cores / smt / REFERENCE_COREMARK
