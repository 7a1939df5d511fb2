"""What an answer rests on beside runs and prices, in words: model and data as configured, stale prices, missed checks.

Model and data come from the configuration, so that they cannot drift from what was run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import PurePath

from yocobench.estimate import memory, traces
from yocobench.estimate.calibration import HostRates
from yocobench.pricelist import PriceList
from yocobench.schema import Study, WorkloadConfig
from yocobench.selection import wording
from yocobench.selection.checked import Checked
from yocobench.selection.model import Background

NOT_OF_SIZE = ("learning_rate", "weight_decay", "warmup_steps")
"""Arguments that move the loss, not the speed."""


def background(
    study: Study,
    workload: WorkloadConfig,
    prices: PriceList,
    checks: Sequence[Checked],
    today: dt.date,
    host: HostRates | None = None,
) -> Background:
    """What one workload's decision rests on. `checks`: how estimates of measured cells turned out, of any workload;
    `host`: this host's micro-benchmark; null where no estimate of a CPU type leans on it."""
    stale = prices.stale(study, today)
    old = []
    if stale:
        limit = study.price_stale_after_days.days(study.usage_class)
        old.append(
            f"stale prices: {len(stale)} of the study's {len(prices.of_study(study))} {study.usage_class} prices in "
            f"{study.region} are over {limit} days old, the oldest of {stale[0].as_of}; with AWS credentials "
            "`python -m yocobench.prices` fetches new ones"
        )
    busy = [host.warning] if host is not None and host.warning else []
    missed = [one.warning for one in checks if one.workload == workload.name and one.warning]
    return Background(
        model=model(workload),
        data=data(study, workload),
        region=study.region,
        stale_prices=tuple(dict.fromkeys(price.instance_type for price in stale)),
        warnings=(*old, *busy, *missed),
    )


def model(workload: WorkloadConfig) -> str:
    """As in "1.18 million parameters, width 0.35, ..., global batch 16"."""
    try:
        found = traces.trace(workload, memory.TRACED_BATCHES[0], low_precision=False)
        size = [wording.samples(found.num_parameters, "parameter")]
    except ValueError:  # a model that cannot be traced: what is configured is known all the same
        size = []
    args = [f"{name} {value}" for name, value in workload.args.items() if value is not None and name not in NOT_OF_SIZE]
    return ", ".join([*size, *args, f"global batch {workload.global_batch_size}"])


def data(study: Study, workload: WorkloadConfig) -> str:
    """What the workload's dataset is made of; empty: it brings its own."""
    if workload.data is None:
        return ""
    images, text = study.data.images, study.data.text
    if workload.data == "images":
        source, made = images.source, f"{images.num_images:,} rendered images of {images.image_size_px} px"
    else:
        source, made = text.source, f"program text of Python packages, vocabulary of {text.vocab_size:,}"
    if source is None:
        return f"data: {made}, the default"
    return f"data: {source if '://' in source else PurePath(source).name} (data.{workload.data}.source)"
