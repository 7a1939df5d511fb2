"""The peak that utilisation is stated against, and the figures that follow from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from examples import repeat
from yocobench import config, train
from yocobench.bench.measurement import Detected, Measurement
from yocobench.bench.peak import peak_flops_per_second
from yocobench.schema import Config

T4_HOST = Detected(
    host_id="h0st",
    instance_type=None,
    arch="x86_64",
    cpu_model="Some CPU",
    cpu_flags=(),
    vcpus=4,
    physical_cores=2,
    memory_bytes=16 * 2**30,
    kind="cuda",
    accelerator_name="Tesla T4",
    accelerator_count=1,
    accelerator_memory_bytes=15 * 2**30,
)


def composed(*overrides: str) -> Config:
    with initialize_config_dir(version_base=None, config_dir=str(Path.cwd() / "conf")):
        return config.load(compose(config_name="config", overrides=list(overrides)))


def measured(detected: Detected | None, **more: object) -> Measurement:
    """1.3e12 FLOP/s in fp16: steps of half a second, 100 samples each, at 6.5e9 FLOP a sample."""
    one = repeat(**{"precision": "fp16", "flops_per_sample": 6.5e9, **more})
    return Measurement(outcome="ok", reason="", source="measured", detected=detected, repeats=(one,))


@pytest.fixture(autouse=True)
def priced(project: Path) -> None:
    """The price snapshot beside the catalogue."""
    (project / "data").mkdir()
    (project / "data/prices.json").write_bytes((Path(__file__).parents[1] / "data/prices.json").read_bytes())


def test_the_peak_of_a_cpu_is_flops_a_cycle_times_clock_times_cores():
    baseline = config.instance("m5a.large")
    assert baseline.hardware is not None
    chip, clock_ghz = baseline.chip, baseline.hardware.sustained_ghz
    assert chip is not None
    assert chip.rates is not None
    assert chip.rates.flops_per_cycle_per_core["fp32"] == 16
    assert baseline.hardware.physical_cores == 1
    assert peak_flops_per_second(chip, baseline.hardware, "fp32") == pytest.approx(16 * clock_ghz * 1e9)
    assert peak_flops_per_second(chip, None, "fp32") is None  # its clock is not known
    assert peak_flops_per_second(None, baseline.hardware, "fp32") is None


def test_utilisation_is_stated_for_a_type_whose_peak_is_known():
    # The T4 peaks at 65 TFLOP/s in fp16: 1.3e12 / 65e12.
    assert train.figures(composed("instance=g4dn.xlarge"), measured(None))[0]["mfu"] == pytest.approx(0.02)


def test_the_peak_is_that_of_all_that_trained():
    of_four, _ = train.figures(composed("instance=g4dn.xlarge"), measured(None, processes=4))
    assert of_four["mfu"] == pytest.approx(0.005)
    # One of the two cores of a chip with 190 TFLOP/s in bf16; then both.
    for processes, expected in ((1, 1.3 / 95), (2, 1.3 / 190)):
        found = measured(None, precision="bf16", processes=processes)
        assert train.figures(composed("instance=trn1.2xlarge"), found)[0]["mfu"] == pytest.approx(expected)


def test_utilisation_is_stated_for_this_host_when_its_chip_is_in_the_catalogue():
    assert train.figures(composed("instance=local"), measured(T4_HOST))[0]["mfu"] == pytest.approx(0.02)


def test_utilisation_is_left_out_where_no_source_states_a_peak():
    unknown = T4_HOST.model_copy(update={"accelerator_name": "Some GPU"})
    assert "mfu" not in train.figures(composed("instance=local"), measured(unknown))[0]
    assert "mfu" not in train.figures(composed("instance=local"), measured(None))[0]


def test_what_was_measured_survives_prices_that_are_gone_damaged_or_of_other_regions():
    one = measured(None)
    snapshot, asked = Path("data/prices.json"), composed("instance=g4dn.xlarge")
    assert train.figures(asked, one)[0]["cost_usd"] > 0
    found, said = train.figures(composed("instance=g4dn.xlarge", "region=us-esat-1"), one)
    assert (found.keys(), "did you mean 'us-east-1'?" in said) == ({"mfu"}, True)
    snapshot.write_text("{")
    assert "not priced: data/prices.json: 1 error(s)" in train.figures(asked, one)[1]
    snapshot.unlink()
    found, said = train.figures(asked, one)
    assert (found.keys(), "data/prices.json" in said) == ({"mfu"}, True)
