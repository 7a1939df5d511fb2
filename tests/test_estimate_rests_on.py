"""What an estimate's interval and correction rest on, by hand.

Run: pytest tests/test_estimate_rests_on.py
"""

import dataclasses
import math

import pytest

import examples
from test_estimate import HOST, residual, run
from yocobench import config
from yocobench.estimate import interval
from yocobench.estimate.calibration import Calibration, Residual, measured_step_s
from yocobench.estimate.devices import from_instance
from yocobench.estimate.estimator import with_interval


# A cell at 4 times its modelled time, by another CPU: 4^0.7 in the same precision. In the other one half of the
# exponent: 4^0.35, and 0.15 more of spread. Of both, the one in its own precision counts alone.
def test_a_cell_in_fp32_says_less_of_training_in_bf16():
    target = from_instance(config.instance("c7i.8xlarge"), "bf16", HOST)

    def correction(*cells: Residual):
        return interval.correction(Calibration(host=HOST, residuals=cells), "wide", target)

    single = residual("local", "another", "cpu arm64 32", ratio=4.0)
    half = residual("local", "another", "cpu arm64 32", ratio=4.0, precision="bf16")
    assert correction(half).factor == pytest.approx(4**0.7)
    assert correction(single).factor == pytest.approx(4**0.35)
    assert correction(single).sigma == pytest.approx(math.hypot(correction(half).sigma, 0.15))
    assert correction(single).rests_on == "wide on local (same kind of device, in fp32)"
    assert correction(single, half.model_copy(update={"instance": "another"})).factor == pytest.approx(4**0.7)


def test_the_rate_of_matrix_tiles_is_an_assumption_that_widens_the_interval():
    tiles, plain = (from_instance(config.instance("c7i.8xlarge"), one, HOST) for one in ("bf16", "fp32"))
    assert [gap for gap in tiles.gaps if gap not in plain.gaps] == [
        "rate of its matrix tiles assumed: from two published runs"
    ]


# 1000 samples in 1 s of training, spread 0.1, and in 0.8 s of loading, spread 0.4: e^(1.645 x 0.4) = 1.931.
def test_beside_an_accelerator_the_slower_of_training_and_loading_sets_each_end():
    parts = dataclasses.replace(run("g5.xlarge").parts, compute_s=1.0, memory_s=0, launch_s=0, optimizer_s=0, power_s=0,
                                host_s=0, all_reduce_s=0, level=1.0, factor=1.0, input_s=0.8)  # fmt: skip
    known, feeding = (interval.Correction(1.0, sigma, name, ()) for name, sigma in (("cells", 0.1), ("loader", 0.4)))
    facts = {"device": from_instance(config.instance("g5.xlarge"), "bf16", HOST), "precision": "bf16", "known": known,
             "samples_per_step": 1000, "micro_batch_size": 1, "accumulation_steps": 1, "needed_bytes": 1,
             "available_bytes": 2}  # fmt: skip
    found = with_interval("wide", "g5.xlarge", parts=parts, feeding=feeding, **facts)
    assert found.samples_per_second == pytest.approx(1000)
    assert found.low_samples_per_second == pytest.approx(1250 / 1.931, rel=1e-3)  # 647: the loader's
    assert found.high_samples_per_second == pytest.approx(1000 * 1.1788, rel=1e-3)  # training's
    assert found.calibrated_on == "cells"
    bound = dataclasses.replace(parts, input_s=1.25)
    found = with_interval("wide", "g5.xlarge", parts=bound, feeding=feeding, **facts)
    assert (found.samples_per_second, found.high_samples_per_second) == pytest.approx((800, 1179), abs=0.5)
    assert (found.bound_by, found.calibrated_on) == ("input", "loader")


# The first 25 of 100 steps take 1.2 s, the rest 1 s: the job runs at 1 s, as the decision's table says.
def test_steps_before_a_repeat_settled_do_not_count():
    slow = examples.repeat(0).model_copy(
        update={"step_times_s": (1.2,) * 25 + (1.0,) * 75, "data_wait_s": (0.1,) * 100}
    )
    mean, wait, _ = measured_step_s(examples.receipt(repeats=(slow,)).measurement)
    assert (mean, wait) == pytest.approx((1.0, 0.1))
