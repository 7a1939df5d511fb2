"""Return what a recorded receipt says, labelled `replayed`, without running anything.

It is filed under the cell that asks. Where the recording was of another protocol, dataset, code or the like, the reason
says so, and the decision with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from yocobench import receipt
from yocobench.bench.measurement import Measurement
from yocobench.launchers.base import Launcher
from yocobench.schema import CellSpec, Instance
from yocobench.telling import Progress

WORDS = {"dataset_path": "dataset", "dataset_items": "dataset", "dataset_md5": "dataset", "code_md5": "code"}


class ReplayLauncher(Launcher):
    """Reads <receipts>/<workload>/<subset>/<instance>.json."""

    is_free = True

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
        found = recorded.measurement
        said = "; ".join(filter(None, (found.reason, _differences(recorded.spec, spec))))
        return found.model_copy(update={"source": "replayed", "reason": said})


def _differences(recorded: CellSpec, asked: CellSpec) -> str:
    """In what the recording was another cell; empty: in nothing. Whose host it ran on is what `replayed` says."""
    left, right = recorded.model_dump(mode="json"), asked.model_dump(mode="json")
    other = [
        WORDS.get(name, name.replace("_", " ")) for name in left if left[name] != right[name] and name != "host_id"
    ]
    if not other:
        return ""
    return f"replayed from a recording with another {', '.join(dict.fromkeys(other))}: not quite this cell's work"
