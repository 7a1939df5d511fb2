"""What else the host did while steps were timed: stolen time, other processes, throttling.

Read at both ends of the timed steps, outside their clock; what cannot be read is null.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import pynvml

from yocobench.bench.measurement import HostActivity
from yocobench.bench.system import gpus

CPUS = Path("/sys/devices/system/cpu")
GPU_SLOWDOWNS = {
    "nvmlClocksEventReasonSwThermalSlowdown": "software thermal slowdown",
    "nvmlClocksEventReasonHwThermalSlowdown": "hardware thermal slowdown",
    "nvmlClocksEventReasonHwPowerBrakeSlowdown": "power brake",
}
"""NVML's bits for a clock below the one asked for, by the reason (nvml.h, nvmlClocksEventReasons)."""
POWER_CAP = "nvmlClocksEventReasonSwPowerCap"
"""The same for the board's own power limit. No disturbance: small boards (T4, L4) run there at every full load."""


@dataclass(frozen=True)
class _Reading:
    total_s: float
    """CPU seconds of the whole host, idle ones included."""
    busy_s: float
    steal_s: float | None
    own_s: float
    throttles: int | None


class Watch:
    """From its making to `seen()`."""

    def __init__(self, cpus: Path = CPUS) -> None:
        """`cpus`: where the kernel counts throttling by CPU."""
        self._cpus = cpus
        self._gpu_throttle: dict[str, None] = {}
        self._gpu_power_capped: bool | None = None
        self._start = self._read()

    def look(self) -> None:
        """Note why the GPUs run slower than asked, if they do now: NVML tells the present only."""
        bits = _clock_reasons()
        named = [text for name, text in GPU_SLOWDOWNS.items() if any(getattr(pynvml, name) & one for one in bits)]
        self._gpu_throttle |= dict.fromkeys(named)
        if bits:
            capped = any(getattr(pynvml, POWER_CAP) & one for one in bits)
            self._gpu_power_capped = bool(self._gpu_power_capped) or capped

    def seen(self) -> HostActivity:
        """The differences since the start."""
        self.look()
        start, end = self._start, self._read()
        total = end.total_s - start.total_s
        known = total > 0
        steal = None if start.steal_s is None or end.steal_s is None else end.steal_s - start.steal_s
        # Ticks are counted in hundredths of a second, so that a short difference may come out below nought.
        other = max(0.0, end.busy_s - start.busy_s - (end.own_s - start.own_s))
        throttles = None
        if start.throttles is not None and end.throttles is not None:
            throttles = end.throttles - start.throttles
        return HostActivity(
            steal_share=steal / total if known and steal is not None else None,
            other_share=other / total if known else None,
            cpu_throttle_events=throttles,
            gpu_throttle=tuple(self._gpu_throttle),
            gpu_power_capped=self._gpu_power_capped,
        )

    def _read(self) -> _Reading:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        steal = getattr(times, "steal", None)
        # Guest time is counted in user and nice already (proc(5)).
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return _Reading(total, total - idle - (steal or 0.0), steal, _own_s(), self._throttles())

    def _throttles(self) -> int | None:
        """Thermal throttle events of all cores; null where the kernel does not count them (virtual machines)."""
        try:
            counts = [int(path.read_text()) for path in self._cpus.glob("cpu*/thermal_throttle/core_throttle_count")]
        except (OSError, ValueError):
            return None
        return sum(counts) if counts else None


def _own_s() -> float:
    """CPU seconds of this process and of those it started, ended ones too; of all ranks where torchrun started it."""
    this = psutil.Process(os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None)
    seconds = 0.0
    for process in (this, *this.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        seconds += times.user + times.system
        # Of children that have ended: loader workers, and the compiler's, which end a minute after it.
        seconds += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return seconds


def _clock_reasons() -> list[int]:
    """NVML's bits for each GPU; empty where it does not say."""
    try:
        return [pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu) for gpu in gpus()]
    except pynvml.NVMLError:
        return []
