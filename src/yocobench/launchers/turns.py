"""Cells that share a machine, measured in turn: repeat 0 of each, then repeat 1 of each, and so on.

A machine drifts: its clock, its heat, its host's other tenants. Repeats that follow each other share a phase of that
drift, so they agree better than they should, and a cell that ran in a good phase looks faster than one that did not. In
turn, every cell meets every phase, and the spread of its repeats shows it.

Each repeat is kept under FOLDER as soon as it is done, by the cell's key: a study that is killed goes on with the
next one. The cell's own stage takes what is whole, once, and writes the receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from yocobench.bench import fit
from yocobench.bench.measurement import Detected, Measurement, RepeatResult, SystemSample
from yocobench.files import write_atomic
from yocobench.paths import relative
from yocobench.schema import CellSpec
from yocobench.telling import say

FOLDER = Path("mlruns/turns")

One = Callable[[CellSpec, int], Measurement]
"""Measures that repeat of that cell, and nothing else."""


def measured(
    repeats: Sequence[RepeatResult],
    samples: Sequence[SystemSample],
    detected: Detected | None,
    versions: dict[str, str],
) -> Measurement:
    """What these repeats of one cell come to. One that is good makes the cell good, unless the user stopped it."""
    last = repeats[-1]
    ok = any(r.outcome == "ok" for r in repeats) and last.outcome != "interrupted"
    return Measurement(
        outcome="ok" if ok else last.outcome,
        reason=last.reason,
        source="measured",
        detected=detected,
        repeats=tuple(repeats),
        system_samples=tuple(samples),
        versions=versions,
    )


def path_of(spec: CellSpec, root: Path) -> Path:
    """Where a cell's repeats wait for its stage."""
    return root / FOLDER / f"{spec.label}-{spec.key}.json"


def whole(spec: CellSpec, root: Path) -> Measurement | None:
    """The cell as it was measured in turn; null where it was not, or not to its end."""
    found = _kept(spec, root)
    return found if found is not None and _is_over(found, spec) else None


def take(cells: Sequence[CellSpec], one: One, root: Path, stop: Sequence[int]) -> bool:
    """Measure what is missing of these cells, in turn; True once `stop` has a signal: what was cut short is not kept.

    A cell on its own is left to its stage. One whose own mistake stops it leaves the rotation: its stage meets the
    same mistake, and says it.
    """
    rotation = [spec for spec in cells if whole(spec, root) is None]
    if len(rotation) < 2:
        return False
    print(f"{len(rotation)} cells share this machine: their repeats are taken in turn")
    while rotation and not stop:
        for spec in tuple(rotation):
            try:
                found = _next(spec, one, root)
                if stop:
                    break
                write_atomic(path_of(spec, root), found.model_dump_json(indent=1) + "\n")
            except (ValueError, RuntimeError, OSError) as error:
                say(f"{spec.label}: {relative(error)}; left to its own stage")
                rotation.remove(spec)
                continue
            if _is_over(found, spec):
                rotation.remove(spec)
    return bool(stop)


def _next(spec: CellSpec, one: One, root: Path) -> Measurement:
    """All that is known of the cell once its next repeat is done."""
    before = _kept(spec, root)
    if before is None:
        return one(spec, 0)
    last = before.repeats[-1]
    # The micro-batch that fitted is found once, for all repeats.
    found = one(fit.at(spec, last.micro_batch_size) if last.micro_batch_size else spec, last.repeat + 1)
    return measured(
        (*before.repeats, *found.repeats),
        (*before.system_samples, *found.system_samples),
        found.detected,
        found.versions,
    )


def _is_over(found: Measurement, spec: CellSpec) -> bool:
    """No repeat is to follow: what ended one would end the next."""
    last = found.repeats[-1]
    return last.outcome != "ok" or last.repeat + 1 >= spec.protocol.repeats


def _kept(spec: CellSpec, root: Path) -> Measurement | None:
    path = path_of(spec, root)
    if not path.is_file():
        return None
    try:
        return Measurement.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError:  # pydantic's, and of bytes that are no text
        say(f"{path.relative_to(root)}: not whole, removed; its repeats are measured again")
        path.unlink()
        return None
