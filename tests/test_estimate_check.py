"""Leave-one-out: a measured cell beside its estimate from all the others, and receipts that no catalogue knows."""

from __future__ import annotations

import pytest

import examples
from test_estimate import HOST, residual, workload
from yocobench import config, estimates, receipt
from yocobench.bench.measurement import Source
from yocobench.estimate import residuals
from yocobench.estimate.calibration import Calibration
from yocobench.estimate.check import leave_one_out
from yocobench.estimate.estimator import Estimate, estimate
from yocobench.receipt import Receipt

pytestmark = pytest.mark.usefixtures("project")
OWN = residual("g4dn.xlarge", "nvidia-t4", "cuda 7.5", "cuda", ratio=2.0)
"""As a calibration holds it: the cell itself, twice as slow as modelled."""


def modelled_rate() -> float:
    """Samples per second on a T4 with nothing measured: 64 items of one sample a step."""
    wide = workload()
    found = estimate(wide, config.instance("g4dn.xlarge"), Calibration(), "fp16")
    assert isinstance(found, Estimate)
    return found.samples_per_second


def measured(step_s: float, instance: str = "g4dn.xlarge", source: Source = "measured", **changes: object) -> Receipt:
    """Two repeats of equal steps of 64 items."""
    repeats = tuple(examples.repeat(number, step_s, samples_per_step=64) for number in (0, 1))
    base = examples.receipt(repeats, instance, source=source)
    cell = {
        "workload": workload(),
        "precision": "fp16",
        "kind": "cuda",
        "micro_batch_size": 64,
        "accumulation_steps": 1,
    }
    return base.model_copy(update={"spec": base.spec.model_copy(update=cell | changes)})


@pytest.mark.parametrize(("slower", "inside"), [(1.5, True), (1.9, True), (2.0, False), (1 / 1.9, True), (0.5, False)])
def test_a_cell_is_estimated_as_if_it_had_not_been_measured(slower, inside):
    # Without its own residual nothing near was measured: sigma 0.4, a factor of exp(1.6449 x 0.4) = 1.931 either way.
    rate = modelled_rate()
    (found,) = leave_one_out([measured(64 / rate * slower)], Calibration(residuals=(OWN,)))
    assert found.samples_per_second == pytest.approx(rate / slower)
    assert found.est_samples_per_second == pytest.approx(rate)
    assert found.relative_error == pytest.approx(slower - 1)
    assert found.inside is inside
    assert (found.workload, found.instance) == ("wide", "g4dn.xlarge")


def test_steps_that_ran_eagerly_are_held_against_the_eager_model():
    def ratio(compiled: bool) -> float:
        found = measured(1.0)
        repeats = tuple(one.model_copy(update={"compiled": compiled}) for one in found.measurement.repeats)
        found = found.model_copy(update={"measurement": found.measurement.model_copy(update={"repeats": repeats})})
        left = residuals.of_receipt(found, None)
        assert left is not None
        return left.ratio

    assert ratio(compiled=False) < ratio(compiled=True)  # more memory traffic: more of the second is explained


def test_a_trial_of_a_tuning_says_nothing_of_the_cell():
    found = measured(1.0)
    trial = found.model_copy(update={"provenance": found.provenance.model_copy(update={"purpose": "tune"})})
    assert residuals.of_receipt(found, None) is not None
    assert residuals.of_receipt(trial, None) is None


def test_the_cells_beside_it_do_count():
    # The same model on another T4 ran at half of the modelled rate: that carries over whole, and 6 % of spread remain.
    rate = modelled_rate()
    beside = residual("g4dn.2xlarge", OWN.chip, OWN.family, "cuda", ratio=2.0, precision="fp16")
    known = Calibration(residuals=(OWN.model_copy(update={"ratio": 50.0}), beside))
    (found,) = leave_one_out([measured(2 * 64 / rate)], known)
    assert found.est_samples_per_second == pytest.approx(rate / 2)
    assert found.relative_error == pytest.approx(0, abs=1e-9)
    assert "g4dn.2xlarge" in found.calibrated_on


def test_only_what_was_measured_and_can_be_estimated_is_checked():
    failed = examples.receipt(repeats=(), outcome="out_of_memory", reason="16 GiB")
    cannot_train = measured(0.1, "inf1.xlarge")
    assert leave_one_out([measured(0.1, source="replayed"), failed, cannot_train], Calibration()) == []


def test_what_another_host_measured_of_itself_is_not_held_against_the_estimate_of_this_one():
    there = measured(64.0, "local", kind="cpu", precision="fp32", host_id="elsewhere")
    here = measured(64.0, "local", kind="cpu", precision="fp32", host_id=HOST.host_id)
    (found,) = leave_one_out([there, here], Calibration(host=HOST))
    assert found.samples_per_second == pytest.approx(1.0)  # 64 items in 64 s
    assert leave_one_out([there, here], Calibration()) == []


def test_the_measured_rate_of_a_check_is_the_one_that_the_decision_states(project):
    # 64 tokens in 1 s and in 2 s: the mean of the rates is 48 a second, and not 64 over the mean step of 1.5 s.
    one = measured(1.0)
    repeats = tuple(examples.repeat(number, step_s, samples_per_step=64) for number, step_s in ((0, 1.0), (1, 2.0)))
    one = one.model_copy(update={"measurement": one.measurement.model_copy(update={"repeats": repeats})})
    receipt.write(one, project / "results/receipts/wide/smoke/g4dn.xlarge.json")
    [found] = estimates.checks(project, Calibration())
    assert found.rates is not None
    assert found.rates.measured == pytest.approx(48.0)
    assert "measured 48.0 samples/s" in found.line


def test_a_receipt_that_no_catalogue_knows_has_a_line_and_breaks_nothing(project):
    folder = project / "results/receipts"
    gone = workload().model_copy(update={"target": "nowhere.Model", "name": "gone"})
    receipt.write(measured(64 / modelled_rate()), folder / "wide/smoke/g4dn.xlarge.json")
    receipt.write(measured(0.1, workload=gone), folder / "gone/smoke/g4dn.xlarge.json")
    receipt.write(measured(0.1, "x9.mega"), folder / "wide/smoke/x9.mega.json")
    (folder / "wide/smoke/cut.json").write_text("{")
    lines = [one.line for one in estimates.checks(project, Calibration())]
    assert len(lines) == 3
    assert lines[0].startswith("gone on g4dn.xlarge: not checked: ")
    assert "estimated without it (+0 %), inside its 90 % interval" in lines[1]
    assert lines[2].startswith("wide on x9.mega: not checked: instance 'x9.mega' is not known")
