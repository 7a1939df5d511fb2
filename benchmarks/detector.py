"""How fast the detector trains on this CPU, against the same network as torch's own layers run it.

    python -m benchmarks.detector                      # the two-core size, minutes (compiling takes most of them)
    python -m benchmarks.detector --size plan          # the plan's own: width 1, 224 px
    python -m benchmarks.detector --profile            # also: where the time of a step goes
    python -m benchmarks detector                      # the two-core size as rows of the common table

Modes take turns, a step each, in every round; rows are medians over the rounds, the ratio is of medians, against
`torch default fp32`: torch's layers, activations in place, eager, images channel by channel in memory, as a model is
that nobody tuned. All other modes keep channels last. Each mode has a process of its own: ours keep freed memory as the
trainer's do, torch's leave that to the C library. A step has forward, loss, backward, clipping and optimiser; its batch
is there. Clock: the wall; let nothing else run. bf16 modes need AMX or AVX512-BF16.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from multiprocessing.connection import Connection
from typing import Any

import torch
from benchmarks.results import Result
from torch import Tensor, nn

from yocobench.bench import hardware
from yocobench.bench.accelerators.base import MAX_GRADIENT_NORM
from yocobench.bench.accelerators.cpu import Device, keep_freed_memory
from yocobench.bench.workloads.detection.layers import DepthwiseConv
from yocobench.bench.workloads.detection.model import BoxHead
from yocobench.bench.workloads.detection.winograd import Conv3x3
from yocobench.bench.workloads.yoco_det import YocoDet
from yocobench.selection.report import table

SIZES = {
    "two-core": {"width": 0.35, "image_size_px": 96, "output_stride": 8},
    "plan": {"width": 1.0, "image_size_px": 224, "output_stride": 32},
}
DEFAULT = "torch default fp32"
MODES = (
    DEFAULT,
    *("torch eager fp32", "ours eager fp32", "ours compiled fp32"),
    *("torch eager bf16", "ours eager bf16", "ours compiled bf16"),
)
BATCH = 16
TARGET = 2.0


def boxes_and_their_mean(head: BoxHead, features: Tensor) -> Tensor:
    """What the box head computes, as its definition says it."""
    boxes = nn.Conv2d.forward(head, features).permute(0, 2, 3, 1).unflatten(-1, (head.num_classes, 4))
    return boxes + boxes.mean(dim=-2, keepdim=True)


def as_torch_has_it(model: nn.Module) -> None:
    """Replace our layers' forward by torch's own, in place."""
    for module in model.modules():
        if isinstance(module, BoxHead):
            module.forward = types.MethodType(boxes_and_their_mean, module)
        elif isinstance(module, DepthwiseConv | Conv3x3):
            module.forward = types.MethodType(nn.Conv2d.forward, module)
        if isinstance(module, nn.ReLU6):
            module.inplace = True


def stepper(workload: YocoDet, mode: str) -> Callable[[], None]:
    """A step of a new model in that mode."""
    torch.manual_seed(0)
    layout = torch.contiguous_format if mode == DEFAULT else torch.channels_last
    model = workload.build().to(memory_format=layout)
    if mode.startswith("torch"):
        as_torch_has_it(model)
    optimizer = workload.optimizer(model)
    loss = workload.loss
    if "compiled" in mode:
        loss = torch.compile(loss, fullgraph=True, dynamic=False, options=dict(Device.compile_options))
    images, targets, counts = workload.example_batch(BATCH)
    images = torch.randint_like(images, 256).contiguous(memory_format=layout)
    targets[:, :4] = torch.tensor([8.0, 8, 40, 40, 1])
    batch = images, targets, counts + 4

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16) if "bf16" in mode else nullcontext():
            value = loss(model, batch)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds(step: Callable[[], None]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def profile(step: Callable[[], None]) -> str:
    """The operations that take most of a step, in milliseconds and share."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        step()
    events = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    rows = [
        [event.key[:60], f"{event.self_cpu_time_total / 1e3:.1f}", f"{event.self_cpu_time_total / total:.0%}"]
        for event in events[:10]
    ]
    return table(["operation", "ms", "share"], rows)


def serve(connection: Connection, size: str, mode: str, threads: int) -> None:
    """A mode's process: "step" is answered by its seconds, "profile" by a table, the end of the pipe ends it."""
    torch.set_num_threads(threads)
    if mode.startswith("ours"):
        keep_freed_memory()
    step = stepper(YocoDet(**SIZES[size]), mode)
    step()  # compiles; allocates
    step()
    try:
        connection.send("ready")
        while True:
            connection.send(seconds(step) if connection.recv() == "step" else profile(step))
    except (EOFError, BrokenPipeError):
        return


@contextmanager
def served(size: str, mode: str, threads: int) -> Iterator[Connection]:
    """The pipe to a mode's process that is ready. Raises ChildProcessError where it ends by itself."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, size, mode, threads))
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield ours
    except EOFError as error:
        raise ChildProcessError(f"the process of {mode!r} ended; what it said stands above") from error
    finally:
        ours.close()
        process.join()


def asked(pipe: Connection, what: str) -> Any:
    """The answer of a mode's process."""
    pipe.send(what)
    return pipe.recv()


def measured(
    size: str, modes: Sequence[str], rounds: int, threads: int = 1, profiled: bool = False
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds a step of each mode in each round, and, where asked, its profile."""
    times: dict[str, list[float]] = {mode: [] for mode in modes}
    with ExitStack() as stack:
        pipes = {mode: stack.enter_context(served(size, mode, threads)) for mode in modes}
        for _ in range(rounds):
            for mode, pipe in pipes.items():
                times[mode].append(asked(pipe, "step"))
        profiles = {mode: asked(pipe, "profile") for mode, pipe in pipes.items()} if profiled else {}
    return times, profiles


def results() -> list[Result]:
    """Images per second of each mode against torch's layers, eager and in fp32."""
    fast = hardware.precision(hardware.detect()) == "bf16"
    modes = [mode for mode in MODES if fast or "fp32" in mode]
    times, _ = measured("two-core", modes, rounds=7)
    return judged({mode: BATCH / statistics.median(taken) for mode, taken in times.items()})


def judged(rates: Mapping[str, float]) -> list[Result]:
    """A row for each mode but the bar, the first. The last, compiled in the fastest precision, has a target to meet."""
    (first, bar), *others = rates.items()
    rows = []
    for mode, rate in others:
        last = mode == others[-1][0]
        aim, met = (f"at least {TARGET:.1f}", rate / bar >= TARGET) if last else ("", None)
        rows.append(Result(mode, f"{rate:.1f} images/s", f"{first}: {bar:.1f} images/s", rate / bar, aim, met))
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="two-core")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    times, profiles = measured(options.size, options.modes, options.rounds, options.threads, options.profile)
    first = statistics.median(times[options.modes[0]])
    flops = YocoDet(**SIZES[options.size]).flops_per_sample()
    rows = []
    for mode, taken in times.items():
        middle = statistics.median(taken)
        rate = flops * BATCH / middle / 1e9
        cells = [f"{middle * 1e3:.0f}", f"{min(taken) * 1e3:.0f}", f"{BATCH / middle:.1f}", f"{rate:.0f}"]
        rows.append([mode, *cells, f"{first / middle:.2f}"])
    print(
        f"{options.size}, batch {BATCH}, {options.threads} thread(s), torch {torch.__version__}, {platform.machine()}"
    )
    print(table(["mode", "ms a step", "fastest", "images/s", "GFLOP/s", "ratio"], rows))
    for mode, table_of_mode in profiles.items():
        print(f"\n{mode}\n{table_of_mode}")


if __name__ == "__main__":
    main()
