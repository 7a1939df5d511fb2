"""The published data behind the estimator's benchmark, and a few of its ratios."""

import math

import pytest

import benchmark_modules
from yocobench import config
from yocobench.estimate.calibration import Calibration
from yocobench.estimate.device import from_chip
from yocobench.estimate.devices import from_instance
from yocobench.estimate.interval import CPU_SIGMA, Z90, correction
from yocobench.estimate.roofline import step_time

estimator, data = benchmark_modules.load("estimator"), benchmark_modules.load("estimator_data")


def test_every_row_names_a_known_device_and_kind_of_model():
    described = data.chips()
    rows = data.published()
    assert len(rows) > 400
    assert {row.device for row in rows} <= described.keys()
    assert {row.kind for row in rows} >= {"convolutional", "transformer", "recurrent", "language model"}


def test_the_held_out_third_is_by_rule():
    assert data.aside({"b": "x", "a": "x", "c": "x", "d": "x", "e": "x", "z": "y"}) == {"b", "e"}


def test_no_held_out_model_or_device_is_fitted_on():
    rows = data.published()
    kept = estimator.split(rows, data.chips())
    fitted = [p for p in data.pairs(rows) if kept.part(p) == "fitted on"]
    assert len(fitted) > 200
    seen = {row for p in fitted for row in (p.a, p.b)}
    assert not {row.name for row in seen} & kept.models
    assert not {row.device for row in seen} & kept.devices


def test_a_pair_compares_two_devices_inside_one_source_and_model():
    one = data.Row("g", "m", True, "A", 1, 1, 10.0, "images/s")
    other = data.Row("g", "m", True, "B", 1, 1, 20.0, "images/s")
    elsewhere = data.Row("h", "m", True, "B", 1, 1, 20.0, "images/s")
    (pair,) = data.pairs([one, other, elsewhere])
    assert pair.measured == pytest.approx(math.log(0.5))


@pytest.mark.parametrize(
    ("model", "batch", "faster", "slower", "measured"),
    [
        # DeepLearningExamples, PyTorch ResNet-50 v1.5, AMP: A100 80 GB against V100 16 GB
        ("resnet50", 128, "A100-SXM4-80GB", "V100-SXM2", 2470 / 1200),
        # lambdal 22.09, ResNet-50, AMP: A100 40 GB PCIe against A10 (other batches there)
        ("resnet50", 128, "A100-PCIe-40GB", "A10", 1396 / 638),
    ],
)
def test_known_ratios_are_met_within_a_quarter(model, batch, faster, slower, measured):
    trace, described = data.trace_row((model, batch, True)), data.chips()
    seconds = [step_time(trace, from_chip(described[name], "fp16")).total_s for name in (slower, faster)]
    assert seconds[0] / seconds[1] == pytest.approx(measured, rel=0.25)


def ratios(rates):
    """Measured over estimated, by device and model."""
    return {(row.device, row.model): row.throughput / math.exp(rate) for row, rate in rates.items()}


# As docs/estimator.md has them: 5,232.78 images/s of 32 NeuronCores where 8,907 are estimated.
def test_a_published_throughput_of_trainium_is_as_far_from_its_estimate_as_the_docs_say(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path / "traces.pkl")
    (row,) = [row for row in data.trainium() if row.model == "vit-b16"]
    off = ratios(data.on_trainium([row]))["trn1.32xlarge", "vit-b16"]
    assert off == pytest.approx(0.59, abs=0.03)
    device = from_instance(config.instance("trn1.32xlarge"), "bf16", host=None)
    assert abs(math.log(off)) < Z90 * correction(Calibration(), "a workload", device).sigma


def test_published_throughputs_of_cpus_are_as_far_from_their_estimates_as_the_docs_say(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path / "traces.pkl")
    every = data.table("cpus.csv")
    models = ("resnet50", "vgg19", "distilbert-384")
    monkeypatch.setattr(data, "table", lambda _: [row for row in every if row["model"] in models])
    off = ratios(data.on_cpus())
    expected = {
        ("2 x Gold 6148", "vgg19"): 1.31,
        ("2 x Gold 6148", "resnet50"): 0.95,
        ("2 x Platinum 8180", "resnet50"): 1.08,
        ("2 x Platinum 8124M (c5.18xlarge)", "resnet50"): 0.85,
        ("1 x Platinum 8480+", "resnet50"): 0.81,
        ("1 x 6455B (r7iz.metal-16xl)", "distilbert-384"): 0.80,
    }
    assert off == pytest.approx(expected, abs=0.03)
    assert max(abs(math.log(one)) for one in off.values()) < Z90 * CPU_SIGMA["other"]
