"""Stands for `python -m yocobench.train` on a box whose test is about the launcher: a receipt without training."""

import os
import sys
import time
from pathlib import Path

from yocobench import receipt
from yocobench.bench.measurement import Detected, Measurement, RepeatResult
from yocobench.receipt import Provenance, Receipt
from yocobench.schema import CellSpec

HOME, FAULT = Path(os.environ["GUEST"]), os.environ["GUEST_FAULT"]
spec = CellSpec.model_validate_json((HOME / "spec.json").read_text())
words = dict(word.split("=", 1) for word in sys.argv[1:])
assert words == {
    "workload": spec.workload.name,
    "subset": spec.subset,
    "instance": spec.instance,
    "launcher": "local",
    "receipt": "receipt.json",
}, words
print(f"{spec.label}: repeat 1 of {spec.protocol.repeats}, measure, 80 samples/s", flush=True)
if FAULT in ("die", "spot"):
    (HOME / FAULT).touch()
if FAULT in ("die", "spot", "hang", "mute"):
    time.sleep(600)
while (HOME.parent / "slow").exists():  # until the test lets it go on
    time.sleep(0.05)
repeat = RepeatResult(
    repeat=0,
    outcome="ok",
    started_at="2026-11-23T12:00:00+00:00",
    import_s=1.0,
    build_s=0.5,
    first_step_s=0.5,
    step_times_s=(0.1, 0.1, 0.1),
    losses=(3.0, 2.0, 1.0),
    samples_per_step=8,
    micro_batch_size=8,
    accumulation_steps=1,
    precision=spec.precision,
)
detected = Detected(
    host_id="0123456789ab",
    instance_type=spec.instance,
    arch="x86_64",
    cpu_model="a box",
    cpu_flags=(),
    vcpus=2,
    physical_cores=1,
    memory_bytes=8 * 2**30,
    kind=spec.kind,
    accelerator_name=None,
    accelerator_count=spec.accelerator_count,
    accelerator_memory_bytes=None,
)
record = Receipt(
    cell_key=spec.key,
    spec=spec,
    provenance=Provenance(git_commit=None, git_dirty=None, launcher="local", sweep=None),
    measurement=Measurement(outcome="ok", source="measured", detected=detected, repeats=(repeat,)),
    recorded_at="2026-11-23T12:00:00+00:00",
)
receipt.write(record, Path(words["receipt"]))
