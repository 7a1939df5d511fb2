"""Every file under conf/ is valid, sourced, and agrees with what EC2 itself says of the types."""

from __future__ import annotations

import datetime as dt
import functools
import gzip
import json
from pathlib import Path
from typing import Any

import moto
import pytest

from yocobench import config, pricelist
from yocobench.schema import Chip, Instance, Sourced

REPO = Path(__file__).resolve().parents[1]
FILES = sorted((path.parent.name, path.name.removesuffix(".yaml")) for path in (REPO / "conf").glob("*/*.yaml"))
INSTANCES = [name for group, name in FILES if group == "instance"]
CHIPS = [name for group, name in FILES if group == "accelerator"]
PLAN = ("p3.2xlarge", "g4dn.xlarge", "inf1.xlarge", "trn1.2xlarge", "c6i.8xlarge")

# AWS, Amazon EC2 instance type quotas: (on-demand, spot) code by family.
QUOTAS = {
    "standard": ("L-1216C47A", "L-34B43A08"),
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "p3": ("L-417A185B", "L-7212CCBC"),
    "p4": ("L-417A185B", "L-7212CCBC"),
    "p5": ("L-417A185B", "L-C4BD4855"),
    "inf": ("L-1945791B", "L-B5D1601B"),
    "trn": ("L-2C3B7624", "L-6B0D517C"),
}


@pytest.fixture(autouse=True)
def _at_repository_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)


@functools.cache
def instance_of(name: str) -> Instance:
    """The repository's conf/instance/<name>.yaml, composed once for the whole file."""
    return config.instance(name)


@functools.cache
def chip_of(name: str) -> Chip:
    """The repository's conf/accelerator/<name>.yaml, composed once for the whole file."""
    chip = config.entry("accelerator", name)
    assert isinstance(chip, Chip)
    return chip


@functools.cache
def described_by_ec2() -> dict[str, Any]:
    """DescribeInstanceTypes by type: the scrape that ships in moto."""
    path = Path(moto.__file__).parent / "ec2/resources/instance_types.json.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        types: dict[str, Any] = json.load(file)
    return types


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_file_loads_and_its_name_is_its_file_name(group: str, name: str) -> None:
    assert config.entry(group, name).name == name


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_file_starts_with_a_comment_that_says_what_it_is(group: str, name: str) -> None:
    first = (REPO / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize("name", INSTANCES)
def test_every_group_of_facts_has_its_source_and_date(name: str) -> None:
    instance = instance_of(name)
    sections = [
        instance.hardware,
        instance.observed,
        instance.offering,
        instance.training,
        instance.burst,
        *(chip.rates for chip in (instance.cpu, instance.accelerator) if chip),
        *(rate for chip in (instance.cpu, instance.accelerator) if chip for rate in chip.achieved),
    ]
    for section in filter(None, sections):
        assert isinstance(section, Sourced)
        assert len(section.source.strip()) >= 8
        assert section.as_of >= dt.date(2020, 1, 1)


@pytest.mark.parametrize("name", INSTANCES)
def test_every_type_states_its_shape_its_offer_and_its_quota_unless_it_is_detected(name: str) -> None:
    instance = instance_of(name)
    if instance.detect:
        assert instance.hardware is None
        assert instance.offering is None
        return
    assert instance.hardware is not None
    assert instance.offering is not None
    family = name.partition(".")[0]
    key = next((known for known in QUOTAS if family.startswith(known) and known != "standard"), "standard")
    assert (instance.offering.quota_on_demand, instance.offering.quota_spot) == QUOTAS[key]
    assert (instance.training.status == "retired") == (instance.offering.regions_offered == 0)
    assert bool(instance.offering.usage_classes) == (instance.offering.regions_offered > 0)
    assert (instance.accelerator is not None and instance.accelerator.kind == "neuron") == (
        instance.hardware.neuron_cores is not None
    )


@pytest.mark.parametrize("name", INSTANCES)
def test_the_cpu_seen_on_a_running_box_is_the_chip_that_the_file_names(name: str) -> None:
    instance = instance_of(name)
    if instance.observed is None or instance.observed.cpu_model is None:
        return
    assert instance.cpu is not None
    assert instance.cpu.is_named(instance.observed.cpu_model)
    assert instance.hardware is not None
    assert instance.observed.memory_visible_mib is not None
    assert 0.93 < instance.observed.memory_visible_mib / (instance.hardware.memory_gib * 1024) < 0.98


@pytest.mark.parametrize("name", INSTANCES)
def test_every_type_has_an_on_demand_price_or_says_why_not(name: str) -> None:
    instance = instance_of(name)
    price = pricelist.load(REPO / "data/prices.json").find(name, "us-east-1", "on-demand")
    if instance.detect:
        assert price is None
    else:
        assert price is not None or "no on-demand price" in instance.notes


def test_no_file_of_a_chip_is_unused_but_the_one_for_a_machine_at_hand() -> None:
    used = {chip.name for name in INSTANCES for chip in (instance_of(name).cpu, instance_of(name).accelerator) if chip}
    assert set(CHIPS) - used == {"nvidia-h200"}


def test_a_reported_name_means_one_chip_only() -> None:
    chips = [chip_of(name) for name in CHIPS]
    for reported in (
        "NVIDIA L4",
        "NVIDIA L40S",
        "NVIDIA A10G",
        "Tesla T4",
        "Tesla V100-SXM2-16GB",
        "NVIDIA A100-SXM4-40GB",
        "NVIDIA H100 80GB HBM3",
        "Inferentia",
        "Inferentia2",
        "AMD EPYC 7R13 Processor",
        "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
        "Intel(R) Xeon(R) 6975P-C",
        "intel(r) xeon(r) cpu e5-2686 v4 @ 2.30ghz",
    ):
        assert len([chip.name for chip in chips if chip.is_named(reported)]) == 1, reported
    for stranger in ("NVIDIA L40", "NVIDIA A10", "NVIDIA A100-SXM4-80GB", "NVIDIA H100 PCIe", "AMD EPYC 7513", ""):
        assert not [chip.name for chip in chips if chip.is_named(stranger)], stranger


@pytest.mark.parametrize("name", CHIPS)
def test_a_chip_trains_in_a_precision_that_it_has(name: str) -> None:
    chip = chip_of(name)
    if chip.rates is None:
        assert chip.name.startswith("unknown-")
        assert chip.identity == ()
        return
    table = chip.rates.flops_per_cycle_per_core if chip.kind == "cpu" else chip.rates.peak_tflops
    assert table[chip.precision] is not None
    assert bool(chip.rates.peak_tflops) != bool(chip.rates.flops_per_cycle_per_core)
    for rate in chip.achieved:
        peak = chip.rates.memory_gb_per_s if rate.quantity == "memory_gb_per_s" else table[rate.precision or "fp32"]
        assert peak is not None
        assert 0.2 * peak < rate.value <= peak


def test_peaks_of_the_plan_are_the_datasheets() -> None:
    def tflops(name: str) -> float | None:
        instance = instance_of(name)
        assert instance.hardware is not None
        assert instance.chip is not None
        assert instance.chip.rates is not None
        if instance.accelerator is not None:
            return instance.chip.rates.peak_tflops[instance.chip.precision]
        flops = instance.chip.rates.flops_per_cycle_per_core[instance.chip.precision]
        assert flops is not None
        assert instance.hardware.sustained_ghz is not None
        return flops * instance.hardware.physical_cores * instance.hardware.sustained_ghz / 1000

    assert tflops("p3.2xlarge") == 125
    assert tflops("g4dn.xlarge") == 65
    assert tflops("trn1.2xlarge") == 190
    assert tflops("m5a.large") == pytest.approx(0.04)  # 1 core x 2.5 GHz x 16
    assert tflops("c6i.8xlarge") == pytest.approx(3.584)  # 16 cores x 3.5 GHz x 64
    assert tflops("c7i.8xlarge") == pytest.approx(52.4288)  # 16 cores x 3.2 GHz x 1024


def test_the_default_study_has_the_baseline_the_five_candidates_of_the_plan_and_four_alternates() -> None:
    study = config.study()
    assert study.baseline == "m5a.large"
    assert set(study.instances) <= set(INSTANCES)
    assert {study.baseline, *PLAN} <= set(study.instances)
    assert len(set(study.instances) - {study.baseline, "local", *PLAN}) >= 4
    assert set(study.subsets) <= set(config.names("subset"))


def test_the_plan_keeps_its_impossible_candidates_with_the_reason() -> None:
    status = {name: instance_of(name).training.status for name in PLAN}
    assert status == {
        "p3.2xlarge": "retired",
        "g4dn.xlarge": "yes",
        "inf1.xlarge": "no",
        "trn1.2xlarge": "conditional",
        "c6i.8xlarge": "yes",
    }


@pytest.mark.parametrize("name", INSTANCES)
def test_shapes_agree_with_what_ec2_describes(name: str) -> None:
    instance = instance_of(name)
    described = described_by_ec2().get(name)
    if described is None:
        assert instance.detect or instance.training.status == "retired"
        return
    hardware = instance.hardware
    assert hardware is not None
    assert hardware.vcpus == described["VCpuInfo"]["DefaultVCpus"]
    assert hardware.physical_cores == described["VCpuInfo"]["DefaultCores"]
    assert hardware.memory_gib * 1024 == described["MemoryInfo"]["SizeInMiB"]
    assert [hardware.arch] == described["ProcessorInfo"]["SupportedArchitectures"]
    assert hardware.sustained_ghz == described["ProcessorInfo"]["SustainedClockSpeedInGhz"]
    assert hardware.local_nvme_gb == described.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)
    assert hardware.ebs_baseline_mbit_per_s == described["EbsInfo"]["EbsOptimizedInfo"]["BaselineBandwidthInMbps"]
    cards = described["NetworkInfo"]["NetworkCards"]
    assert hardware.network_baseline_gbit_per_s == sum(card["BaselineBandwidthInGbps"] for card in cards)
    assert (instance.burst is not None) == described["BurstablePerformanceSupported"]
    assert instance.offering is not None
    assert set(instance.offering.usage_classes) == set(described["SupportedUsageClasses"])
    _check_accelerators(instance, described)


def _check_accelerators(instance: Instance, described: dict[str, Any]) -> None:
    hardware = instance.hardware
    assert hardware is not None
    devices = described.get("GpuInfo", {}).get("Gpus", []) + described.get("NeuronInfo", {}).get("NeuronDevices", [])
    assert hardware.accelerator_count == sum(device["Count"] for device in devices)
    for device in devices:
        assert hardware.accelerator_memory_gib == pytest.approx(device["MemoryInfo"]["SizeInMiB"] / 1024, abs=0.001)
        assert device["Name"].lower() in instance.accelerator.name
        if "CoreInfo" in device:
            assert hardware.neuron_cores == device["CoreInfo"]["Count"] * device["Count"]
