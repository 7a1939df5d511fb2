"""Estimates end to end: median, interval, reasons, and the table."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import examples
from yocobench import config
from yocobench.bench.data.manifest import ImagesManifest
from yocobench.bench.measurement import HostActivity, Measurement
from yocobench.bench.workloads.base import Workload
from yocobench.estimate import __main__ as table
from yocobench.estimate import calibrate, interval, outside, residuals
from yocobench.estimate.calibrate import fit_sizes
from yocobench.estimate.calibration import (
    Calibration,
    HostRates,
    Residual,
    busy_factor,
    carry,
    measured_step_s,
    read,
    write,
)
from yocobench.estimate.devices import from_instance
from yocobench.estimate.estimator import Estimate, NoEstimate, estimate
from yocobench.estimate.loading import load_s
from yocobench.schema import CellSpec, Chip, WorkloadConfig

HOST = HostRates(
    host_id="abc", measured_at="2026-11-23T00:00:00+00:00", cpu_model="Test CPU", physical_cores=2,
    torch_version="2.13.0", gemm_fp32_flops_per_s=100e9, gemm_bf16_flops_per_s=50e9, tile=16, conv_share=0.7,
    depthwise_share=0.05, attention_share=0.3, bytes_per_s=15e9, cache_bytes_per_s=60e9, dispatch_s=2e-6,
    product_speedup=1.5, bandwidth_speedup=1.25, decode_s_per_megapixel=0.0024,
)  # fmt: skip


class Wide(Workload):
    """One square layer, found by `_target_`."""

    def __init__(self, width: int = 2048) -> None:
        self.width = width

    def build(self):
        return nn.Linear(self.width, self.width, bias=False)

    def loss(self, model, batch):
        return model(batch).square().mean()

    def batches(self, data, num_items, batch_size, seed):
        while True:
            yield torch.zeros(batch_size, self.width)

    def example_batch(self, batch_size):
        return torch.zeros(batch_size, self.width)

    def samples_per_item(self):
        return 1


def workload(width=2048, batch=64, **changes):
    facts = {"name": "wide", "_target_": f"{__name__}.Wide", "data": None, "sample_unit": "sample"}
    return WorkloadConfig.model_validate({**facts, "global_batch_size": batch, "args": {"width": width}, **changes})


def residual(instance, chip, family, kind="cpu", ratio=2.0, name="wide", **changes):
    facts = {"workload": name, "instance": instance, "chip": chip, "family": family, "kind": kind, "precision": "fp32"}
    return Residual(**{**facts, "ratio": ratio, "relative_error": 0.0, **changes})


def run(instance, calibration=None, width=2048, batch=64, **changes):
    calibration = calibration or Calibration(host=HOST)
    return estimate(workload(width, batch, **changes), config.instance(instance), calibration)


def test_a_cpu_estimate_is_its_arithmetic_when_products_dominate():
    found = run("m5a.large", batch=256)
    assert isinstance(found, Estimate)
    # 2 of the 3 products (the input needs no gradient): 4 x 256 x 2048^2 FLOPs at 34 GFLOP/s and the size factor
    size = (256 / 272) * (2048 / 2064)
    assert found.parts.compute_s == pytest.approx(4 * 256 * 2048**2 / 34e9 / size, rel=1e-3)
    assert found.bound_by == "compute"
    assert found.low_samples_per_second < found.samples_per_second < found.high_samples_per_second


def test_the_interval_holds_ninety_percent_of_a_log_normal():
    low, high = interval.bounds(100.0, 0.2)
    assert high == pytest.approx(100 * math.exp(1.6449 * 0.2))
    assert low * high == pytest.approx(100**2)


def test_faster_hardware_is_estimated_faster():
    rates = [run(name).samples_per_second for name in ("m5a.large", "c6i.8xlarge", "g4dn.xlarge", "g6e.xlarge")]
    assert rates == sorted(rates)


def test_what_cannot_train_and_what_does_not_fit_gets_a_reason_and_no_number():
    refused = run("inf1.xlarge")
    assert isinstance(refused, NoEstimate)
    assert "cannot train" in refused.reason
    huge = run("m5a.large", width=32_768, batch=1)
    assert isinstance(huge, NoEstimate)
    assert "GiB at micro-batch 1" in huge.reason


def test_memory_splits_the_global_batch_and_keeps_it():
    found = run("m5a.large", width=8192, batch=131_072)
    assert found.micro_batch_size * found.accumulation_steps == 131_072
    assert found.accumulation_steps > 1


def test_the_interval_narrows_with_what_was_measured_nearby():
    target = from_instance(config.instance("c6i.8xlarge"), "fp32", HOST)

    def sigma(*residuals):
        return interval.correction(Calibration(host=HOST, residuals=residuals), "wide", target)[1]

    same = residual("c6i.large", target.chip, target.family)
    family = residual("x", "another", target.family)
    kind = residual("local", "another", "cpu arm64 32")
    other = residual("g5.xlarge", "a10g", "cuda 8.6", kind="cuda")
    assert sigma(same) < sigma(family) < sigma(kind) < sigma(other) == sigma()
    assert sigma(residual("local", "another", "cpu arm64 32", name="else")) > sigma(kind)
    assert sigma(residual("local", "another", "cpu arm64 32", busy=4.0)) > sigma(kind)


def test_a_residual_carries_whole_to_the_same_chip_and_not_to_another_kind():
    cpu = from_instance(config.instance("c6i.8xlarge"), "fp32", HOST)
    gpu = from_instance(config.instance("g5.xlarge"), "bf16", HOST)
    slow = Calibration(host=HOST, residuals=(residual("c6i.large", cpu.chip, cpu.family, ratio=2.0),))
    assert interval.correction(slow, "wide", cpu)[0] == pytest.approx(2.0)
    assert interval.correction(slow, "wide", gpu)[0] == 1.0
    assert "same chip" in interval.correction(slow, "wide", cpu)[2]


def test_ratios_average_geometrically():
    cells = [residual("a", "a", "f", ratio=2.0), residual("b", "b", "f", ratio=8.0)]
    assert carry(cells, [1, 1]) == pytest.approx(4.0)


def test_leaving_a_cell_out_removes_only_that_cell():
    both = Calibration(residuals=(residual("a", "a", "f"), residual("b", "b", "f")))
    assert [r.instance for r in both.without("wide", "a").residuals] == ["b"]


def test_the_size_curve_of_products_is_found_again():
    rates = {n: 100e9 * (n / (n + 20)) ** 2 for n in (64, 128, 256, 512, 1024)}
    assert fit_sizes(rates) == (pytest.approx(100e9), pytest.approx(20))


def test_kept_host_rates_are_of_that_host_only(tmp_path):
    path = tmp_path / "abc.json"
    write(HOST, path)
    assert read(path, "abc") == HOST
    assert read(path, "another") is None
    path.write_text("{")
    assert read(path, "abc") is None


K80 = """
name: nvidia-k80
kind: cuda
identity: [Tesla K80]
precision: fp32
compute_capability: "3.7"
rates:
  peak_tflops: {fp32: 4.1}
  memory_gb_per_s: 240
  source: "NVIDIA Tesla K80 datasheet, one of the two GPUs"
  as_of: 2014-11-17
"""


def test_any_module_is_estimated_on_a_card_described_in_ten_lines(tmp_path):
    path = tmp_path / "k80.yaml"
    path.write_text(K80)
    chip = outside.read(path)
    assert isinstance(chip, Chip)
    module = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    found = outside.estimate_module(module, torch.zeros(64, 512), lambda m, b: m(b).sum(), chip, items=64)
    assert isinstance(found, Estimate)
    assert found.samples_per_second > 0
    assert any("board power" in gap for gap in found.gaps)
    assert next(module.parameters()).device.type == "cpu"


def test_a_bad_card_is_refused_with_every_error(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(K80.replace("cuda", "gpu").replace("240", "-1"))
    with pytest.raises(ValueError, match=r"2 error\(s\)") as caught:
        outside.read(path)
    assert "rates.memory_gb_per_s" in str(caught.value)


def test_an_instance_outside_the_tree_finds_its_chips_beside_it_or_in_the_catalogue(tmp_path):
    (tmp_path / "k80.yaml").write_text(K80)
    path = tmp_path / "p2.xlarge.yaml"
    path.write_text("""
defaults: [{"/accelerator@cpu": intel-xeon-e5-2686v4}, {"/accelerator@accelerator": k80}, _self_]
name: p2.xlarge
hardware:
  {arch: x86_64, vcpus: 4, physical_cores: 2, memory_gib: 61, sustained_ghz: 2.7, accelerator_count: 1,
   accelerator_memory_gib: 12, local_nvme_gb: 0, ebs_baseline_mbit_per_s: null, ebs_burst_mbit_per_s: null,
   network_baseline_gbit_per_s: null, source: a test of this project, as_of: 2026-11-23}
training: {status: "yes", reason: it is an example, source: a test of this project, as_of: 2026-11-23}
""")
    instance = outside.read(path)
    found = estimate(workload(), instance, Calibration(host=HOST))
    assert isinstance(found, Estimate)
    assert (found.instance, found.precision) == ("p2.xlarge", "fp32")


def test_names_lists_and_patterns_are_expanded():
    assert table.expand("g4dn.xlarge,m5a.large", "instance") == ["g4dn.xlarge", "m5a.large"]
    assert set(table.expand("glob(c?i.*)", "instance")) == {"c6i.8xlarge", "c7i.8xlarge", "c8i.8xlarge"}
    assert table.expand("k80.yaml", "instance") == ["k80.yaml"]
    with pytest.raises(ValueError, match=r"did you mean 'm5a\.large'"):
        table.expand("m5.large", "instance")
    with pytest.raises(ValueError, match="matches nothing"):
        table.expand("glob(z*)", "instance")


def test_a_mistyped_key_is_one_line_and_status_two(capsys):
    assert table.main(["instances=local"]) == 2
    assert "give workload=..., instance=..., refresh=..." in capsys.readouterr().err


def spec(instance="m5a.large", host_id=None, batch=256):
    protocol = config.study().protocol
    return CellSpec(
        workload=workload(batch=batch), subset="smoke", dataset_path=None, dataset_items=None, dataset_md5=None,
        instance=instance, kind="cpu", precision="fp32", accelerator_count=0, micro_batch_size=batch,
        accumulation_steps=1, protocol=protocol, code_md5="0", host_id=host_id,
    )  # fmt: skip


def test_a_measured_cell_leaves_what_the_model_missed():
    modelled = run("m5a.large", batch=256).parts.total_s
    found = residuals.of_cell(spec(), 3 * modelled, 0.02, 1.0, HOST)
    assert found.ratio == pytest.approx(3.0)
    assert found.chip == "amd-epyc-7571"
    assert residuals.of_cell(spec(), 3 * modelled, 0.02, 1.5, HOST).ratio == pytest.approx(2.0)
    assert residuals.of_cell(spec("local", host_id="another"), 1.0, 0.02, 1.0, HOST) is None


# Per image, in ms: 0.48, and 3.0 a stored megapixel times (canvas / stored side)^0.27, and 12.6 a megapixel of canvas.
# 200 px canvas from 400 x 400: 0.48 + 0.48 * 0.829 + 0.504 = 1.382. From 100 x 100: 0.48 + 0.03 + 0.504 = 1.014.
# Nothing known: stored as 320 x 320: 0.48 + 0.3072 * 0.881 + 0.504 = 1.255.
@pytest.mark.parametrize(("stored", "expected_ms"), [(160_000, 1.382), (10_000, 1.014), (None, 1.255)])
def test_loading_images_takes_longer_with_the_pixels_stored_and_the_pixels_wanted(stored, expected_ms: float):
    photos = workload().model_copy(update={"data": "images", "args": {"image_size_px": 200}, "global_batch_size": 10})
    assert load_s(photos, stored) == pytest.approx(10 * expected_ms / 1e3, rel=1e-3)
    assert load_s(photos.model_copy(update={"data": "text"}), stored) == 0


def test_the_datasets_manifest_says_how_many_pixels_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibrate, "host_rates", lambda root, refresh: HOST)
    assert calibrate.load(tmp_path).mean_image_pixels is None
    manifest = ImagesManifest(
        source="a test", train_items=1, heldout_items=1, train_annotations=1, heldout_annotations=1, num_categories=1,
        images_bytes=2, mean_image_pixels=307_200, files_md5={}, images_md5={},
    )  # fmt: skip
    (tmp_path / "data/images").mkdir(parents=True)
    path = tmp_path / "data/images/manifest.json"
    path.write_text(manifest.model_dump_json())
    assert calibrate.load(tmp_path).mean_image_pixels == 307_200
    path.write_text("{")
    assert calibrate.load(tmp_path).mean_image_pixels is None


def test_what_several_accelerators_exchange_is_no_residual():
    modelled = run("p4d.24xlarge", batch=256)
    assert modelled.parts.all_reduce_s > 0
    update = {"processes": 8, "precision": "bf16", "kind": "cuda", "micro_batch_size": 32}
    cell = spec("p4d.24xlarge", batch=256).model_copy(update=update)
    assert residuals.of_cell(cell, modelled.parts.total_s, 0.02, 1.0, HOST).ratio == pytest.approx(1.0)


# Means of 0.95, 1 and 1.05 s: s = 0.05, t(2) = 4.303, so the half width is 4.303 x 0.05 / sqrt(3) = 0.1242 s.
def test_three_repeats_are_known_as_well_as_students_t_says():
    repeats = [examples.repeat(number, step_time_s=one) for number, one in enumerate((0.95, 1.0, 1.05))]
    mean, _, half = measured_step_s(examples.receipt(repeats=repeats).measurement)
    assert (mean, half) == pytest.approx((1.0, 0.1242), abs=1e-4)


# 5 % of others and 15 % stolen, then 10 % and 10 %: a fifth of the CPU time was gone, so steps took 1 / 0.8 as long.
def test_a_host_is_busy_by_what_others_used_while_it_was_measured():
    def seen(*shares: tuple[float | None, float | None], outcome="ok") -> Measurement:
        activity = [HostActivity(other_share=other, steal_share=steal) for other, steal in shares]
        repeats = [examples.repeat(n, activity=one, outcome=outcome) for n, one in enumerate(activity)]
        return examples.receipt(repeats=tuple(repeats)).measurement

    assert busy_factor(seen((0.05, 0.15), (0.10, 0.10))) == pytest.approx(1.25)
    assert busy_factor(seen((0.03, 0.01), (0.03, 0.02))) == 1.0  # no more than any host's own daemons
    assert busy_factor(seen((None, None))) == 1.0
    assert busy_factor(seen((0.5, 0.2), outcome="killed")) == 1.0
