"""A cell's work order."""

from __future__ import annotations

import hashlib
import json

from pydantic import PositiveInt

from yocobench.schema.base import AcceleratorKind, Frozen, Name, Precision
from yocobench.schema.study import Protocol, WorkloadConfig


class CellSpec(Frozen):
    """(workload, subset, instance) with everything that can change its measured number, and nothing else."""

    workload: WorkloadConfig
    subset: Name
    dataset_path: str | None
    """Folder of the dataset, relative to the repository root."""
    dataset_items: int | None
    """How many items of the training split the subset takes."""
    dataset_md5: str | None
    instance: Name
    kind: AcceleratorKind
    precision: Precision
    accelerator_count: int
    processes: PositiveInt = 1
    """Training processes, each with an accelerator of its own; the global batch is shared evenly."""
    sharded: bool = False
    """The model is spread over the processes, since one accelerator cannot hold it."""
    micro_batch_size: PositiveInt
    """Items of one process's forward pass: global batch = processes x accumulation_steps x micro_batch_size."""
    accumulation_steps: PositiveInt
    protocol: Protocol
    code_md5: str
    """Digest of src/yocobench/bench and, for a workload from elsewhere, of its module."""
    host_id: str | None
    """Set for a detected instance only: another laptop is another cell."""

    @property
    def key(self) -> str:
        """16 hex digits: equal keys are equal work, comparable and poolable."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """Human name of the cell."""
        return f"{self.workload.name}-{self.subset}-{self.instance}"
