"""Stage `plan`: write every cell's work order, before any spend. Runs at each `dvc repro`, in seconds.

    python -m yocobench.plan

It reads this host, the catalogue, the datasets and the region's offers as last fetched. It writes everything that can
change the cell's measured number, and nothing else, to data/plan/<workload>/<subset>/<instance>.json. dvc.yaml makes
that file a dependency of the cell, so a change reruns exactly the cells it affects: a new price none, a fact about the
T4 only the T4's.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yocobench import config, files, pricelist, receipt, tuned
from yocobench.bench import hardware
from yocobench.bench.data.manifest import digest, read_manifest, subset_items
from yocobench.bench.measurement import Detected
from yocobench.code_digest import code_md5
from yocobench.estimate import traces
from yocobench.estimate.memory import MemoryNeed
from yocobench.estimate.split import TooLarge, smallest, split
from yocobench.pricelist import Offer, PriceList
from yocobench.schema import (
    CellSpec,
    Chip,
    Config,
    DataKind,
    Frozen,
    Instance,
    Precision,
    Study,
    Subset,
    WorkloadConfig,
)
from yocobench.selection import objectives
from yocobench.selection.eligibility import Exclusion, does_not_fit, exclude

PLAN = Path("data/plan")


class PlannedCell(Frozen):
    """A cell's work order, or why it will not run."""

    spec: CellSpec
    exclusion: Exclusion | None


def plan_cell(
    study: Study,
    workload: WorkloadConfig,
    subset: Subset,
    instance: Instance,
    detected: Detected,
    root: Path,
    as_tuned: bool = True,
) -> PlannedCell:
    """Resolve one cell, with the settings that tuning found for it (`as_tuned`).

    Raises ValueError when the dataset is missing or smaller than the subset.
    """
    best = tuned.find(workload, instance.name, detected.host_id if instance.detect else None, root)
    if best is not None and as_tuned:
        workload = best.settings.on(workload)
    chip = detected_chip(detected) if instance.detect else instance.chip
    precision = workload.precision or (chip.precision if chip else hardware.precision(detected))
    shared, exclusion = smallest(workload), exclude(instance, study.region, _offer(instance, study.region, root))
    if exclusion is None:
        _check_precision(workload, instance, detected)
        try:
            shared = split(workload, instance, _memory_need(workload, precision), detected)
        except TooLarge as found:
            shared, stated = found.split, instance.hardware or instance.training
            micro = shared.micro_batch_size
            exclusion = does_not_fit(found.needed_bytes, found.available_bytes, micro, stated.as_of)
    data = data_slice(workload, subset, root)
    spec = CellSpec(
        workload=workload,
        subset=subset.name,
        dataset_path=data.path,
        dataset_items=data.items,
        dataset_md5=data.md5,
        instance=instance.name,
        kind=chip.kind if chip else detected.kind,
        precision=precision,
        accelerator_count=detected.accelerator_count
        if instance.hardware is None
        else instance.hardware.accelerator_count,
        **dataclasses.asdict(shared),
        protocol=study.protocol,
        code_md5=code_md5(workload),
        host_id=detected.host_id if instance.detect else None,
    )
    return PlannedCell(spec=spec, exclusion=exclusion)


def _check_precision(workload: WorkloadConfig, instance: Instance, detected: Detected) -> None:
    """Raises ValueError where the workload asks for one that training cannot use there."""
    stated = detected if instance.detect or instance.chip is None else instance.chip
    known = hardware.precisions(stated.kind, stated.compute_capability)
    if workload.precision not in (None, *known):
        raise ValueError(
            f"conf/workload/{workload.name}.yaml: precision {workload.precision!r} is not for {instance.name}; known: "
            f"{', '.join(known)}. Leave it null for the fastest of each type, or take {instance.name} out"
        )


def _memory_need(workload: WorkloadConfig, precision: Precision) -> MemoryNeed | None:
    """Null for a model that cannot be traced, where the micro-batch is stated.

    Raises ValueError where it is not stated, or the model is never built.
    """
    try:
        return traces.memory_need(workload, precision)
    except ValueError as error:
        if workload.micro_batch_size is None or isinstance(error, traces.NotBuilt):
            raise
        return None


def _offer(instance: Instance, region: str, root: Path) -> Offer | None:
    """Where AWS offered the type when the stage `prices` last asked; null: never asked, or no list that can be read."""
    path = root / pricelist.SNAPSHOT
    try:
        return _snapshot(path, path.stat().st_mtime_ns).offer(instance.name, region)
    except (ValueError, OSError):
        return None  # `compare` says what is wrong with the list: measuring does not need it


@functools.cache
def _snapshot(path: Path, _changed_ns: int) -> PriceList:
    return pricelist.load(path)


@dataclass(frozen=True)
class DataSlice:
    """What a workload reads: the dataset's folder relative to the root, items of its training split, digest of both."""

    path: str | None
    items: int | None
    md5: str | None


def data_slice(workload: WorkloadConfig, subset: Subset, root: Path) -> DataSlice:
    """The subset as this workload sees it. Raises ValueError: no dataset yet, damaged, or smaller than the subset."""
    if workload.data is None:
        return DataSlice(None, None, None)
    return _slice(workload.data, subset.model_dump_json(), root)


@functools.cache
def _slice(kind: DataKind, subset_json: str, root: Path) -> DataSlice:
    folder = f"data/{kind}"
    items = subset_items(read_manifest(root / folder), Subset.model_validate_json(subset_json))
    return DataSlice(folder, items, digest(kind, root / folder, items))


@functools.cache
def detected_chip(detected: Detected) -> Chip | None:
    """The catalogue's entry for what this host trains on; null for a chip that it does not know."""
    name = detected.accelerator_name or detected.cpu_model
    for chip in config.chips():
        if chip.kind == detected.kind and chip.is_named(name):
            return chip
    return None


def plan_cells(study: Study, instances: list[Instance], detected: Detected, root: Path) -> Iterator[PlannedCell]:
    """Every cell of the study's workloads and subsets on these instances, in the order of params.yaml."""
    subsets = config.subsets(study.subsets)
    for workload in map(config.workload, study.workloads):
        for subset in subsets:
            for instance in instances:
                yield plan_cell(study, workload, subset, instance, detected, root)


def main(cfg: Config) -> None:
    """Plan every cell of the study."""
    root, detected = config.root(), hardware.detect()
    receipt.set_aside(root)  # before DVC removes those whose cells run again
    objectives.get(cfg.objective)  # else `compare` would be the first to look, after everything was measured
    counts: collections.Counter[str] = collections.Counter()
    for planned in plan_cells(cfg, config.instances(cfg.instances), detected, root):
        spec = planned.spec
        path = root / PLAN / spec.workload.name / spec.subset / f"{spec.instance}.json"
        files.write_atomic(path, planned.model_dump_json(by_alias=True, indent=1) + "\n")
        counts[planned.exclusion.outcome if planned.exclusion else "to run"] += 1
    said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    print(f"{counts.total()} cells on {detected.cpu_model}, {detected.accelerator_name or 'no accelerator'}: {said}")


if __name__ == "__main__":
    config.stage(main)()
