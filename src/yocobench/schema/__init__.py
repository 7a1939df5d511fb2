"""The typed form of params.yaml and of every file under conf/: frozen, unknown keys refused.

Units stand in the names. Unknown facts are null, never 0. Every section that states facts carries the
`source` it was read in and the date (`as_of`) at which that source was true.
"""

from yocobench.schema.base import (
    AcceleratorKind,
    DataKind,
    Fraction,
    Frozen,
    ImageFamily,
    Name,
    Precision,
    Sourced,
    UsageClass,
)
from yocobench.schema.catalogue import (
    AchievedRate,
    Burst,
    Chip,
    Hardware,
    Instance,
    Observed,
    Offering,
    Rates,
    Training,
)
from yocobench.schema.cell import CellSpec
from yocobench.schema.study import (
    Assume,
    Config,
    DataConfig,
    ImageData,
    Job,
    LauncherConfig,
    MachineImage,
    MachineImages,
    Protocol,
    Restrict,
    StaleAfter,
    Study,
    Subset,
    TextData,
    WorkloadConfig,
)

__all__ = [
    "AcceleratorKind",
    "AchievedRate",
    "Assume",
    "Burst",
    "CellSpec",
    "Chip",
    "Config",
    "DataConfig",
    "DataKind",
    "Fraction",
    "Frozen",
    "Hardware",
    "ImageData",
    "ImageFamily",
    "Instance",
    "Job",
    "LauncherConfig",
    "MachineImage",
    "MachineImages",
    "Name",
    "Observed",
    "Offering",
    "Precision",
    "Protocol",
    "Rates",
    "Restrict",
    "Sourced",
    "StaleAfter",
    "Study",
    "Subset",
    "TextData",
    "Training",
    "UsageClass",
    "WorkloadConfig",
]
