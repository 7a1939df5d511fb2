"""Micro-benchmark of this host's CPU, 15 to 25 seconds: prints the rates and keeps them for the estimator.

    python -m yocobench.estimate.calibrate

One thread, CPU time, the best of several tries: a busy neighbour distorts it little, but what shares caches and clock
with it does, for seconds at a time. So the probes take turns, in rounds: else one of them has a bad phase all to itself
(a convolution's share of the product's rate came out as 0.82 and, 20 minutes later, as 0.54 on a shared Zen 3 host;
in turn, four runs gave 0.63 to 0.78, 2026-11-30). What all cores make of it together is timed by the wall clock, since
a virtual machine may call two threads of one core two cores: those two numbers want a quiet machine, and what others
took of this one is kept with them.
Kept under mlruns/calibration/, one file per host, with its date.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from yocobench import config, usage
from yocobench.bench import activity, hardware
from yocobench.bench.data.manifest import ImagesManifest, read_manifest
from yocobench.estimate import calibration
from yocobench.estimate.calibration import Calibration, HostRates
from yocobench.paths import told

Probe = Callable[[], object]
GEMM_SIZES = (64, 128, 256, 512, 1024)
TRY_S = 0.75
"""Wall seconds for each number of threads, in timing what all cores reach together."""
ROUNDS, ROUND_S = 6, 0.08
"""Each probe's turns, and the CPU seconds of its tries in each, at least."""
FP32_BYTES = 4
ATTENTION_FLOPS = 3 * 4 * 12 * 512 * 512 * 64 * 0.5
"""Of 12 heads of 64 over 512 tokens, forward and backward; causal: half of the square."""
MAIN_MEMORY, CACHED = 32 * 2**20, 64 * 2**10
"""Numbers that no cache holds, and that one does."""
DISPATCHES = 200
IMAGE_PX = 192
"""Its pixels take 111 kB: from 128 kB on malloc may take fresh pages each time, which doubles the time of decoding."""


def best_s(call: Probe, tries_s: float) -> float:
    """Least CPU seconds of one call of this thread."""
    call()
    least, spent = math.inf, 0.0
    while spent < tries_s:
        start = time.thread_time()
        call()
        took = time.thread_time() - start
        spent += max(took, 1e-7)
        least = min(least, took)
    return max(least, 1e-9)


def host_rates(root: Path, refresh: bool = False) -> HostRates:
    """This host's rates: kept ones, or measured now and kept. Raises OSError when they cannot be kept."""
    detected = hardware.detect()
    path = calibration.path_of(root, detected.host_id)
    kept = None if refresh else calibration.read(path, detected.host_id)
    if kept is not None:
        return kept
    rates = measure(detected.host_id, detected.cpu_model, detected.physical_cores)
    calibration.write(rates, path)
    return rates


def measure(host_id: str, cpu_model: str, physical_cores: int) -> HostRates:
    """Run all probes, and give the threads back."""
    import torch

    from yocobench.bench.accelerators.cpu import keep_freed_memory

    keep_freed_memory()  # as training does
    before, watch = torch.get_num_threads(), activity.Watch()
    torch.set_num_threads(1)
    try:
        fp32 = {n: _product(n, "float32") for n in GEMM_SIZES}
        bf16 = {n: _product(n, "bfloat16") for n in (256, 512)}
        layers = _layers()
        large, small = _addition(MAIN_MEMORY), _addition(CACHED)
        decoding = _decoding()
        least = in_turn([*fp32.values(), *bf16.values(), *layers, large, small, _dispatch, decoding])
        rate, tile = fit_sizes({n: 2 * n**3 / least[call] for n, call in fp32.items()})
        conv, depthwise, attention = (flops / least[call] for call, flops in layers.items())
        product_speedup, bandwidth_speedup = (_speedup(probe, physical_cores) for probe in (fp32[512], large))
        return HostRates(
            host_id=host_id,
            measured_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            cpu_model=cpu_model,
            physical_cores=physical_cores,
            torch_version=torch.__version__,
            gemm_fp32_flops_per_s=rate,
            gemm_bf16_flops_per_s=max(2 * n**3 / least[call] for n, call in bf16.items()),
            tile=tile,
            conv_share=conv / rate,
            depthwise_share=depthwise / rate,
            attention_share=attention / rate,
            product_speedup=product_speedup,
            bandwidth_speedup=bandwidth_speedup,
            bytes_per_s=2 * FP32_BYTES * MAIN_MEMORY / least[large],
            cache_bytes_per_s=2 * FP32_BYTES * CACHED / least[small],
            dispatch_s=least[_dispatch] / DISPATCHES,
            decode_s_per_megapixel=least[decoding] / (IMAGE_PX**2 / 1e6),
            taken_share=calibration.taken(watch.seen()),
        )
    finally:
        torch.set_num_threads(before)


def in_turn(probes: Sequence[Probe], rounds: int = ROUNDS) -> dict[Probe, float]:
    """Least CPU seconds of a call of each: a few tries of every probe in each round."""
    least = dict.fromkeys(probes, math.inf)
    for _ in range(rounds):
        for probe in probes:
            least[probe] = min(least[probe], best_s(probe, ROUND_S))
    return least


def fit_sizes(rates: dict[int, float]) -> tuple[float, float]:
    """(rate at large sizes, tile) of rate(n) = rate x (n / (n + tile))^2: a line in rate^-1/2 over 1/n, least squares.

    The square is the roofline's factor for the two shortest sides of a cube.
    """
    points = [(1.0 / n, value**-0.5) for n, value in rates.items()]
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    intercept = mean_y - slope * mean_x
    best = max(rates.values())
    if intercept <= 0 or intercept**-2 > 1.3 * best:  # noise: the best size is then the honest ceiling
        return best, 16.0
    return intercept**-2, min(128.0, max(1.0, slope / intercept))


def _product(n: int, dtype: str) -> Probe:
    import torch

    left = torch.randn(n, n).to(getattr(torch, dtype))
    right = torch.randn(n, n).to(getattr(torch, dtype))
    result = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=result)


def _speedup(call: Probe, cores: int) -> float:
    """How many times as fast `cores` threads are as one, from 1 to `cores`: both in turn, the best of each.

    The shorter the call, the likelier that one try of many has all cores to itself.
    """
    import torch

    least = dict.fromkeys((1, cores), math.inf)
    end = time.perf_counter() + len(least) * TRY_S
    while time.perf_counter() < end:
        for threads in least:
            torch.set_num_threads(threads)
            call()  # wakes the threads
            start = time.perf_counter()
            call()
            least[threads] = min(least[threads], time.perf_counter() - start)
    torch.set_num_threads(1)
    return max(1.0, min(float(cores), least[1] / least[cores]))


def _layers() -> dict[Probe, float]:
    """A convolution, a depthwise convolution and causal attention, forward and backward, with their FLOPs."""
    import torch
    from torch.nn import functional

    x = torch.randn(4, 64, 56, 56).contiguous(memory_format=torch.channels_last).requires_grad_()
    dense = torch.randn(64, 64, 3, 3, requires_grad=True)
    thin = torch.randn(64, 1, 3, 3, requires_grad=True)
    q = torch.randn(2, 6, 512, 64, requires_grad=True)
    y = torch.ones(4, 64, 56, 56).contiguous(memory_format=torch.channels_last)
    z = torch.ones_like(q)
    area = 3 * 2 * 4 * 56 * 56 * 64 * 9
    return {
        lambda: functional.conv2d(x, dense, padding=1).backward(y): 64.0 * area,
        lambda: functional.conv2d(x, thin, padding=1, groups=64).backward(y): area,
        lambda: functional.scaled_dot_product_attention(q, q, q, is_causal=True).backward(z): ATTENTION_FLOPS,
    }


def _addition(numbers: int) -> Probe:
    import torch

    x = torch.ones(numbers)
    result = torch.empty_like(x)
    return lambda: torch.add(x, 1.0, out=result)


def _dispatch() -> None:
    import torch

    x = torch.ones(4)
    for _ in range(DISPATCHES):
        x + 1.0


def _decoding() -> Probe:
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = cv2.resize(rng.integers(0, 128, (IMAGE_PX // 16, IMAGE_PX // 16, 3), np.uint8), (IMAGE_PX, IMAGE_PX))
    pixels = shapes + rng.integers(0, 16, shapes.shape, np.uint8)  # 0.18 bytes a pixel, as photos have
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return lambda: cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def load(root: Path, refresh: bool = False) -> Calibration:
    """This host's rates and the residuals of every measured receipt."""
    from yocobench.estimate.residuals import from_receipts

    rates, pixels = host_rates(root, refresh), _mean_image_pixels(root)
    trained, loaders = from_receipts(root, rates, pixels)
    return Calibration(host=rates, residuals=trained, loaders=loaders, mean_image_pixels=pixels)


def _mean_image_pixels(root: Path) -> float | None:
    try:
        manifest = read_manifest(root / "data" / "images")
    except (ValueError, OSError):
        return None  # not made yet, or named by the stage that reads it
    return manifest.mean_image_pixels if isinstance(manifest, ImagesManifest) else None


def main() -> int:
    """Measure anew, keep, print."""
    if usage.shown(__name__):
        return 0
    try:
        rates = host_rates(config.root(), refresh=True)
    except (ValueError, OSError) as error:
        print(told(error), file=sys.stderr)
        return 2
    print(rates.model_dump_json(indent=1))
    if rates.warning:
        print(rates.warning, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
