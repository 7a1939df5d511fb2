"""Return what a recorded receipt says, labelled `replayed`, without running anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from yocobench import receipt
from yocobench.bench.measurement import Measurement
from yocobench.launchers.base import Launcher, Progress
from yocobench.schema import CellSpec, Instance


class ReplayLauncher(Launcher):
    """Reads <receipts>/<workload>/<subset>/<instance>.json."""

    def __init__(self, receipts: str) -> None:
        self.receipts = receipts

    def run(self, spec: CellSpec, instance: Instance, root: Path, report: Callable[[Progress], None]) -> Measurement:
        """See Launcher.run. A cell without a receipt is `unmeasured`; a damaged one raises ValueError."""
        path = root / self.receipts / spec.workload.name / spec.subset / f"{spec.instance}.json"
        if not path.is_file():
            reason = f"no recorded receipt {path.relative_to(root)}"
            return Measurement(outcome="unmeasured", reason=reason, source="replayed", detected=None)
        recorded = receipt.read(path)
        if recorded.spec.workload != spec.workload:
            reason = f"{path.relative_to(root)} was recorded for another configuration of {spec.workload.name}"
            return Measurement(outcome="unmeasured", reason=reason, source="replayed", detected=None)
        report(Progress("replay", 0, len(recorded.measurement.repeats)))
        return recorded.measurement.model_copy(update={"source": "replayed"})
