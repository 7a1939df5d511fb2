"""Who is out before anything is spent: the first reason that holds, with its source and date."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from yocobench.pricelist import Offer
from yocobench.schema import Instance, Offering, Training
from yocobench.selection.eligibility import does_not_fit, exclude

SEEN, TRIED = dt.date(2026, 10, 27), dt.date(2026, 11, 23)


def instance(status: Any = "yes", regions_offered: int | None = 21, zones: tuple[str, ...] = ("a", "b")) -> Instance:
    """A type with only what eligibility looks at. `regions_offered` None: nothing is known of its offer."""
    offering = None
    if regions_offered is not None:
        offering = Offering(
            regions_offered=regions_offered,
            regions_scraped=30,
            us_east_1_zones=zones,
            usage_classes=("on-demand",),
            quota_on_demand=None,
            quota_spot=None,
            source="the offerings",
            as_of=SEEN,
        )
    training = Training(status=status, reason="because", source="the trial", as_of=TRIED)
    return Instance(
        name="x1.large",
        detect=True,
        cpu=None,
        accelerator=None,
        hardware=None,
        observed=None,
        offering=offering,
        training=training,
    )


@pytest.mark.parametrize("status", ["yes", "conditional"])
def test_a_type_that_trains_and_is_offered_may_run(status):
    assert exclude(instance(status), "us-east-1") is None


def test_a_type_of_unknown_offer_may_run():
    assert exclude(instance(regions_offered=None), "us-east-1") is None


@pytest.mark.parametrize(("status", "words"), [("retired", "retired: because"), ("no", "cannot train: because")])
def test_a_type_that_cannot_train_is_out_with_the_source_that_says_so(status, words):
    found = exclude(instance(status, regions_offered=0, zones=()), "us-east-1")
    assert found is not None
    assert (found.outcome, found.reason, found.source, found.as_of) == ("excluded", words, "the trial", TRIED)


def test_a_type_that_no_region_offers_is_out_though_price_lists_keep_it():
    found = exclude(instance(regions_offered=0, zones=()), "eu-central-1")
    assert found is not None
    assert (found.reason, found.source, found.as_of) == ("not offered in any region", "the offerings", SEEN)


def test_zones_of_us_east_1_rule_a_type_out_there_only():
    elsewhere = instance(regions_offered=1, zones=())
    found = exclude(elsewhere, "us-east-1")
    assert found is not None
    assert found.reason == "not offered in us-east-1"
    assert exclude(elsewhere, "us-west-2") is None


def offer(*zones: str, as_of: dt.date = TRIED) -> Offer:
    return Offer(instance_type="x1.large", region="eu-west-1", zones=zones, source="the answer", as_of=as_of)


def test_a_type_that_aws_says_it_does_not_offer_in_the_region_is_out_by_that_answer():
    found = exclude(instance(regions_offered=21), "eu-west-1", offer())
    assert found is not None
    assert (found.reason, found.source, found.as_of) == ("not offered in eu-west-1", "the answer", TRIED)
    assert exclude(instance(regions_offered=None), "eu-west-1", offer()) is not None
    assert exclude(instance(regions_offered=21), "eu-west-1", offer("eu-west-1a")) is None


def test_of_the_answer_and_the_catalogue_the_later_one_holds():
    before, gone = SEEN - dt.timedelta(days=1), instance(regions_offered=0, zones=())
    assert exclude(gone, "eu-west-1", offer("eu-west-1a")) is None  # offered anew
    found = exclude(gone, "eu-west-1", offer("eu-west-1a", as_of=before))
    assert found is not None
    assert found.as_of == SEEN
    assert exclude(instance(regions_offered=21), "eu-west-1", offer(as_of=before)) is None


def test_an_offer_helps_no_type_that_cannot_train():
    found = exclude(instance("no"), "eu-west-1", offer("eu-west-1a"))
    assert found is not None
    assert found.reason == "cannot train: because"


def test_a_model_that_is_too_large_is_out_by_so_many_bytes():
    found = does_not_fit(12.34 * 2**30, 8 * 2**30, 1, SEEN)
    assert found.outcome == "does_not_fit"
    assert found.reason == "needs 12.3 GiB at micro-batch 1, headroom included; the device has 8.0 GiB"
    assert (found.as_of, "yocobench.estimate.memory" in found.source) == (SEEN, True)
