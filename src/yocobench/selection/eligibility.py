"""Which candidates are out before anything is spent, and why. Pure: facts in, reason out."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal

from yocobench.schema import AcceleratorKind, Frozen, Instance, Study

if TYPE_CHECKING:
    from yocobench.pricelist import Offer


class Exclusion(Frozen):
    """A dated, sourced reason not to run a candidate."""

    outcome: Literal["excluded", "does_not_fit"]
    reason: str
    source: str
    as_of: dt.date


def exclude(instance: Instance, region: str, offer: Offer | None = None) -> Exclusion | None:
    """The first reason that rules the type out; null when it may run.

    A type that is priced may still be retired, unable to train, or not offered in the region: price lists keep rows
    that nobody can launch. `offer`: what AWS last answered for this type in this region; null: it was not asked.
    """
    training, offering = instance.training, instance.offering
    if training.status == "retired":
        return _because(f"retired: {training.reason}", training.source, training.as_of)
    if training.status == "no":
        return _because(f"cannot train: {training.reason}", training.source, training.as_of)
    if offer is not None and (offering is None or offer.as_of >= offering.as_of):  # the later one holds
        return None if offer.zones else _because(f"not offered in {region}", offer.source, offer.as_of)
    if offering is not None and offering.regions_offered == 0:
        return _because("not offered in any region", offering.source, offering.as_of)
    if offering is not None and region == "us-east-1" and not offering.us_east_1_zones:
        return _because("not offered in us-east-1", offering.source, offering.as_of)
    return None


def times_out(kind: AcceleratorKind, study: Study) -> str:
    """Why a paid run would end before its compilation does, and what to raise; empty: it has the time.

    No exclusion: the type can train, is estimated and may win. Only measuring it so would be money for nothing.
    """
    compile_s, timeout_s = study.assume.neuron_compile_s, study.protocol.timeout_s
    if kind != "neuron" or timeout_s > compile_s:
        return ""
    enough_s = timeout_s + compile_s * study.assume.spread  # today's time for all else, and a slow compilation
    return (
        f"protocol.timeout_s ({timeout_s:g}) would end it while it compiles, which is assumed to take "
        f"{compile_s:g} s (assume.neuron_compile_s): raise protocol.timeout_s in params.yaml to {enough_s:g}"
    )


def does_not_fit(needed_bytes: float, available_bytes: float, micro_batch_size: int, as_of: dt.date) -> Exclusion:
    """The model needs more than the device has, even at the smallest micro-batch; `needed_bytes` with headroom."""
    return Exclusion(
        outcome="does_not_fit",
        reason=(
            f"needs {needed_bytes / 2**30:.1f} GiB at micro-batch {micro_batch_size}, headroom included; "
            f"the device has {available_bytes / 2**30:.1f} GiB"
        ),
        source="memory estimate of this project (yocobench.estimate.memory)",
        as_of=as_of,
    )


def _because(reason: str, source: str, as_of: dt.date) -> Exclusion:
    return Exclusion(outcome="excluded", reason=reason, source=source, as_of=as_of)
