"""Readings of the machine while it trains: CPU, memory, disk, network, GPU.

Key names and units are those of MLflow's own system metrics (mlflow/system_metrics/metrics), so that its UI shows
them; MLflow itself is not needed on the machine that measures.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

import psutil
import pynvml

from yocobench.bench.measurement import SystemSample

BYTES_PER_MEGABYTE = 1e6
VMSTAT = Path("/proc/vmstat")


class Sampler:
    """Context manager: a daemon thread takes a reading every `interval_s` seconds, and one more at the end.

    A reading takes about a millisecond of one core. What cannot be read is left out of the reading.
    """

    def __init__(self, interval_s: float = 1.0):
        self.interval_s = interval_s
        self._samples: list[SystemSample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="system-sampler", daemon=True)
        self._network_start = psutil.net_io_counters()
        self._gpus: list[object] = []

    @property
    def samples(self) -> tuple[SystemSample, ...]:
        """Readings so far, oldest first."""
        return tuple(self._samples)

    def __enter__(self) -> Sampler:
        """Start reading."""
        self._gpus = gpus()
        psutil.cpu_percent()  # the first call has nothing to compare with and returns 0
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading; raises nothing of its own."""
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self.interval_s):
            self._read()
        self._read()

    def _read(self) -> None:
        values: dict[str, float] = {}
        parts = [_host, _disk, self._network]
        parts += [partial(part, i, gpu) for i, gpu in enumerate(self._gpus) for part in GPU_PARTS]
        for part in parts:
            try:
                values.update(part())
            except (OSError, psutil.Error, pynvml.NVMLError):
                continue
        self._samples.append(SystemSample(timestamp_ms=time.time_ns() // 1_000_000, values=values))

    def _network(self) -> Iterator[tuple[str, float]]:
        now = psutil.net_io_counters()
        if now is None or self._network_start is None:  # a machine without a network interface
            return
        yield "network_receive_megabytes", (now.bytes_recv - self._network_start.bytes_recv) / BYTES_PER_MEGABYTE
        yield "network_transmit_megabytes", (now.bytes_sent - self._network_start.bytes_sent) / BYTES_PER_MEGABYTE


def oom_kills() -> int | None:
    """Processes that this kernel has killed for want of memory, of containers too; null off Linux."""
    try:
        lines = VMSTAT.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def _host() -> Iterator[tuple[str, float]]:
    yield "cpu_utilization_percentage", psutil.cpu_percent()
    memory = psutil.virtual_memory()
    yield "system_memory_usage_megabytes", memory.used / BYTES_PER_MEGABYTE
    yield "system_memory_usage_percentage", 100 * memory.used / memory.total


def _disk() -> Iterator[tuple[str, float]]:
    disk = psutil.disk_usage(os.sep)
    yield "disk_usage_percentage", disk.percent
    yield "disk_usage_megabytes", disk.used / BYTES_PER_MEGABYTE
    yield "disk_available_megabytes", disk.free / BYTES_PER_MEGABYTE


@functools.cache  # asked twice a second while steps are timed
def gpus() -> list[object]:
    """One handle per NVIDIA GPU that CUDA may use here; none where the driver's library does not load.

    NVML knows nothing of CUDA_VISIBLE_DEVICES, by which a shared host hands its GPUs out, by number or by UUID. As CUDA
    does, this stops at the first word that names no GPU, and takes a UUID's beginning for it.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        pynvml.nvmlInit()
        every = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        if visible is None:
            return every
        named = (_named(word, every) for word in visible.split(","))
        return list(itertools.takewhile(lambda one: one is not None, named))
    except pynvml.NVMLError:
        return []


def _named(word: str, every: list[object]) -> object | None:
    """The GPU of a word of CUDA_VISIBLE_DEVICES; null: none."""
    word = word.strip()
    if word.isdigit():
        return every[int(word)] if int(word) < len(every) else None
    if word.startswith("MIG-"):
        with contextlib.suppress(pynvml.NVMLError):
            part: object = pynvml.nvmlDeviceGetHandleByUUID(word)
            return part
    alike = [one for one in every if word and pynvml.nvmlDeviceGetUUID(one).startswith(word)]
    return alike[0] if len(alike) == 1 else None


def _gpu_memory(index: int, gpu: object) -> Iterator[tuple[str, float]]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
    yield f"gpu_{index}_memory_usage_percentage", 100 * memory.used / memory.total
    yield f"gpu_{index}_memory_usage_megabytes", memory.used / BYTES_PER_MEGABYTE


def _gpu_load(index: int, gpu: object) -> Iterator[tuple[str, float]]:
    yield f"gpu_{index}_utilization_percentage", float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu)


def _gpu_power(index: int, gpu: object) -> Iterator[tuple[str, float]]:
    watts = pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000
    yield f"gpu_{index}_power_usage_watts", watts
    yield f"gpu_{index}_power_usage_percentage", 100_000 * watts / pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu)


GPU_PARTS = (_gpu_memory, _gpu_load, _gpu_power)
