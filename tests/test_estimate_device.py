"""Devices from fact-files: what is derived, what is assumed, and when there is no number."""

import time

import pytest
import torch

from test_estimate import HOST
from yocobench import config
from yocobench.bench.measurement import HostActivity
from yocobench.estimate import calibrate, calibration, cpus, device, devices
from yocobench.estimate.constants import FITTED, GEMM_SHARE
from yocobench.schema import Chip

RATES = {"peak_tflops": {"fp32": 10, "fp16": 40}, "memory_gb_per_s": 500, "board_power_w": 100, "source": "a test file"}


def chip(rates=RATES, achieved=(), capability="7.5", **changes):
    facts = {"name": "x", "kind": "cuda", "identity": ["X"], "precision": "fp16", "compute_capability": capability}
    full = {**rates, "as_of": "2026-11-23"} if rates else None
    return Chip.model_validate({**facts, "rates": full, "achieved": achieved, **changes})


def test_a_measured_product_rate_replaces_the_share_of_the_peak():
    assert device.from_chip(chip(), "fp16").low_flops_per_s == pytest.approx(40e12 * GEMM_SHARE)
    seen = {
        "quantity": "matmul_tflops",
        "precision": "fp16",
        "value": 25,
        "source": "a test file",
        "as_of": "2026-11-23",
    }
    assert device.from_chip(chip(achieved=[seen]), "fp16").low_flops_per_s == pytest.approx(25e12)


def test_tf32_replaces_fp32_from_ampere_on():
    rates = {**RATES, "peak_tflops": {"fp32": 10, "tf32": 20, "fp16": 40}}
    assert device.from_chip(chip(rates), "fp16").high_flops_per_s == pytest.approx(10e12 * GEMM_SHARE)
    ampere = chip(rates, capability="8.0")
    assert device.from_chip(ampere, "fp16").high_flops_per_s == pytest.approx(20e12 * GEMM_SHARE)
    assert device.from_chip(ampere, "tf32").high_flops_per_s == pytest.approx(20e12 * GEMM_SHARE)
    assert device.from_chip(ampere, "fp32").high_flops_per_s == pytest.approx(10e12 * GEMM_SHARE)  # exact: cuda.py


def test_what_is_assumed_is_listed():
    known = device.from_chip(chip(), "fp16", host_speed=1.0)
    assert known.gaps == ()
    unknown = device.from_chip(chip({**RATES, "peak_tflops": {"fp16": 40}, "board_power_w": None}), "fp16")
    assert len(unknown.gaps) == 3
    assert any("board power" in gap for gap in unknown.gaps)


@pytest.mark.parametrize(
    ("rates", "says"),
    [(None, "memory bandwidth"), ({**RATES, "memory_gb_per_s": None}, "memory bandwidth"),
     ({**RATES, "peak_tflops": {"fp32": 10}}, "fp16 rate")],
)  # fmt: skip
def test_without_peak_or_bandwidth_there_is_no_number(rates, says):
    with pytest.raises(device.Unknown, match=says):
        device.from_chip(chip(rates), "fp16")


def test_a_cpu_alone_is_no_device():
    with pytest.raises(device.Unknown, match="give an instance"):
        device.from_chip(chip(kind="cpu"), "fp32")


def test_every_instance_that_trains_has_a_device_or_says_which_fact_is_missing():
    for name in config.names("instance"):
        found = config.instance(name)
        if found.detect:
            continue
        try:
            made = devices.from_instance(found, found.chip.precision, None)
        except device.Unknown as error:
            assert "states no" in str(error)  # noqa: PT017
            continue
        assert made.high_flops_per_s > 0
        assert made.bytes_per_s > 0


def test_cpus_rank_by_cores_width_and_clock():
    rate = {
        name: devices.from_instance(config.instance(name), "fp32", None).high_flops_per_s
        for name in ("m5a.large", "c6i.8xlarge", "c8g.8xlarge")
    }
    # m5a.large: one core x 2.5 GHz x 16 FLOPs x 0.85
    assert rate["m5a.large"] == pytest.approx(34e9)
    assert rate["c6i.8xlarge"] > 40 * rate["m5a.large"]
    amx = devices.from_instance(config.instance("c7i.8xlarge"), "bf16", None)
    assert amx.low_flops_per_s > 3 * amx.high_flops_per_s


# 71,000 on two cores of two threads: 71,000 / 2 / 1.42 = 25,000 a thread, of 35,000; without second threads 35,500.
@pytest.mark.parametrize(("vcpus", "expected"), [(4, 25_000 / 35_000), (2, 35_500 / 35_000)])
def test_a_loaders_worker_has_one_thread_of_the_two_that_coremark_counts(vcpus: int, expected: float):
    found = config.instance("g4dn.xlarge")
    hardware = found.hardware.model_copy(update={"vcpus": vcpus, "physical_cores": 2})
    observed = found.observed.model_copy(update={"coremark_iterations_per_second": 71_000})
    made = devices.from_instance(found.model_copy(update={"hardware": hardware, "observed": observed}), "fp16", None)
    assert made.host_speed == pytest.approx(expected)
    assert made.launch_s == pytest.approx(FITTED.launch_us * 1e-6 / expected)


def test_a_chips_own_cache_counts_before_that_of_its_capability():
    assert device.from_chip(chip(), "fp16").cache_bytes == 6 * 2**20  # 7.5 in constants.py
    assert device.from_chip(chip({**RATES, "cache_mib": 4}), "fp16").cache_bytes == 4 * 2**20


@pytest.mark.parametrize(("precision", "scales"), [("fp16", True), ("bf16", False), ("fp32", False)])
def test_only_fp16_scales_its_loss(precision: str, scales: bool):
    rates = {**RATES, "peak_tflops": {"fp32": 10, "fp16": 40, "bf16": 40}}
    assert device.from_chip(chip(rates), precision).scales_loss is scales


def test_one_process_drives_one_of_two_neuron_cores():
    made = devices.from_instance(config.instance("trn1.2xlarge"), "bf16", None)
    whole = device.from_chip(config.instance("trn1.2xlarge").accelerator, "bf16")
    assert made.low_flops_per_s == pytest.approx(whole.low_flops_per_s / 2)


# 83 % of the datasheets' dense rates: A10G 35 in TF32 and 70 in bf16, T4 8.1 in fp32 (it has no TF32) and 65 in fp16.
@pytest.mark.parametrize(
    ("name", "high", "low"),
    [("g4dn.xlarge", 6.723e12, 53.95e12), ("g5.xlarge", 29.05e12, 58.1e12), ("g6.xlarge", 49.8e12, 100.43e12)],
)
def test_no_rate_of_the_studys_gpus_is_assumed(name, high, low):
    found = config.instance(name)
    made = devices.from_instance(found, found.chip.precision, None)
    assert (made.high_flops_per_s, made.low_flops_per_s) == pytest.approx((high, low))
    assert made.gaps == ()


def test_two_threads_of_one_core_count_as_what_they_reach_together():
    """100 GFLOP/s and 15 GB/s of one thread; 1.5 and 1.25 times as much of both, where 2^0.94 cores were assumed."""
    found = cpus.from_host(HOST, "fp32", "x86_64")
    assert (found.high_flops_per_s, found.bytes_per_s) == (150e9, 18.75e9)


def test_probes_take_turns_and_the_best_of_all_rounds_counts(monkeypatch):
    # A host that is slow in the first round and, for the second probe only, in the second.
    seconds = {"a": iter([3.0, 1.0, 2.0]), "b": iter([9.0, 8.0, 4.0])}
    order = []

    def timed(probe, tries_s):
        order.append(probe)
        return next(seconds[probe])

    monkeypatch.setattr(calibrate, "best_s", timed)
    assert calibrate.in_turn(["a", "b"], rounds=3) == {"a": 1.0, "b": 4.0}
    assert order == ["a", "b"] * 3


@pytest.mark.parametrize(
    ("seconds_of", "cores", "expected"),
    [
        (lambda threads: 0.01, 1, 1.0),
        (lambda threads: 0.01, 2, 1.0),  # of work that threads do not share
        (lambda threads: 0.01 / threads, 2, 2.0),
        (lambda threads: 0.01 / threads**2, 2, 2.0),  # more than all cores is noise
        (lambda threads: 0.01 * threads, 2, 1.0),  # less than one core is a neighbour
    ],
)
def test_the_speed_up_of_all_cores_is_that_of_the_wall_clock_between_one_and_their_number(seconds_of, cores, expected):
    before = torch.get_num_threads()
    try:
        found = calibrate._speedup(lambda: time.sleep(seconds_of(torch.get_num_threads())), cores)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert found == pytest.approx(expected, abs=0.2)


def test_the_micro_benchmark_keeps_what_others_took_meanwhile(monkeypatch):
    class Busy:
        def seen(self) -> HostActivity:
            return HostActivity(other_share=0.3, steal_share=0.1)

    monkeypatch.setattr(calibrate.activity, "Watch", Busy)
    monkeypatch.setattr(calibrate, "in_turn", lambda probes: dict.fromkeys(probes, 1e-3))
    monkeypatch.setattr(calibrate, "_speedup", lambda call, cores: 1.0)
    assert calibrate.measure("abc", "Test CPU", 2).taken_share == pytest.approx(0.4)
    assert HOST.warning == ""  # nobody watched


@pytest.mark.parametrize(("taken", "warned"), [(None, False), (0.05, False), (0.78, True)])
def test_rates_of_a_busy_host_are_kept_with_a_warning(tmp_path, taken: float | None, warned: bool):
    path = tmp_path / "abc.json"
    calibration.write(HOST.model_copy(update={"taken_share": taken}), path)
    found = calibration.read(path, "abc")
    assert found is not None
    assert found.warning.startswith("others took 78 % of the CPU time") == warned
    assert bool(found.warning) == warned
