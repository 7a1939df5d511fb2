"""Step time from operations and a device, by hand."""

import dataclasses
import math

import pytest

from yocobench.estimate.constants import LINK_OVERLAP, POWER_SOFTNESS, Shares
from yocobench.estimate.device import Device
from yocobench.estimate.operations import Operation, Trace, merge
from yocobench.estimate.roofline import operation_time, size_factor, step_time

ONES = Shares(1.0, 1.0, 1.0, 1.0, 1.0, tile=0.0)


def device(**changes):
    facts = {
        "name": "d", "chip": "d", "kind": "cuda", "family": "cuda 8.0", "low_flops_per_s": 100e12,
        "high_flops_per_s": 50e12, "vector_s_per_byte": 0.0, "bytes_per_s": 1e12, "cache_bytes": 0.0,
        "cache_speedup": 1.0, "kernel_s": 0.0, "launch_s": 0.0, "host_cores": 4, "host_speed": 1.0, "shares": ONES,
    }  # fmt: skip
    return Device(**{**facts, **changes})


def op(flops=0.0, moved=0.0, kind="matmul", **changes):
    return Operation("op", kind, flops, moved, 0.0, changes.pop("low", True), **changes)


def trace(*operations, optimizer=(), gradients=0):
    return Trace(tuple(operations), tuple(optimizer), 1, 1.0, 1, 4, gradients, 8, 0, 0, 0, 0)


def test_an_operation_takes_the_longer_of_arithmetic_and_bytes():
    assert operation_time(op(flops=1e12, moved=1e9), device()) == (pytest.approx(0.01), pytest.approx(0.001))
    found = step_time(trace(op(flops=1e12, moved=1e9), op(moved=2e9, kind="elementwise")), device())
    assert (found.compute_s, found.memory_s) == (pytest.approx(0.01), pytest.approx(0.002))
    assert found.total_s == pytest.approx(0.012)
    assert found.bound_by == "compute"


def test_products_in_fp32_run_at_the_fp32_rate():
    assert operation_time(op(flops=1e12, low=False), device())[0] == pytest.approx(0.02)
    assert operation_time(op(flops=1e12), device(low_flops_per_s=0.0))[0] == pytest.approx(0.02)


def test_no_step_of_a_gpu_is_faster_than_its_products_at_the_best_rate():
    work = trace(op(flops=1e12, count=2), op(flops=1e12, low=False))
    lifted = device(level=0.5)  # modelled 0.04 s, at the level 0.02
    found = step_time(work, lifted, accumulation_steps=3)
    assert found.training_s == pytest.approx(3 * (2 * 0.01 + 0.02))
    assert found.bound_by == "compute"
    slow = dataclasses.replace(step_time(work, device(level=0.5)), factor=1.5)  # a cell that was measured at 0.06 s
    assert slow.training_s == pytest.approx(0.06)
    fast = dataclasses.replace(step_time(work, device()), factor=0.5)
    assert fast.training_s == pytest.approx(0.04)
    assert step_time(work, device(level=0.5, kind="cpu")).training_s == pytest.approx(0.02)
    winograd = trace(op(flops=1e12, kind="conv", low=False), op(flops=1e12, kind="conv"))
    assert step_time(winograd, device(level=0.1)).products_s == pytest.approx(0.01)  # of the one in 16 bits


def test_short_sides_and_kinds_lower_the_rate():
    shares = Shares(1.0, 0.5, 1.0, 1.0, 1.0, tile=32.0)
    # the two shortest sides of 32 x 64 x 1000: 32/64 and 64/96
    slow = operation_time(op(flops=1e12, shape=(1, 1000, 32, 64)), device(shares=shares))[0]
    assert slow == pytest.approx(0.01 * 2 * 1.5)
    assert operation_time(op(flops=1e12, kind="conv"), device(shares=shares))[0] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("shape", "cores", "factor"),
    [
        ((1, 1_000_000, 64, 32), 1, 1 / 3),  # 32/64 x 64/96
        ((1, 1_000_000, 64, 32), 16, 1 / 3),  # 62,500 rows for each core: as if alone
        ((1, 64, 64, 64), 1, 4 / 9),  # 64/96 twice
        ((1, 64, 64, 64), 4, 1 / 4),  # two sides halved: 32/64 twice
        ((1, 64, 64, 64), 3, 2 / 7),  # one halved, another divided by 1.5: 32/64 x 42.67/74.67
        ((4, 64, 64, 64), 4, 4 / 9),  # a product for each core
        ((2, 64, 64, 64), 4, 2 / 3 * 1 / 2),  # two cores for each: 32/64 and 64/96
    ],
)
def test_the_cores_of_a_cpu_share_a_product_by_its_longest_side(shape, cores, factor):
    cpu = device(kind="cpu", host_cores=cores, shares=dataclasses.replace(ONES, tile=32.0))
    assert size_factor(op(flops=1.0, shape=shape), cpu) == pytest.approx(factor)


def test_the_cache_serves_its_part_of_the_bytes():
    # 1 GB through a 1 GB cache: half of the bytes at four times the speed
    cached = device(cache_bytes=1e9, cache_speedup=4.0)
    assert operation_time(op(moved=1e9, kind="elementwise"), cached)[1] == pytest.approx(0.001 * (0.5 + 0.125))


# 1 GB of gradients, read and written at 1 TB/s: 2 ms more, and as many kernels as the update of 3.
def test_a_scaled_loss_costs_one_more_pass_over_the_gradients():
    update = op(moved=4e9, kind="optimizer", launches=3)
    work = trace(op(flops=1e12), optimizer=[update], gradients=1_000_000_000)
    plain, scaled = (step_time(work, device(scales_loss=one, launch_s=1e-6)) for one in (False, True))
    assert (plain.optimizer_s, scaled.optimizer_s) == pytest.approx((0.004, 0.006))
    assert scaled.host_s - plain.host_s == pytest.approx(3e-6)


def test_a_slow_host_hides_a_fast_device():
    found = step_time(trace(op(moved=1e6, kind="elementwise", count=1000)), device(launch_s=1e-5))
    assert found.device_s == pytest.approx(0.001)
    assert found.host_s == pytest.approx(0.01)
    assert (found.total_s, found.bound_by) == (found.host_s, "host")


def test_a_cpu_pays_dispatch_and_decoding_on_top():
    cpu = device(kind="cpu", launch_s=1e-5, host_cores=2, host_speed=0.5)
    found = step_time(trace(op(flops=1e12, low=False, count=10)), cpu, load_s=0.1)
    # ten products of 0.02 s, ten dispatches, 0.1 s of the reference core on two cores of half its speed
    assert found.total_s == pytest.approx(0.2 + 1e-4 + 0.1)
    assert found.host_s == 0.0


def test_input_bounds_an_accelerator_that_waits_for_it():
    found = step_time(trace(op(flops=1e12)), device(host_cores=2), load_s=0.1)
    assert (found.total_s, found.bound_by) == (pytest.approx(0.05), "input")


def test_accumulation_repeats_all_but_the_update():
    update = op(moved=3e9, kind="optimizer", low=False)
    found = step_time(trace(op(flops=1e12), optimizer=[update]), device(), accumulation_steps=4)
    assert found.total_s == pytest.approx(4 * 0.01 + 0.003)


def test_a_small_board_cannot_hold_its_peak():
    # 1e12 FLOPs at 1 pJ are 1 J: 0.02 s at 50 W, beside 0.01 s of roofline
    limited = device(power_w=50.0, joules_per_flop=(1e-12, 2e-12))
    p = POWER_SOFTNESS
    found = step_time(trace(op(flops=1e12)), limited)
    assert found.power_s == pytest.approx(0.02)
    assert found.total_s == pytest.approx((0.01**p + 0.02**p) ** (1 / p))


def test_several_accelerators_add_an_all_reduce():
    linked = device(link_bytes_per_s=1e9)
    found = step_time(trace(op(flops=1e12), gradients=1_000_000), linked, accelerator_count=4)
    # a ring moves 2 x 3/4 of the gradients
    assert found.all_reduce_s == pytest.approx(1.5e-3 * (1 - LINK_OVERLAP))
    assert step_time(trace(op(flops=1e12), gradients=1_000_000), linked).all_reduce_s == 0.0


def test_compiling_fuses_elementwise_work_and_leaves_products():
    work = trace(op(flops=1e12), op(moved=1e9, kind="elementwise"))
    eager, compiled = step_time(work, device()), step_time(work, device(), compiled=True)
    assert compiled.compute_s == eager.compute_s
    assert compiled.memory_s < eager.memory_s


def test_the_first_micro_batch_adds_its_gradients_to_none():
    work = trace(op(moved=1e9, kind="elementwise"), op(moved=2e9, kind="accumulation"))
    assert step_time(work, device()).memory_s == pytest.approx(0.001)
    assert step_time(work, device(), accumulation_steps=3).memory_s == pytest.approx(3 * 0.001 + 2 * 0.002)
    added = trace(op(moved=2e9, kind="accumulation"))  # by autograd's engine, in a compiled step too
    assert step_time(added, device(), accumulation_steps=3, compiled=True).memory_s == pytest.approx(2 * 0.002)
    draws = device(power_w=1.0, joules_per_byte=1e-9)
    assert step_time(work, draws, accumulation_steps=3).power_s == pytest.approx(3.0 + 4.0)


def test_equal_operations_are_merged_and_counted():
    merged = merge([op(flops=1.0), op(flops=2.0), op(flops=1.0, count=2)])
    assert [(one.flops, one.count) for one in merged] == [(1.0, 3), (2.0, 1)]
    assert math.isclose(sum(one.flops * one.count for one in merged), 5.0)


# A factor is of steps without input: beside it on an accelerator, before it on a CPU. 0.5e12 FLOPs at half of
# the best rate take 10 ms there, which a factor can halve.
@pytest.mark.parametrize(
    ("kind", "factor", "load_s", "total_s", "bound_by"),
    [
        ("cuda", 0.5, 0.0095, 0.0095, "input"),
        ("cuda", 2.0, 0.0120, 0.0200, "compute"),
        ("cpu", 0.5, 0.0200, 0.0250, "input"),
        ("cpu", 3.0, 0.0200, 0.0500, "compute"),
    ],
)
def test_a_measured_factor_does_not_change_what_loading_takes(kind, factor, load_s, total_s, bound_by):
    half = dataclasses.replace(ONES, matmul=0.5)
    found = step_time(trace(op(flops=0.5e12)), device(kind=kind, host_cores=1, shares=half), load_s=load_s)
    found = dataclasses.replace(found, factor=factor)
    assert (found.total_s, found.bound_by) == (pytest.approx(total_s), bound_by)
