"""Energy counters: RAPL as the kernel shows it, in a folder of our own."""

import pytest

import examples
from yocobench.bench.energy import Meter
from yocobench.tracking import records


def zone(folder, name, kind, counted_uj, range_uj=1_000_000):
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{kind}\n")
    (path / "energy_uj").write_text(f"{counted_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")


def test_packages_and_dram_are_summed_and_what_they_hold_is_not_counted_twice(tmp_path):
    names = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for name, kind in names.items():
        zone(tmp_path, name, kind, 100_000)
    meter = Meter(tmp_path)
    for name, kind in names.items():
        zone(tmp_path, name, kind, 350_000)
    assert meter.used_j()["rapl"] == pytest.approx(3 * 0.25)


def test_a_counter_that_wraps_around_is_followed_as_long_as_it_is_looked_at(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = Meter(tmp_path)
    for counted_uj in (50_000, 800_000, 100_000):  # + 0.15 J, + 0.75 J, + 0.3 J
        zone(tmp_path, "intel-rapl:0", "package-0", counted_uj)
        meter.look()
    assert meter.used_j()["rapl"] == pytest.approx(1.2)


def test_without_counters_energy_is_unknown(tmp_path):
    assert "rapl" not in Meter(tmp_path).used_j()
    assert "rapl" not in Meter(tmp_path / "absent").used_j()


def test_a_counter_that_cannot_be_read_makes_the_sum_unknown(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 1000)
    meter = Meter(tmp_path)
    (tmp_path / "intel-rapl:0/energy_uj").unlink()
    meter.look()
    zone(tmp_path, "intel-rapl:0", "package-0", 2000)
    assert "rapl" not in meter.used_j()


def test_runs_hold_energy_by_meter_and_per_million_samples():
    # 4 steps of 100 samples: 40 J / 400 = 0.1 J a sample
    found = examples.repeat(0, energy_j={"nvml": 30.0, "rapl": 10.0})
    metrics = records.repeat_metrics(found)
    assert metrics["energy_j"] == 40
    assert metrics["energy_nvml_j"] == 30
    assert metrics["energy_j_per_million_samples"] == pytest.approx(1e5)
    assert records.repeat_tags(found, target=0.01, burstable=False)["energy_source"] == "nvml+rapl"
    assert not {name for name in records.repeat_metrics(examples.repeat()) if "energy" in name}
