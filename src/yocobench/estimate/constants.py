"""Every number of the estimator that is neither a fact of a device nor measured here, with its origin.

`Constants` holds what `python -m benchmarks.estimator --fit` fits on the training part of published cross-device
measurements; the rest is stated with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from yocobench.estimate.operations import OperationKind


@dataclass(frozen=True)
class Shares:
    """Part of the best matrix product's rate that each kind of operation reaches when its sides are large."""

    matmul: float
    conv: float
    depthwise_conv: float
    attention: float
    recurrent: float
    tile: float
    """Side of a product at which half of the rate is reached."""

    def of_kind(self, kind: OperationKind) -> float:
        """The share of that kind; only products have one."""
        return float(getattr(self, kind))


@dataclass(frozen=True)
class Constants:
    """Fitted on published training throughput of GPUs (ratios between devices), but for the two times, which those do
    not pin down, and the level."""

    matmul: float
    conv: float
    attention: float
    recurrent: float
    tile: float
    bandwidth: float
    """Part of the datasheet's bandwidth that eager kernels reach in a training step."""
    cache_speedup: float
    """Of the part of an operation's bytes that the last-level cache serves: cache / (cache + bytes)."""
    vector: float
    """fp32 instructions, as FLOPs of the ordinary cores, per byte that an elementwise operation or reduction moves."""
    pj_per_flop: float
    """Energy of a 16-bit product's FLOP in 12 nm, in pJ; TF32 costs twice, fp32 four times that."""
    pj_per_byte: float
    """Energy of a byte moved, caches and registers included, in 12 nm."""
    level: float
    """Factor on a device's time: ratios leave the level open. Median over the 16-bit throughputs of the same data."""
    kernel_us: float
    launch_us: float
    """Host time per kernel in eager PyTorch on the reference core."""

    def shares(self) -> Shares:
        """As the roofline asks for them. Depthwise convolutions are bound by bytes on a GPU."""
        return Shares(self.matmul, self.conv, 0.1, self.attention, self.recurrent, self.tile)

    @classmethod
    def free(cls) -> list[str]:
        """Fields that are fitted."""
        return [field.name for field in fields(cls) if field.name != "level" and not field.name.endswith("_us")]


PRIOR = Constants(
    matmul=0.85, conv=0.9, attention=0.6, recurrent=0.8, tile=30.0, bandwidth=0.5, cache_speedup=3.0, vector=8.0,
    pj_per_flop=3.0, pj_per_byte=100.0, level=0.55, kernel_us=4.0, launch_us=4.5,
)  # fmt: skip
"""Where the fit starts and what it is drawn to: plausible shares, and energies of published 12 nm designs in order."""
PRIOR_SPREAD = 0.25
"""Of the logarithm of a fitted constant around PRIOR; 1 for the two energies."""
FITTED = Constants(
    matmul=0.85, conv=1.041, attention=0.676, recurrent=0.947, tile=28.93, bandwidth=0.33, cache_speedup=3.0,
    vector=7.459, pj_per_flop=3.154, pj_per_byte=89.82, level=0.604, kernel_us=4.0, launch_us=4.5,
)  # fmt: skip
"""`python -m benchmarks.estimator --fit` on 2026-12-01: 283 training pairs, median error of the ratio 8.8 %; on 1,354
pairs held out 9.2 %, mean 12.5 %. `level` after it, where the median of measured over estimated throughputs is 1."""

# --- accelerators -----------------------------------------------------------------------------------------------

GEMM_SHARE = 0.83
"""Best matrix product over datasheet peak, where nobody measured it: mean of A100 0.87, 0.81, GH200 0.84, H100 0.80
(stas00/ml-engineering@744d01e, compute/accelerator/README.md)."""
NEURON_GEMM_SHARE = 0.4
"""Assumed before any rate of a Trainium was found, and kept: AWS's own figures of two transformers are 0.59 to 1.27 of
what is estimated with it (benchmarks/data/trainium.csv, read 2026-12-01)."""
TF32_FROM = 8.0
"""Compute capability from which products left in fp32 run as TF32, unless the run itself is in precision fp32
(bench/accelerators/cuda.py)."""
CACHE_MIB = {"7.0": 6, "7.5": 6, "8.0": 40, "8.6": 6, "8.9": 64, "9.0": 50, "10.0": 126, "12.0": 96}
"""Last-level cache by compute capability (NVIDIA architecture white papers, remembered), of a chip that states none:
chips of one capability differ (rates.cache_mib of L4 48, L40S 96)."""
NODE_ENERGY = {"7.0": 1.0, "7.5": 1.0, "8.0": 0.5, "8.6": 0.65, "8.9": 0.33, "9.0": 0.33, "10.0": 0.33, "12.0": 0.33}
"""Energy of the same work against 12 nm: TSMC 7 nm, Samsung 8 nm, TSMC 4 nm (foundries' own claims, remembered)."""
DYNAMIC_POWER = 0.8
"""Part of the board's power limit that work can use; the rest is static."""
POWER_SOFTNESS = 1.5
"""Clocks sink before the limit is reached: time = (roofline^p + energy-limited^p)^(1/p)."""
REFERENCE_COREMARK = 35_000.0
"""CoreMark of one thread of the reference core, the Zen 4 one that loading was timed on. Not run there, but it fits:
a Zen 3 core (2026-11-30) decodes at 0.78 of its speed, and a thread of a 7R13, also Zen 3, has 0.80 to 0.84 of this."""
SMT_COREMARK = 1.42
"""CoreMark of a core's two threads over that of one: Xeon 6975P-C, 47,613 a core of c8i.8xlarge with two, 33,426 of
g7.2xlarge with one (ec2instances.info, measured 2025-12). The catalogue states CoreMark on all vCPUs; a loader has one
worker for each physical core, and one thread launches kernels."""
USUAL_HOST_SPEED = 0.7
"""Of one thread against the reference core's, where no CoreMark is known: median over conf/instance (0.52 to 0.96)."""
LINK_BYTES_PER_S = 10e9
"""Between the accelerators of a box, for an all-reduce: PCIe 3.0 x16 as it is reached, assumed. NVLink and NeuronLink
are faster, which the catalogue does not state."""
LINK_OVERLAP = 0.5
"""Part of the all-reduce that hides behind backward (bucketed, as DistributedDataParallel does)."""
COMPILED_BYTES = 0.45
COMPILED_LAUNCHES = 0.3
"""torch.compile fuses elementwise chains: facts of the Yoco measurements (eager spends 24 % in pointwise work,
compiled 12 %, at 1.2 to 1.5 times the speed)."""

# --- CPUs -------------------------------------------------------------------------------------------------------

CPU_GEMM_SHARE = 0.85
"""Best fp32 product over cores x clock x FLOPs per cycle: 155 of 179 GFLOP/s on one 2.8 GHz Ice Lake core (measured
2026-11-23 with torch 2.13), and 40 of 47 expected on an EPYC 7571 core."""
CPU_SCALING_EXPONENT = 0.94
"""n cores give n^0.94: 98 % of twice on two cores (measured), about 85 % on sixteen."""
CPU_ONE_CORE_GB_PER_S = 10.0
CPU_BANDWIDTH_EXPONENT = 0.85
"""Read plus written by one core, and how cores add up, where a CPU states no bandwidth: 9 to 15 GB/s of one core were
measured; sixteen cores then have 106 GB/s, half of an eight-channel DDR4-3200 socket."""
CPU_CACHE_MIB_PER_CORE = 2.0
CPU_CACHE_SPEEDUP = 3.0
CPU_DISPATCH_S = 4e-6
"""Eager dispatch of one operation on the reference core, forward and backward mixed."""
CPU_FORK_S = 1e-6
"""What each doubling of the cores adds to an operation: waking and joining the threads."""
AMX_SHARE = 0.19
"""Part of the matrix tiles' peak that training's products reach on top of CPU_GEMM_SHARE: they starve for operands. Two
published runs on Sapphire Rapids (benchmarks/data/cpus.csv) then reach 0.8 of their estimates, one of them on 16 nodes,
the other an example script; with 0.15 it would be 0.97 and 0.90."""
CPU_SHARES = Shares(1.0, 0.6, 0.05, 0.35, 0.5, 24.0)
"""Where no host was calibrated. Attention: a third of the product rate (facts of the Yoco measurements). Products and
convolutions: seven published runs on Skylake (benchmarks/data/cpus.csv) reach 0.77 to 1.47 of their estimates."""
DECODE_S_PER_MEGAPIXEL = 0.0032
"""Of the calibration's own JPEG (calibrate.py) on the reference core: it tells how fast a host's cores are. This and
the next three and REDUCTION_EXPONENT: a Zen 4 core, whose CoreMark is the reference's, OpenCV 5.0 (2026-11-24)."""
LOAD_S_PER_IMAGE = 0.00048
"""Of a loader's worker: collating and handing over, too."""
LOAD_S_PER_MEGAPIXEL = 0.0030
"""Of the stored image: reading, decoding, resizing."""
LOAD_S_PER_CANVAS_MEGAPIXEL = 0.0126
"""Of the image that the model sees: colours, placing, flipping, handing over."""
LOAD_ORIGIN = "loader timed on a Zen 4 core on 2026-11-24"
REDUCTION_EXPONENT = 0.27
"""A JPEG is decoded at a reduced size where the canvas is smaller: time falls with this power of their sides' ratio.
yoco-det's loader, stored sides of 320, 640 and 1,280 px, canvases of 96 to 640 px: within 8 % of one process's time,
and, at 320 px, of two workers' streams."""
