"""A host, two toy workloads and a tiny text dataset, for the tests of the plan."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from yocobench import config, plan
from yocobench.bench.data import text
from yocobench.bench.data.manifest import TextManifest
from yocobench.bench.measurement import Detected
from yocobench.estimate import traces
from yocobench.plan import PlannedCell
from yocobench.schema import Subset, WorkloadConfig

HOST = Detected(
    host_id="h0st",
    instance_type=None,
    arch="x86_64",
    cpu_model="AMD EPYC 7571",
    cpu_flags=("avx2",),
    vcpus=2,
    physical_cores=1,
    memory_bytes=8 * 2**30,
    kind="cpu",
    accelerator_name=None,
    accelerator_count=0,
    accelerator_memory_bytes=None,
)
TOY = WorkloadConfig(name="toy", target="toys.Toy", data=None, sample_unit="sample", global_batch_size=16)
WORDS = TOY.model_copy(update={"name": "words", "data": "text", "micro_batch_size": 16})
SMOKE = Subset(name="smoke", items={"text": 400})


def planned(
    instance: str,
    *overrides: str,
    workload: WorkloadConfig = WORDS,
    subset: Subset = SMOKE,
    host: Detected = HOST,
) -> PlannedCell:
    """The cell, planned in the current folder."""
    return plan.plan_cell(config.study(list(overrides)), workload, subset, config.instance(instance), host, Path.cwd())


def write_text(root: Path, tokens: list[int], tokenizer: bytes = b"{}") -> None:
    """A text dataset of these training tokens."""
    folder = root / "data/text"
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (("train.bin", tokens), ("heldout.bin", [1, 2, 3])):
        body = np.asarray(values, dtype="<u2").tobytes()
        (folder / name).write_bytes(text.header(300, len(values)) + body)
    (folder / "tokenizer.json").write_bytes(tokenizer)
    names = ("train.bin", "heldout.bin", "tokenizer.json")
    md5 = {one: hashlib.md5((folder / one).read_bytes(), usedforsecurity=False).hexdigest() for one in names}
    manifest = TextManifest(
        source="by hand",
        train_items=len(tokens),
        heldout_items=3,
        train_documents=1,
        heldout_documents=1,
        vocab_size=300,
        bytes_per_token=1.0,
        heldout_unigram_nats=1.0,
        files_md5=md5,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())


def forget() -> None:
    """The plan remembers the files that it read, since it plans once a process; a test edits them."""
    plan._slice.cache_clear()
    plan.detected_chip.cache_clear()
    traces._trace.cache_clear()
