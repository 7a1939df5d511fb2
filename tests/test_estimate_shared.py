"""What errors of estimates have in common: pairs of devices keep the spread that was fitted on pairs.

Run: pytest tests/test_estimate_shared.py
"""

import math

import pytest

from yocobench import config
from yocobench.estimate import interval, loading
from yocobench.estimate.calibration import Calibration, Residual
from yocobench.estimate.devices import from_instance
from yocobench.estimate.estimator import Estimate, estimate
from yocobench.estimate.interval import CPU_SIGMA, GAP_SIGMA, SIGMA

T4, A10G, L4, L40S, TRAINIUM = "g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g6e.xlarge", "trn1.2xlarge"


def device(name):
    instance = config.instance(name)
    assert instance.chip is not None
    return from_instance(instance, instance.chip.precision, None)


def measured(name, workload="wide", relative_error=0.0):
    found = device(name)
    return Residual(
        workload=workload, instance=name, chip=found.chip, family=found.family, kind=found.kind, precision="bf16",
        ratio=1.0, relative_error=relative_error,
    )  # fmt: skip


def trained(name, *cells):
    return interval.correction(Calibration(residuals=cells), "wide", device(name))


def spread(one, other):
    """Of the logarithm of the ratio of two estimates: what they share they have alike, the rest is independent."""
    mine, theirs = dict(one.shared), dict(other.shared)
    alike = sum(mine[key] * theirs[key] for key in mine.keys() & theirs.keys())
    return math.sqrt(one.sigma**2 + other.sigma**2 - 2 * alike)


def test_two_estimates_without_any_measurement_differ_as_pairs_of_published_devices_do():
    assert trained(T4).sigma == SIGMA["other"]
    assert spread(trained(T4), trained(L4)) == pytest.approx(SIGMA["kind"])
    assert spread(trained(L4), trained(L40S)) == pytest.approx(SIGMA["family"])  # both of compute capability 8.9
    assert spread(trained(T4), trained("p4d.24xlarge")) == pytest.approx(SIGMA["kind"])


def test_an_unknown_fact_is_the_devices_own():
    assert device("p3.2xlarge").gaps == ("host CPU speed unknown: 0.7 of the reference core assumed",)
    assert spread(trained(T4), trained("p3.2xlarge")) == pytest.approx(math.hypot(SIGMA["kind"], GAP_SIGMA))


def test_other_kinds_of_device_share_nothing():
    assert spread(trained(T4), trained(TRAINIUM)) == pytest.approx(
        math.hypot(trained(T4).sigma, trained(TRAINIUM).sigma)
    )
    two = trained(TRAINIUM), trained("trn1.32xlarge")  # one chip, whose unknown level is the same
    assert spread(*two) == pytest.approx(SIGMA["chip"])


@pytest.mark.parametrize("cells", [(A10G,), (A10G, "p4d.24xlarge")])
def test_estimates_that_rest_on_the_same_cells_err_with_them(cells):
    known = [measured(name, relative_error=0.098) for name in cells]  # 0.05 of noise, which both have alike
    one, other = trained(T4, *known), trained(L4, *known)
    assert one.sigma == pytest.approx(math.hypot(SIGMA["kind"], 0.05))
    assert spread(one, other) == pytest.approx(SIGMA["kind"])


# The cell on an L4 leaves the L40S 0.097 off and the T4 0.152: what both owe to the L4 drops out between them.
def test_estimates_at_different_distances_from_one_cell_keep_the_spread_of_their_pair():
    near, far = trained(L40S, measured(L4)), trained(T4, measured(L4))
    assert (near.sigma, far.sigma) == pytest.approx((SIGMA["family"], SIGMA["kind"]))
    assert spread(near, far) == pytest.approx(SIGMA["kind"])


@pytest.mark.parametrize("name", [T4, A10G, L40S, TRAINIUM, "m5a.large", "c7i.8xlarge"])
@pytest.mark.parametrize("cell", [None, L4, "c6i.8xlarge", TRAINIUM])
@pytest.mark.parametrize("workload", ["wide", "another"])
def test_no_estimate_shares_more_than_its_error(name, cell, workload):
    cells = () if cell is None else (measured(cell, workload, relative_error=0.2),)
    for found in (trained(name, *cells), loading.correction(Calibration(), "wide", device(name))):
        common = sum(sigma**2 for _, sigma in found.shared)
        assert 0 < common < found.sigma**2
        assert len(dict(found.shared)) == len(found.shared)


def test_loading_errs_alike_in_boxes_with_one_cpu_and_less_so_in_others():
    boxes = {name: loading.correction(Calibration(), "wide", device(name)) for name in (T4, A10G, L4, L40S)}
    assert boxes[L4].sigma == CPU_SIGMA["other"]
    assert spread(boxes[L4], boxes[L40S]) == pytest.approx(CPU_SIGMA["chip"])  # the same EPYC 7R13
    assert spread(boxes[T4], boxes[L4]) == pytest.approx(CPU_SIGMA["kind"])


def test_loading_says_on_which_core_it_was_timed_and_what_it_was_scaled_by():
    assert loading.correction(Calibration(), "wide", device(L4)).rests_on == (
        "loader timed on a Zen 4 core on 2026-11-24, scaled to 2 cores of amd-epyc-7r13 by CoreMark"
    )
    unknown = loading.correction(Calibration(), "wide", device("p3.2xlarge")).rests_on  # no CoreMark is on file
    assert unknown.endswith("scaled to 4 cores of intel-xeon-e5-2686v4")


@pytest.mark.slow
def test_an_estimate_that_loading_bounds_rests_on_the_loader_and_not_on_the_chip_that_trains():
    photos = config.workload("yoco-det").model_copy(update={"data": "images"})
    cell = measured(L4, "yoco-det")
    known = Calibration(residuals=(cell,), mean_image_pixels=1e8)  # stored so large that decoding takes longest
    found = estimate(photos, config.instance(T4), known)
    assert isinstance(found, Estimate)
    assert (found.bound_by, found.sigma) == ("input", CPU_SIGMA["other"])
    assert found.calibrated_on.startswith("loader timed on a Zen 4 core")
    text = estimate(photos.model_copy(update={"data": None}), config.instance(T4), known)
    assert isinstance(text, Estimate)
    assert (text.calibrated_on, text.sigma) == ("yoco-det on g6.xlarge (same kind of device)", SIGMA["kind"])
