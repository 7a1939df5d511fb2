"""Estimates for what is not in the tree: any nn.Module, on an accelerator or instance described in a few lines.

    chip = outside.read("k80.yaml")
    found = outside.estimate_module(model, batch, loss_fn, chip, items=32)
    print(found.samples_per_second, found.low_samples_per_second, found.high_samples_per_second, found.bound_by)

k80.yaml, complete:

    name: nvidia-k80
    kind: cuda
    identity: [Tesla K80]
    precision: fp32
    compute_capability: "3.7"
    rates:
      peak_tflops: {fp32: 4.1}
      memory_gb_per_s: 240
      source: "NVIDIA Tesla K80 datasheet, one of the two GPUs"
      as_of: 2014-11-17
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from yocobench import config, plain
from yocobench.bench import hardware
from yocobench.estimate import interval, memory
from yocobench.estimate.calibration import Calibration
from yocobench.estimate.device import Unknown, from_chip
from yocobench.estimate.devices import open_device
from yocobench.estimate.estimator import Estimate, NoEstimate, precision_of, with_interval
from yocobench.estimate.roofline import step_time
from yocobench.schema import Chip, Instance, Precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

CATALOGUE = Path("conf") / "accelerator"


def read(path: Path | str) -> Chip | Instance:
    """An accelerator or instance file from anywhere. Raises ValueError with every error in it, OSError if unreadable.

    An instance's `defaults` entries (`/accelerator@cpu: name`) are looked for beside the file, then in
    conf/accelerator/; a chip may also stand in the file itself.
    """
    path = Path(path)
    raw = _values(path)
    if "rates" in raw:
        return config.validate(Chip, raw, str(path))
    return config.validate(Instance, _with_chips(raw, path), str(path))


def _values(path: Path) -> dict[Any, Any]:
    """What the file says. Raises ValueError where it cannot be read as YAML, or is not a mapping."""
    try:
        plain.check(path.read_text(encoding="utf-8"))
        raw = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise ValueError(f"{path}: {plain.one_line(error)}") from None
    assert isinstance(raw, dict), raw
    return raw


def _with_chips(raw: dict[Any, Any], path: Path) -> dict[Any, Any]:
    """The instance with its chips read in; fields that only AWS types have default to unknown."""
    raw = {"cpu": None, "accelerator": None, "observed": None, "offering": None, **raw}
    for item in raw.pop("defaults", []):
        for key, name in item.items() if isinstance(item, dict) else ():
            slot = str(key).partition("@")[2]
            places = [path.parent / f"{name}.yaml", CATALOGUE / f"{name}.yaml"]
            found = next((place for place in places if place.is_file()), None)
            if found is None:
                raise ValueError(f"{path}: {key}: {name!r} is neither beside the file nor in {CATALOGUE}/")
            raw[slot] = _values(found)
    return raw


def estimate_module(
    module: nn.Module,
    batch: Any,
    loss_fn: Callable[[nn.Module, Any], Tensor],
    target: Chip | Instance,
    items: int,
    samples_per_item: float = 1.0,
    precision: Precision | None = None,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    calibration: Calibration | None = None,
    compiled: bool = False,
) -> Estimate | NoEstimate:
    """Training rate of a module on a device: `batch` holds `items` items, one step trains on it once.

    The module and the batch may be anywhere; copies go to the meta device, so only the module's own memory is used.
    `optimizer` makes one from parameters (default: AdamW). A chip alone stands in an average host with four cores.
    Raises ValueError when the step cannot be traced there (losses that depend on values).
    """
    from yocobench.bench.accelerators.base import map_tensors
    from yocobench.estimate.trace import trace_module

    calibration = calibration or Calibration()
    name = type(module).__name__
    chosen = precision or (precision_of(target) if isinstance(target, Instance) else target.precision)
    if chosen is None:
        return NoEstimate(name, target.name, "the file names no chip")
    meta = copy.deepcopy(module).to("meta")
    found = trace_module(
        meta,
        loss_fn,
        map_tensors(batch, lambda tensor: tensor.to("meta")),
        items,
        memory.is_low(chosen),
        optimizer([p for p in meta.parameters() if p.requires_grad]) if optimizer else None,
        samples_per_item,
    )
    fixed = found.parameter_bytes + found.gradient_bytes + found.optimizer_state_bytes
    needed = fixed + found.peak_bytes(compiled)
    have = None
    if isinstance(target, Instance):
        detected = hardware.detect()
        have = memory.usable_bytes(target, detected)
        if have is not None and needed > memory.budget_bytes(have, memory.kind_of(target, detected)):
            reason = f"needs {needed / 2**30:.1f} GiB for {items} items, has {have / 2**30:.1f}"
            return NoEstimate(name, target.name, reason, needed, have)
    try:
        if isinstance(target, Instance):
            on = open_device(target, chosen, calibration.host)
        else:
            on = from_chip(target, chosen)
    except Unknown as error:
        return NoEstimate(name, target.name, str(error), needed, have)
    known = interval.correction(calibration, name, on)
    parts = dataclasses.replace(step_time(found, on, compiled=compiled), factor=known.factor)
    return with_interval(
        name,
        target.name,
        device=on,
        precision=chosen,
        parts=parts,
        known=known,
        samples_per_step=items * found.samples_per_item,
        micro_batch_size=items,
        accumulation_steps=1,
        needed_bytes=needed,
        available_bytes=have,
    )
