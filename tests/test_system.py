"""Readings of the machine while it trains."""

import pynvml
import pytest

from yocobench.bench import system
from yocobench.bench.system import Sampler

MLFLOW_KEYS = {
    "cpu_utilization_percentage",
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
    "disk_usage_percentage",
    "disk_usage_megabytes",
    "disk_available_megabytes",
    "network_receive_megabytes",
    "network_transmit_megabytes",
}


def test_even_the_shortest_run_has_one_reading_under_the_names_that_mlflow_uses():
    with Sampler(interval_s=60) as sampler:
        pass
    (sample,) = sampler.samples
    assert {name for name in sample.values if not name.startswith("gpu_")} == MLFLOW_KEYS
    assert 0 <= sample.values["cpu_utilization_percentage"] <= 100
    assert 0 < sample.values["system_memory_usage_percentage"] < 100


def test_the_names_are_those_of_the_installed_mlflow():
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    theirs: set[str] = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        theirs |= set(monitor.metrics)
    assert theirs == MLFLOW_KEYS


def test_readings_are_in_order_and_stop_with_the_block():
    with Sampler(interval_s=0.01) as sampler:
        while len(sampler.samples) < 3:
            pass
    taken = sampler.samples
    stamps = [sample.timestamp_ms for sample in taken]
    assert stamps == sorted(stamps)
    assert sampler.samples == taken


@pytest.mark.parametrize(
    ("visible", "handles"),
    [
        (None, [0, 1, 2, 3]),
        ("2", [2]),
        ("3, 1", [3, 1]),
        ("GPU-2f1c,MIG-8a", [2, "MIG-8a"]),
        ("GPU-", []),  # all begin so
        ("1,-1,2", [1]),  # CUDA stops there
        ("1,7,2", [1]),
        ("", []),
    ],
)
def test_only_the_gpus_that_cuda_may_use_are_read(monkeypatch, visible, handles):
    told = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 4,
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetUUID": lambda number: f"GPU-{number}f1c8e55-92b8-2b21-8a52-22f0b0df9a7b",
    }
    for name, answer in told.items():
        monkeypatch.setattr(pynvml, name, answer)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert system.gpus.__wrapped__() == handles
