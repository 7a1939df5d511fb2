"""What a measured loader says of other hosts, by hand.

Run: pytest tests/test_estimate_loading.py
"""

import math
from pathlib import Path

import pytest

import examples
from test_estimate import HOST, workload
from test_estimate_shared import A10G, L4, L40S, T4, device, spread
from yocobench import config, receipt
from yocobench.bench import physical
from yocobench.estimate import calibrate, loading
from yocobench.estimate.calibration import Calibration, LoaderResidual
from yocobench.estimate.constants import DECODE_S_PER_MEGAPIXEL
from yocobench.receipt import Receipt

PHOTOS = workload(batch=10).model_copy(update={"data": "images", "args": {"image_size_px": 200}})
MODELLED_S = 1.2545e-3
"""Of an image of 320 px on a 200 px canvas: tests/test_estimate.py."""


def timed(
    rate: float | None, cores: int = 2, kind: str = "cpu", num_workers: int | None = None, **spec: object
) -> Receipt:
    """A cell of this host whose loader alone gave so many images per second."""
    args = PHOTOS.args | ({} if num_workers is None else {"num_workers": num_workers})
    repeats = (examples.repeat(0, loader_samples_per_second_warm=rate), examples.repeat(1))
    found = examples.receipt(repeats=repeats)
    host = found.measurement.detected
    assert host is not None
    detected = host.model_copy(update={"physical_cores": cores, "kind": kind, "host_id": HOST.host_id})
    changes = {"workload": PHOTOS.model_copy(update={"args": args}), "host_id": HOST.host_id, "precision": "fp32"}
    measurement = found.measurement.model_copy(update={"detected": detected})
    return found.model_copy(update={"measurement": measurement, "spec": found.spec.model_copy(update=changes | spec)})


def residual(instance: str, ratio: float, name: str = "wide") -> LoaderResidual:
    return LoaderResidual(workload=name, instance=instance, host_chip=device(instance).host_chip, ratio=ratio)


@pytest.mark.parametrize(("cores", "beside", "expected"), [(2, True, 2), (2, False, 1), (16, True, 16), (16, False, 4)])
def test_workers_go_by_cores_and_by_what_trains(cores: int, beside: bool, expected: int):
    assert physical.loading_workers(cores, beside) == expected


# HOST decodes a megapixel in 2.4 ms, the reference core in 3.2: an image should take 1.2545 ms x 2.4 / 3.2 = 0.9409 ms.
# One worker (for four cores or fewer that train) gave 500 a second, 2 ms each: 2.126 times that. Two on two cores gave
# 1000 together, 2 ms of a core each; eight on two cores have no more than two cores, none is the process itself.
@pytest.mark.parametrize(
    ("rate", "facts", "expected"),
    [
        (500, {}, 2.126),
        (1000, {"num_workers": 2}, 2.126),
        (1000, {"num_workers": 8}, 2.126),
        (500, {"num_workers": 0}, 2.126),
        (1000, {"kind": "cuda"}, 2.126),
        (1000, {"cores": 8}, 2.126),
    ],
)
def test_a_timed_loader_is_held_against_the_constants(rate: float, facts: dict[str, object], expected: float):
    assert HOST.decode_s_per_megapixel == pytest.approx(DECODE_S_PER_MEGAPIXEL * 3 / 4)
    found = loading.of_receipt(timed(rate, **facts), HOST, None)
    assert found is not None
    assert found.ratio == pytest.approx(expected, rel=1e-3)
    assert (found.workload, found.instance, found.host_chip) == ("wide", "local", "Test CPU")


def test_a_loader_that_was_not_timed_or_loads_no_images_says_nothing():
    assert loading.of_receipt(timed(None), HOST, None) is None
    text = timed(500)
    words = text.spec.workload.model_copy(update={"data": "text"})
    assert (
        loading.of_receipt(
            text.model_copy(update={"spec": text.spec.model_copy(update={"workload": words})}), HOST, None
        )
        is None
    )


def test_a_slow_loader_slows_other_hosts_in_part_and_the_same_cpu_whole():
    known = Calibration(loaders=(residual(L4, 2.0),))
    same, other = (loading.correction(known, "wide", device(name)) for name in (L40S, T4))
    assert (same.factor, other.factor) == pytest.approx((2.0, 2**0.7))
    assert (same.sigma, other.sigma) == pytest.approx((math.hypot(0.08, 0.1), math.hypot(0.25, 0.1)))
    assert other.rests_on == f"loader timed on {L4}, scaled to 2 cores of intel-xeon-8259cl by CoreMark"
    assert loading.correction(known, "another", device(T4)).factor == 1.0


def test_hosts_that_rest_on_one_loader_err_with_it():
    known = Calibration(loaders=(residual("c6i.8xlarge", 1.5),))
    boxes = [loading.correction(known, "wide", device(name)) for name in (T4, A10G)]
    assert spread(*boxes) == pytest.approx(0.25)  # as without it: what it says is common to both
    for one in boxes:
        assert 0 < sum(part.sigma**2 for part in one.shared) < one.sigma**2


def test_leaving_a_cell_out_leaves_its_loader_out():
    known = Calibration(loaders=(residual(L4, 2.0), residual(T4, 3.0)))
    assert [one.instance for one in known.without("wide", L4).loaders] == [T4]


def test_receipts_bring_their_loaders(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibrate, "host_rates", lambda root, refresh: HOST)
    det = config.workload("yoco-det")
    one = timed(500)
    spec = one.spec.model_copy(update={"workload": det, "kind": "cpu"})
    receipt.write(one.model_copy(update={"spec": spec}), project / "results/receipts/yoco-det/smoke/local.json")
    [found] = calibrate.load(project).loaders
    assert (found.workload, found.instance) == ("yoco-det", "local")
    assert found.ratio > 1
