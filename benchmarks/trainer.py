"""How near the language models train to the device's own speed, and YOCO against a Transformer of its size.

    python -m benchmarks trainer                                       # what is compiled, with the targets
    python -m benchmarks.trainer                                       # everything: some 20 minutes of two cores
    python -m benchmarks.trainer --lengths 512 --threads 1             # one slice: two minutes, once it was compiled
    python -m benchmarks.trainer --size small --lengths 1024 --modes compiled
    python -m benchmarks.trainer --kind cuda --size 160m --lengths 2048 --tokens 65536 --peak-tflops 989

In a slice (a sequence length and a number of threads) all models take turns, a step each, in every round; before and
after each step stands a product of two matrices of the slice's precision. A row says:

    MFU       useful FLOPs of the step over its time, as a share of the rate of the two products beside it: what other
              tenants of the host take away is taken from both
    ratio     tokens for each FLOP of those products, against the Transformer in the same mode and round
    tokens/s  as measured
    of peak   useful FLOPs over time, as a share of --peak-tflops, where that is given

Medians over the rounds, with the lowest and highest MFU. On one thread the clock is the process's own CPU time, on more
it is the wall: then the host must be idle, or the threads wait for the slowest. Steps are those of the measured
process: bench/trainer.py, with loader, clipping and optimiser. Accelerators: written for them, tried on none (no GPU
was at hand). Not covered: memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from benchmarks.results import COUNTED_HERE, Result, cell, share_of_peak

from yocobench.bench import hardware
from yocobench.bench.accelerators.base import default_threads
from yocobench.bench.data.text import TOKEN_DTYPE, header
from yocobench.bench.trainer import Trace, Trainer, first_step
from yocobench.bench.workloads.yoco_lm import SIZES
from yocobench.schema import AcceleratorKind, CellSpec, Precision, WorkloadConfig
from yocobench.selection.report import table

MODELS = {
    "yoco-lm, gated retention": ("yocobench.bench.workloads.yoco_lm.YocoLM", {"mixer": "gated-retention"}),
    "yoco-lm, sliding window": ("yocobench.bench.workloads.yoco_lm.YocoLM", {"mixer": "sliding-window"}),
    "transformer": ("yocobench.bench.workloads.transformer.Transformer", {}),
}
BASELINE = "transformer"
TOKENS_PER_STEP = 2048
PRODUCT = 2048
"""Rows of the square matrices: 17 GFLOP, near the processor's best on any that we know of."""
PRODUCT_ON_DEVICE, PRODUCTS_ON_DEVICE = 8192, 8
"""1.1 TFLOP a product: some milliseconds of a GPU."""
SETTLING_STEPS = 2
MIN_SHARE_ONE_THREAD, MIN_SHARE = 0.80, 0.72
MIN_RATIOS = {512: 1.0, 2048: 1.3}
"""Sequence length -> the target for the ratio."""
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Slice:
    """What its contestants have in common."""

    size: str
    length: int
    threads: int
    precision: Precision
    kind: AcceleratorKind = "cpu"
    tokens: int = TOKENS_PER_STEP


@dataclasses.dataclass
class Contestant:
    """A model in a mode, and what was seen of it."""

    model: str
    mode: str
    trainer: Trainer
    flops_per_step: float
    tokens_per_step: int
    seconds: list[float] = dataclasses.field(default_factory=list)
    product_flops_per_s: list[float] = dataclasses.field(default_factory=list)

    def utilisation(self) -> list[float]:
        """Share of the rate of the products beside the step, a round each."""
        pairs = zip(self.seconds, self.product_flops_per_s, strict=True)
        return [self.flops_per_step / seconds / rate for seconds, rate in pairs]

    def tokens_per_flop(self) -> list[float]:
        """Tokens for each FLOP that the products beside the step would have done in its time."""
        pairs = zip(self.seconds, self.product_flops_per_s, strict=True)
        return [self.tokens_per_step / seconds / rate for seconds, rate in pairs]


def spec(model: str, mode: str, slice_: Slice, data: Path) -> CellSpec:
    """A work order for a contestant, on random tokens."""
    target, args = MODELS[model]
    sequences = max(1, slice_.tokens // slice_.length)
    workload = WorkloadConfig(
        name="contestant",
        _target_=target,
        data="text",
        sample_unit="token",
        global_batch_size=sequences,
        threads=slice_.threads,
        compile=mode == "compiled",
        args={"size": slice_.size, "sequence_length": slice_.length, **args},
    )
    return cell(
        COUNTED_HERE,
        workload,
        subset="random",
        dataset_path=str(data),
        kind=slice_.kind,
        precision=slice_.precision,
        accelerator_count=0 if slice_.kind == "cpu" else 1,
    )


def enter(model: str, mode: str, order: CellSpec, clock: Callable[[], float]) -> Contestant:
    """Build, take the first steps. Raises RuntimeError where a compiled contestant would run eagerly."""
    trace = Trace()
    trainer, _ = first_step(order, Path.cwd(), 1, trace, clock)  # repeat 1: no evaluation
    if trace.facts["compiled"] != (mode == "compiled"):
        raise RuntimeError(f"{model}: {'; '.join(trace.warnings)}")
    for _ in range(SETTLING_STEPS):
        trainer.step()
    tokens = trace.facts["samples_per_step"]
    return Contestant(model, mode, trainer, trace.facts["flops_per_sample"] * tokens, tokens)


def compete(contestants: list[Contestant], rounds: int, clock: Callable[[], float], dtype: torch.dtype) -> None:
    """Rounds of a step each, between products of matrices of `dtype` on the device of the first."""
    device = contestants[0].trainer.device
    side, products = (PRODUCT, 1) if device.kind == "cpu" else (PRODUCT_ON_DEVICE, PRODUCTS_ON_DEVICE)
    a, b = (torch.randn(side, side).to(device.device, dtype) for _ in range(2))

    def product_rate() -> float:
        device.synchronize()
        start = clock()
        for _ in range(products):
            torch.mm(a, b)
        device.synchronize()
        return products * 2 * side**3 / (clock() - start)

    product_rate()
    for number in range(rounds):
        shift = number % len(contestants)  # nobody always follows the same one
        before = product_rate()
        for one in contestants[shift:] + contestants[:shift]:
            seconds, _, _ = one.trainer.step()
            after = product_rate()
            one.seconds.append(seconds)
            one.product_flops_per_s.append((before + after) / 2)
            before = after


def rows(contestants: list[Contestant], slice_: Slice, peak_tflops: float | None = None) -> Iterator[tuple[str, ...]]:
    """What a slice found."""
    baseline = {one.mode: one for one in contestants if one.model == BASELINE}
    for one in contestants:
        shares = one.utilisation()
        ratio = "" if one.mode not in baseline else f"{median_ratio(one, baseline[one.mode]):.2f}"
        yield (
            str(slice_.length),
            str(slice_.threads),
            slice_.precision,
            one.model,
            one.mode,
            f"{100 * statistics.median(shares):.1f} %",
            f"{100 * min(shares):.0f} to {100 * max(shares):.0f}",
            ratio,
            f"{one.tokens_per_step / statistics.median(one.seconds):,.0f}",
            f"{statistics.median(one.product_flops_per_s) / 1e9:.0f}",
            share_of_peak(one.flops_per_step / statistics.median(one.seconds), peak_tflops),
        )


def median_ratio(one: Contestant, other: Contestant) -> float:
    """Median over the rounds of the tokens for each FLOP at hand, of one over the other."""
    pairs = zip(one.tokens_per_flop(), other.tokens_per_flop(), strict=True)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def run_slice(models: list[str], modes: list[str], slice_: Slice, rounds: int) -> list[Contestant]:
    """Build all, let them take turns."""
    clock = time.process_time if slice_.kind == "cpu" and slice_.threads == 1 else time.perf_counter
    torch.compiler.reset()  # else the limit of recompilations counts all slices together
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        vocab_size = SIZES[slice_.size].vocab_size
        num_tokens = 64 * max(slice_.tokens, slice_.length)
        tokens = np.random.default_rng(0).integers(min(vocab_size, 2**16), size=num_tokens).astype(TOKEN_DTYPE)
        (data / "train.bin").write_bytes(header(vocab_size, len(tokens)) + tokens.tobytes())
        made = [enter(model, mode, spec(model, mode, slice_, data), clock) for mode in modes for model in models]
        compete(made, rounds, clock, DTYPES[slice_.precision])
    return made


def precision_of(kind: AcceleratorKind) -> Precision:
    """What this host's devices of that kind train in."""
    return hardware.precision(hardware.detect().model_copy(update={"kind": kind}))


def results() -> list[Result]:
    """The compiled models at size tiny, on one thread and on all, in the precision that this processor trains in."""
    found: list[Result] = []
    for threads, length in itertools.product(sorted({1, default_threads()}), MIN_RATIOS):
        slice_ = Slice("tiny", length, threads, precision_of("cpu"))
        found += _results(run_slice(list(MODELS), ["compiled"], slice_, rounds=7), slice_)
    return found


def _results(contestants: list[Contestant], slice_: Slice) -> Iterator[Result]:
    (baseline,) = (one for one in contestants if one.model == BASELINE)
    where = f"T = {slice_.length}, {slice_.threads} thread{'s' * (slice_.threads > 1)}, {slice_.precision}"
    least_share = MIN_SHARE_ONE_THREAD if slice_.threads == 1 else MIN_SHARE
    for one in contestants:
        if one is baseline:
            continue
        share, ratio = statistics.median(one.utilisation()), median_ratio(one, baseline)
        least = MIN_RATIOS[slice_.length]
        rate = statistics.median(one.product_flops_per_s)
        yield Result(
            what=f"{one.model}, {where}: of the rate of matrix products",
            value=f"{share * rate / 1e9:.0f} GFLOP/s",
            against=f"{rate / 1e9:.0f} GFLOP/s",
            ratio=share,
            target=f"at least {least_share:.0%}",
            met=share >= least_share,
        )
        yield Result(
            what=f"{one.model}, {where}: tokens for each FLOP at hand",
            value=f"{one.tokens_per_step / statistics.median(one.seconds):,.0f} tokens/s",
            against=f"{BASELINE}, {baseline.tokens_per_step / statistics.median(baseline.seconds):,.0f} tokens/s",
            ratio=ratio,
            target=f"at least {least}",
            met=ratio >= least,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="the language models against the device's own speed")
    parser.add_argument("--kind", default="cpu", choices=get_args(AcceleratorKind))
    parser.add_argument("--size", default="tiny", choices=SIZES)
    parser.add_argument("--tokens", type=int, default=TOKENS_PER_STEP, help="of a step")
    parser.add_argument("--lengths", nargs="+", type=int, default=[512, 2048], metavar="TOKENS")
    parser.add_argument("--threads", nargs="+", type=int, metavar="N", help="1 and 2 on a CPU, else all cores")
    parser.add_argument("--precisions", nargs="+", choices=DTYPES)
    parser.add_argument("--modes", nargs="+", choices=("eager", "compiled"), default=["eager", "compiled"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak-tflops", type=float, help="the datasheet's, dense, of that precision")
    options = parser.parse_args()
    kind = options.kind
    all_threads = options.threads or ([1, 2] if kind == "cpu" else [default_threads()])
    precisions = options.precisions or [precision_of(kind)]
    found: list[tuple[str, ...]] = []
    for precision, threads, length in itertools.product(precisions, all_threads, options.lengths):
        slice_ = Slice(options.size, length, threads, precision, kind, options.tokens)
        found += rows(run_slice(options.models, options.modes, slice_, options.rounds), slice_, options.peak_tflops)
    head = ["T", "threads", "precision", "model", "mode", "MFU", "range, %", "ratio", "tokens/s", "product, GFLOP/s"]
    print(f"size {options.size}, {kind}, torch {torch.__version__}, load average {os.getloadavg()[0]:.1f}\n")
    print(table([*head, "of peak"], found))


if __name__ == "__main__":
    main()
