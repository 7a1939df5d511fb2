"""Micro-benchmark of this host's CPU, 5 to 15 seconds: prints the rates and keeps them for the estimator.

    python -m yocobench.estimate.calibrate

One thread, CPU time, the best of several tries: a busy neighbour distorts it little, but what shares caches and clock
with it does. At a load of 8 to 13 on two Zen 3 cores two runs differed by 16 to 18 % in products, depthwise
convolutions and attention, and by 25 % in decoding (2026-11-30). What all cores make of it together is timed by the
wall clock, since a virtual machine may call two threads of one core two cores: those two numbers want a quiet machine.
Kept under mlruns/calibration/, one file per host, with its date.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

from yocobench import config, usage
from yocobench.bench import hardware
from yocobench.bench.data.manifest import ImagesManifest, read_manifest
from yocobench.estimate import calibration
from yocobench.estimate.calibration import Calibration, HostRates
from yocobench.paths import relative

GEMM_SIZES = (64, 128, 256, 512, 1024)
TRY_S = 0.25
"""Seconds that the tries of one probe take together, at least: of the CPU, or of the wall clock for each number of
threads."""
FP32_BYTES = 4
MAIN_MEMORY = 32 * 2**20
"""Numbers that no cache holds."""
IMAGE_PX = 192
"""Its pixels take 111 kB: from 128 kB on malloc may take fresh pages each time, which doubles the time of decoding."""


def best_s(call: Callable[[], object], tries_s: float = TRY_S) -> float:
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

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fp32 = {n: _gemm(n, "float32") for n in GEMM_SIZES}
        rate, tile = fit_sizes(fp32)
        conv, depthwise, attention = _layers()
        return HostRates(
            host_id=host_id,
            measured_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            cpu_model=cpu_model,
            physical_cores=physical_cores,
            torch_version=torch.__version__,
            gemm_fp32_flops_per_s=rate,
            gemm_bf16_flops_per_s=max(_gemm(n, "bfloat16") for n in (256, 512)),
            tile=tile,
            conv_share=conv / rate,
            depthwise_share=depthwise / rate,
            attention_share=attention / rate,
            product_speedup=_speedup(_product(512, "float32"), physical_cores),
            bandwidth_speedup=_speedup(_addition(MAIN_MEMORY), physical_cores),
            bytes_per_s=_bandwidth(MAIN_MEMORY),
            cache_bytes_per_s=_bandwidth(64 * 2**10),
            dispatch_s=_dispatch(),
            decode_s_per_megapixel=_decode(),
        )
    finally:
        torch.set_num_threads(before)


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


def _gemm(n: int, dtype: str) -> float:
    return 2 * n**3 / best_s(_product(n, dtype))


def _product(n: int, dtype: str) -> Callable[[], object]:
    import torch

    left = torch.randn(n, n).to(getattr(torch, dtype))
    right = torch.randn(n, n).to(getattr(torch, dtype))
    result = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=result)


def _speedup(call: Callable[[], object], cores: int) -> float:
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


def _layers() -> tuple[float, float, float]:
    """FLOP/s of a convolution, a depthwise convolution and causal attention, forward and backward."""
    import torch
    from torch.nn import functional

    x = torch.randn(4, 64, 56, 56).contiguous(memory_format=torch.channels_last).requires_grad_()
    dense = torch.randn(64, 64, 3, 3, requires_grad=True)
    thin = torch.randn(64, 1, 3, 3, requires_grad=True)
    q = torch.randn(2, 6, 512, 64, requires_grad=True)
    y = torch.ones(4, 64, 56, 56).contiguous(memory_format=torch.channels_last)
    z = torch.ones_like(q)
    area = 3 * 2 * 4 * 56 * 56 * 64 * 9
    conv = best_s(lambda: functional.conv2d(x, dense, padding=1).backward(y))
    depthwise = best_s(lambda: functional.conv2d(x, thin, padding=1, groups=64).backward(y))
    attention = best_s(lambda: functional.scaled_dot_product_attention(q, q, q, is_causal=True).backward(z))
    return 64 * area / conv, area / depthwise, 3 * 4 * 12 * 512 * 512 * 64 * 0.5 / attention


def _bandwidth(numbers: int) -> float:
    return 2 * FP32_BYTES * numbers / best_s(_addition(numbers))


def _addition(numbers: int) -> Callable[[], object]:
    import torch

    x = torch.ones(numbers)
    result = torch.empty_like(x)
    return lambda: torch.add(x, 1.0, out=result)


def _dispatch() -> float:
    import torch

    x = torch.ones(4)

    def calls() -> None:
        for _ in range(200):
            x + 1.0

    return best_s(calls) / 200


def _decode() -> float:
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = cv2.resize(rng.integers(0, 128, (IMAGE_PX // 16, IMAGE_PX // 16, 3), np.uint8), (IMAGE_PX, IMAGE_PX))
    pixels = shapes + rng.integers(0, 16, shapes.shape, np.uint8)  # 0.18 bytes a pixel, as photos have
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return best_s(lambda: cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)) / (IMAGE_PX**2 / 1e6)


def load(root: Path, refresh: bool = False) -> Calibration:
    """This host's rates and the residuals of every measured receipt."""
    from yocobench.estimate.residuals import from_receipts

    rates = host_rates(root, refresh)
    return Calibration(host=rates, residuals=from_receipts(root, rates), mean_image_pixels=_mean_image_pixels(root))


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
        print(f"error: {relative(error)}", file=sys.stderr)
        return 2
    print(rates.model_dump_json(indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
