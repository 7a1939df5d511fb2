"""Where estimates come from, for `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yocobench.bench.measurement import Detected
from yocobench.candidates import Estimator, Evidence
from yocobench.schema import WorkloadConfig
from yocobench.selection.model import Rate


def estimator_for(workload: WorkloadConfig, known: Sequence[Evidence], detected: Detected, root: Path) -> Estimator:
    """Placeholder until estimate/ lands (next commit)."""

    def estimate(evidence: Evidence) -> tuple[Rate | None, str]:
        last = evidence.outcomes[-1].reason if evidence.outcomes else "not run yet; run: dvc repro"
        return None, last

    return estimate
