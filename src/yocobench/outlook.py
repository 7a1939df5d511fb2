"""While boxes run side by side: what a finished one proves about the others.

Its measured rate takes the place of the estimate, the decision is made anew from everything that `compare` reads, and
left in mlruns/outlook.json for the train stages, which come later. The runs themselves reach MLflow by those stages.
Not covered: the rate of a box that still runs, which its warm-up and its throttling may yet change.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from yocobench import worth
from yocobench.bench.measurement import Measurement
from yocobench.bench.statistics import relative_half_width, throughput
from yocobench.evidence import REFERENCE, rate_over
from yocobench.files import write_atomic
from yocobench.schema import CellSpec, Config
from yocobench.selection import decision as layout
from yocobench.selection import equal_work
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.model import Candidate

if TYPE_CHECKING:
    from yocobench.gathering import Gathered


class Outlook:
    """The decision so far. Everything is read at the first finished box: that takes seconds, and boxes take minutes."""

    def __init__(self, cfg: Config, root: Path) -> None:
        self.cfg, self.root = cfg, root
        self._gathered: dict[str, Gathered] | None = None

    def learn(self, spec: CellSpec, measurement: Measurement) -> dict[str, Decision]:
        """The decisions, by workload, once this is known. Raises ValueError, OSError where `compare` would."""
        from yocobench import estimates, gathering, pricelist  # torch and MLflow, for those who need them

        if self._gathered is None:
            snapshot = pricelist.load(self.root / pricelist.SNAPSHOT)
            found = gathering.gather(self.cfg, self.root, snapshot, estimates.calibration(self.root))
            self._gathered = dict(zip(self.cfg.workloads, found, strict=True))
        one = self._gathered[spec.workload.name]
        one.candidates[:] = [with_measured(known, spec, measurement, one.references) for known in one.candidates]
        every = [decide_workload(g.candidates, g.terms) for g in self._gathered.values()]
        write_atomic(self.root / worth.OUTLOOK, layout.dump(tuple(every)))
        return {decision.workload: decision for decision in every}


def with_measured(
    known: Candidate, spec: CellSpec, measurement: Measurement, references: dict[str, list[equal_work.Run]]
) -> Candidate:
    """The candidate with that rate, if it is the cell's own and the work was equal as far as one can tell."""
    good = [repeat for repeat in measurement.repeats if repeat.outcome == "ok" and repeat.step_times_s]
    if known.instance != spec.instance or known.subset != spec.subset or not good:
        return known
    if spec.precision != REFERENCE:
        runs = [equal_work.Run(one.repeat, len(one.warmup_step_times_s), one.losses) for one in good]
        equal, why = equal_work.judge(runs, references.get(spec.subset, ()))
        if equal is False:
            return known.model_copy(update={"can_be_chosen": False, "reason": why, "equal_work": False})
    half = relative_half_width(good[0].step_times_s)
    rate = rate_over([throughput(repeat) for repeat in good], half, measurement.source)
    return known.model_copy(update={"status": "measured", "reason": "", "rate": rate})
