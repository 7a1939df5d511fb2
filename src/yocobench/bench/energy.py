"""Energy of the timed steps, where the hardware meters it: GPUs by NVML, CPU packages and their memory by RAPL.

NVML is asked through nvidia-ml-py, which is here for the system metrics anyway; Zeus would add dependencies for the
same counter. What is not metered is missing, not nought: board, disks and fans always, CPUs in virtual machines (RAPL
is not passed on to them) and where only root may read it (since CVE-2020-8694), GPUs before Volta.
"""

from __future__ import annotations

from pathlib import Path

import pynvml

from yocobench.bench.system import gpus

POWERCAP = Path("/sys/class/powercap")


class Meter:
    """From its making to `used_j()`. Look more often than a counter wraps around: RAPL's does in some 20 minutes."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        """`powercap`: where the kernel shows RAPL's counters."""
        self._zones = _zones(powercap)
        self._used_j: dict[str, float] = {}
        self._rapl = self._read_rapl()
        self._nvml_j = _read_nvml()

    def look(self) -> None:
        """Add what RAPL has counted since the last look."""
        now = self._read_rapl()
        if now is None or self._rapl is None:
            self._rapl = None  # one gap, and the sum is unknown
            return
        for zone, (counted_uj, range_uj) in now.items():
            change = counted_uj - self._rapl[zone][0]
            # The counter starts again at nought after range_uj (Documentation/power/powercap/powercap.rst).
            change += range_uj if change < 0 else 0
            self._used_j["rapl"] = self._used_j.get("rapl", 0.0) + change / 1e6
        self._rapl = now

    def used_j(self) -> dict[str, float]:
        """Joules by meter, `nvml` (all GPUs) and `rapl` (all packages and their DRAM); those that exist."""
        self.look()
        found = {} if self._rapl is None else dict(self._used_j)
        end = _read_nvml()
        if end is not None and self._nvml_j is not None:
            found["nvml"] = end - self._nvml_j
        return found

    def _read_rapl(self) -> dict[Path, tuple[int, int]] | None:
        """Count and range in microjoules by zone; null where there is none or it may not be read."""
        try:
            return {
                zone: (_number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")) for zone in self._zones
            } or None
        except (OSError, ValueError):
            return None


def _zones(powercap: Path) -> list[Path]:
    """Packages and the DRAM beside them. A package's cores are within it, and psys holds packages already."""
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD's too; intel-rapl-mmio:* would count a package twice
        try:
            name = (zone / "name").read_text().strip()
        except OSError:
            continue
        if name.startswith("package") or name == "dram":
            found.append(zone)
    return found


def _number(path: Path) -> int:
    return int(path.read_text())


def _read_nvml() -> float | None:
    """Joules that all GPUs have used since their driver was loaded; null without a GPU that counts them."""
    try:
        handles = gpus()
        millijoules = [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles]
    except pynvml.NVMLError:
        return None
    return sum(millijoules) / 1000 if handles else None
