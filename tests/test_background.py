"""What an answer rests on: model and data as configured, stale prices, missed checks."""

from __future__ import annotations

import datetime as dt

import pytest

from test_candidates import prices, study
from test_estimate import HOST
from yocobench import config
from yocobench.background import background, data, model
from yocobench.selection.checked import Checked, Rates

pytestmark = pytest.mark.usefixtures("project")
MISSED = Rates(measured=100, estimated=145, estimated_low=110, estimated_high=200)
FRESH, LATE = dt.date(2026, 10, 18), dt.date(2026, 10, 19)
"""90 and 91 days after the prices of 2026-07-20."""


def of(workload: str, today: dt.date, *checks: Checked):
    return background(study(), config.workload(workload), prices(), checks, today)


def test_the_model_is_told_as_configured_without_what_moves_only_the_loss():
    small = config.workload("yoco-det")
    # Counted by hand in conf/workload/yoco-det.yaml: 1.18 M parameters.
    assert model(small).startswith("1.18 million parameters, backbone mobilenet-v2, width 0.35, image_size_px 96, ")
    assert model(small).endswith(", global batch 16")
    assert "learning_rate" not in model(small)
    assert "num_workers" not in model(small)  # null
    wide = small.model_copy(update={"args": {"width": 1.0, "image_size_px": 224}})
    assert "width 1.0, image_size_px 224, global batch 16" in model(wide)


def test_a_model_that_cannot_be_built_is_told_by_its_settings():
    gone = config.workload("yoco-det").model_copy(update={"target": "nowhere.Model", "args": {"width": 2}})
    assert model(gone) == "width 2, global batch 16"


def test_the_data_are_told_as_configured_and_a_folder_by_its_name_only():
    images, text = config.workload("yoco-det"), config.workload("yoco-lm")
    few = study("data.images.num_images=4000", "data.images.image_size_px=320")
    assert data(few, images) == "data: 4,000 rendered images of 320 px, the default"
    assert data(study("data.images.source=../mine/photos"), images) == "data: photos (data.images.source)"
    assert data(study("data.text.source=s3://mine/corpus"), text) == "data: s3://mine/corpus (data.text.source)"
    assert data(few, text) == "data: program text of Python packages, vocabulary of 8,192, the default"
    assert data(few, text.model_copy(update={"data": None})) == ""


def test_prices_are_stale_from_the_day_after_the_limit():
    assert of("yoco-det", FRESH).stale_prices == ()
    assert of("yoco-det", FRESH).warnings == ()
    late = of("yoco-det", LATE)
    assert late.stale_prices == ("m5a.large", "trn1.2xlarge")  # of the study; t3a.large is not in it
    [said] = late.warnings
    assert said.startswith("stale prices: 2 of the study's 2 on-demand prices in us-east-1 are over 90 days old")
    assert late.region == "us-east-1"


def test_a_missed_check_is_told_with_its_own_workload_only():
    missed = Checked("yoco-det", "local", MISSED, "this host", "image")
    assert of("yoco-det", FRESH, missed).warnings == (missed.warning,)
    assert of("yoco-lm", FRESH, missed).warnings == ()


def test_a_micro_benchmark_beside_other_work_is_told():
    def warnings(taken: float | None):
        host = HOST.model_copy(update={"taken_share": taken})
        return background(study(), config.workload("yoco-lm"), prices(), (), FRESH, host).warnings

    assert warnings(None) == warnings(0.05) == ()
    [said] = warnings(0.78)
    assert said.startswith("others took 78 % of the CPU time while this host's micro-benchmark ran")
