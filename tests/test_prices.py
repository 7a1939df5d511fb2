"""The price snapshot: what is in it, and what a bad one is answered with."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from yocobench import config, pricelist, prices
from yocobench.schema import Study

SNAPSHOT = Path(__file__).resolve().parents[1] / "data/prices.json"


@pytest.fixture
def raw() -> dict[str, Any]:
    """A snapshot of its own: a refreshed data/prices.json changes no test but the last three."""

    def row(instance_type: str, price: str, **other: Any) -> dict[str, Any]:
        common = {"region": "us-east-1", "zone": None, "usage_class": "on-demand", "as_of": "2026-07-20"}
        return {
            "instance_type": instance_type,
            "price_usd_per_hour": price,
            "source": "a price list",
            **common,
            **other,
        }

    spot = {"region": "us-east-2", "zone": "us-east-2c", "usage_class": "spot", "as_of": "2026-10-03"}
    return {
        "schema": "yocobench.prices/2",
        "as_of": "2026-07-20",
        "currency": "USD",
        "prices": [
            row("c6i.8xlarge", "1.360000"),
            row("g4dn.xlarge", "0.526000"),
            row("m5a.large", "0.086000"),
            row("p4d.24xlarge", "21.957642"),
            row("trn1.2xlarge", "1.343750"),
            row("trn1.2xlarge", "0.134400", **spot),
        ],
        "storage": [
            {
                "kind": "gp3",
                "region": "us-east-1",
                "price_usd_per_gb_month": "0.08",
                "source": "a price list",
                "as_of": "2026-07-20",
            }
        ],
        "public_ipv4": {"price_usd_per_hour": "0.005", "source": "a price list", "as_of": "2026-07-20"},
    }


@pytest.fixture
def recorded(tmp_path: Path, raw: dict[str, Any]) -> pricelist.PriceList:
    return pricelist.load(write(tmp_path, raw))


def write(tmp_path: Path, raw: Any) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("instance_type", "price"),
    [
        ("m5a.large", "0.086"),
        ("g4dn.xlarge", "0.526"),
        ("trn1.2xlarge", "1.34375"),
        ("c6i.8xlarge", "1.36"),
        ("p4d.24xlarge", "21.957642"),
    ],
)
def test_on_demand_prices_of_us_east_1_are_exact_decimals(
    recorded: pricelist.PriceList, instance_type: str, price: str
) -> None:
    found = recorded.find(instance_type, "us-east-1", "on-demand")
    assert found is not None
    assert found.price_usd_per_hour == Decimal(price)
    assert found.as_of == dt.date(2026, 7, 20)
    assert found.zone is None


def test_spot_readings_carry_their_zone_and_their_own_date(recorded: pricelist.PriceList) -> None:
    found = recorded.find("trn1.2xlarge", "us-east-2", "spot")
    assert found is not None
    assert (found.price_usd_per_hour, found.zone) == (Decimal("0.1344"), "us-east-2c")
    assert found.as_of == dt.date(2026, 10, 3)


def test_a_price_that_the_snapshot_does_not_have_is_none(recorded: pricelist.PriceList) -> None:
    assert recorded.find("g4dn.xlarge", "us-east-1", "spot") is None
    assert recorded.find("local", "us-east-1", "on-demand") is None


def test_an_unknown_region_is_answered_with_the_known_ones(recorded: pricelist.PriceList) -> None:
    with pytest.raises(ValueError, match="did you mean 'us-east-1'") as caught:
        recorded.find("g4dn.xlarge", "us-esat-1", "on-demand")
    assert "Known: us-east-1, us-east-2." in str(caught.value)


def test_of_several_zones_the_cheapest_spot_price_is_found(tmp_path: Path, raw: dict[str, Any]) -> None:
    spot = next(row for row in raw["prices"] if row["usage_class"] == "spot")
    raw["prices"] += [
        {**spot, "zone": "us-east-2a", "price_usd_per_hour": "0.12"},
        {**spot, "zone": "us-east-2b", "price_usd_per_hour": "0.2"},
    ]
    found = pricelist.load(write(tmp_path, raw)).find("trn1.2xlarge", "us-east-2", "spot")
    assert found is not None
    assert (found.price_usd_per_hour, found.zone) == (Decimal("0.12"), "us-east-2a")


def study(*overrides: str) -> Study:
    """Three candidates and a baseline that is none; on-demand prices hold for 90 days, spot prices for 7."""
    limits = ["price_stale_after_days.on_demand=90", "price_stale_after_days.spot=7"]
    types = ["instances=[local,c6i.8xlarge,g4dn.xlarge,trn1.2xlarge]", "baseline=m5a.large"]
    return config.study([*limits, *types, "region=us-east-1", "usage_class=on-demand", *overrides])


def test_a_price_is_stale_when_it_is_older_than_its_classs_limit(recorded: pricelist.PriceList) -> None:
    on_the_day, after = dt.date(2026, 10, 18), dt.date(2026, 10, 19)  # 90 and 91 days after 2026-07-20
    assert recorded.stale(study(), on_the_day) == []
    assert len(recorded.stale(study(), after)) == 4
    spot = study("region=us-east-2", "usage_class=spot")
    assert [row.zone for row in recorded.stale(spot, dt.date(2026, 10, 11))] == ["us-east-2c"]
    assert recorded.stale(spot, dt.date(2026, 10, 10)) == []
    assert pricelist.age(recorded, study(), on_the_day) == "oldest price of 2026-07-20, 90 days old on 2026-10-18"
    said = pricelist.age(recorded, study(), after)
    assert said == (
        "oldest price of 2026-07-20, 91 days old on 2026-10-19; stale: 4 of the study's 4 on-demand prices in "
        "us-east-1 are over 90 days old"
    )
    nothing = pricelist.age(recorded, study("region=us-west-2"), after)
    assert nothing == "none of the study's on-demand prices in us-west-2 is known"


def test_what_the_study_does_not_ask_about_makes_no_price_of_it_old(recorded: pricelist.PriceList) -> None:
    today = dt.date(2026, 11, 23)
    asked = {"c6i.8xlarge", "g4dn.xlarge", "m5a.large", "trn1.2xlarge"}  # not p4d.24xlarge
    fresh = [
        price.model_copy(update={"as_of": dt.date(2026, 11, 21)}) if price.instance_type in asked else price
        for price in recorded.prices
    ]
    refreshed = recorded.model_copy(update={"prices": tuple(fresh)})
    assert refreshed.stale(study(), today) == []
    assert pricelist.age(refreshed, study(), today) == "oldest price of 2026-11-21, 2 days old on 2026-11-23"
    baseline = study("baseline=p4d.24xlarge")  # 126 days: 11 + 31 + 30 + 31 + 23
    assert "oldest price of 2026-07-20, 126 days old" in (said := pricelist.age(refreshed, baseline, today))
    assert "stale: 1 of the study's 4 on-demand prices in us-east-1 are over 90 days old" in said


def test_a_price_of_tomorrow_is_a_mistake_in_the_list_or_of_the_clock(recorded: pricelist.PriceList) -> None:
    early = pricelist.age(recorded, study(), dt.date(2026, 7, 19))
    assert "; 6 price(s) are dated after today: correct data/prices.json, or this machine's clock" in early


def test_a_type_that_an_answer_on_spot_leaves_out_loses_its_old_spot_price_and_nothing_else(recorded):
    spot = recorded.find("trn1.2xlarge", "us-east-2", "spot")
    elsewhere = spot.model_copy(update={"region": "us-west-2", "zone": "us-west-2a"})
    other = spot.model_copy(update={"instance_type": "g4dn.xlarge"})
    old = recorded.model_copy(update={"prices": (*recorded.prices, elsewhere, other)})
    fresh = other.model_copy(update={"zone": "us-east-2a"})

    def kept(answer: list[pricelist.Price] | None, *asked: str) -> list[pricelist.Price]:
        merged = prices.merge(old, prices.Found(spot=answer), list(asked), "us-east-2")
        assert merged is not None
        assert merged.find("trn1.2xlarge", "us-east-1", "on-demand") is not None
        return [price for price in merged.prices if price.usage_class == "spot"]

    assert kept(None, "trn1.2xlarge", "g4dn.xlarge") == [spot, elsewhere, other]  # not answered
    assert kept([], "trn1.2xlarge") == [elsewhere, other]
    assert kept([fresh], "trn1.2xlarge", "g4dn.xlarge") == [elsewhere, fresh]


def test_storage_and_addresses_are_priced(recorded: pricelist.PriceList) -> None:
    assert [(row.kind, row.price_usd_per_gb_month) for row in recorded.storage] == [("gp3", Decimal("0.08"))]
    assert recorded.address_usd_per_hour == Decimal("0.005")
    assert recorded.model_copy(update={"public_ipv4": None}).address_usd_per_hour is None  # as in an older file


def test_rows_in_another_order_are_read_alike(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["prices"].reverse()
    found = pricelist.load(write(tmp_path, raw)).find("g4dn.xlarge", "us-east-1", "on-demand")
    assert found is not None
    assert found.price_usd_per_hour == Decimal("0.526")


def test_a_bad_file_gives_all_its_errors_at_once_with_places_and_the_way_back(
    tmp_path: Path, raw: dict[str, Any]
) -> None:
    raw["prices"][0]["price_usd_per_hour"] = "-1.36"
    raw["prices"][1]["price"] = raw["prices"][1].pop("price_usd_per_hour")
    raw["prices"][2]["source"] = ""
    raw["prices"][3]["price_usd_per_hour"] = 0.526
    raw["prices"][4]["region"] = "Virginia"
    raw["currency"] = "EUR"
    path = write(tmp_path, raw)
    with pytest.raises(ValueError, match=r"prices\.json: 7 error\(s\)") as caught:
        pricelist.load(path)
    message = str(caught.value)
    assert "prices.0.price_usd_per_hour: Input should be greater than 0 (got '-1.36')" in message
    assert "prices.1.price: unknown key (money keys carry their unit: price_usd_per_hour" in message
    assert "prices.1.price_usd_per_hour: is missing" in message
    assert "prices.2.source: " in message
    assert "prices.3.price_usd_per_hour: Value error, write money as a string" in message
    assert "prices.4.region: " in message
    assert "currency: Input should be 'USD' (got 'EUR')" in message
    assert f"git checkout {path}" in message


@pytest.mark.parametrize("price", ["0", "0.000000", "1e30", "NaN", "Infinity", "free", "", None])
def test_a_price_is_a_positive_number(tmp_path: Path, raw: dict[str, Any], price: Any) -> None:
    raw["prices"][0]["price_usd_per_hour"] = price
    with pytest.raises(ValueError, match=r"prices\.0\.price_usd_per_hour: "):
        pricelist.load(write(tmp_path, raw))


def test_two_rows_for_one_price_are_refused(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["prices"].append({**raw["prices"][0], "price_usd_per_hour": "9"})
    with pytest.raises(ValueError, match=r"2 rows for c6i\.8xlarge us-east-1 on-demand; keep one"):
        pricelist.load(write(tmp_path, raw))


def test_the_list_is_no_younger_than_its_oldest_row(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["prices"][0]["as_of"] = "2025-01-01"
    with pytest.raises(ValueError, match=r"prices\.0\.as_of: 2025-01-01 is before the list's as_of 2026-07-20"):
        pricelist.load(write(tmp_path, raw))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ('{"schema": "yocobench.prices/1", "pri', "is not JSON"),
        ("[" * 100_000, "is not JSON: maximum recursion depth exceeded"),
        ('{"a": [{"usd": "1", "usd": "2"}]}', r"usd: given 2 times in one row \('1', '2'\); keep one"),
        ("[]", "schema: 'list' is not known. Known: yocobench.prices/1, yocobench.prices/2"),
        ('{"schema": "yocobench.prices/3"}', "schema: 'yocobench.prices/3' is not known. Known: yocobench.prices/1"),
    ],
)
def test_a_file_that_is_cut_or_of_another_schema_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pricelist.load(write(tmp_path, text))


def test_a_snapshot_of_the_first_schema_is_still_read_and_written_as_the_second(tmp_path: Path, raw: dict[str, Any]):
    raw["schema"] = "yocobench.prices/1"
    old = pricelist.load(write(tmp_path, raw))
    pricelist.write(old, tmp_path / "new.json")
    new = json.loads((tmp_path / "new.json").read_text())
    assert new["schema"] == "yocobench.prices/2"
    assert pricelist.load(tmp_path / "new.json").prices == old.prices


def test_what_is_written_is_sorted_and_two_writes_are_equal(tmp_path: Path, raw: dict[str, Any]):
    raw["prices"].reverse()
    pricelist.write(pricelist.load(write(tmp_path, raw)), tmp_path / "a.json")
    pricelist.write(pricelist.load(tmp_path / "a.json"), tmp_path / "b.json")
    written = json.loads((tmp_path / "a.json").read_text())
    assert [row["instance_type"] for row in written["prices"]][:2] == ["c6i.8xlarge", "g4dn.xlarge"]
    columns = ["instance_type", "region", "usage_class", "price_usd_per_hour", "source", "as_of"]
    assert list(written["prices"][0]) == columns
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


def test_the_recorded_snapshot_prices_every_type_of_the_default_study_even_the_retired_one() -> None:
    snapshot = pricelist.load(SNAPSHOT)
    params = OmegaConf.load(SNAPSHOT.parents[1] / "params.yaml")
    for instance_type in set(params.instances) - {"local"}:
        assert snapshot.find(instance_type, params.region, "on-demand") is not None, instance_type


def test_the_recorded_snapshot_is_sorted_and_laid_out_for_a_diff() -> None:
    text = SNAPSHOT.read_text(encoding="utf-8")
    raw = json.loads(text)
    keys = [(row["instance_type"], row["region"], row["usage_class"], row.get("zone") or "") for row in raw["prices"]]
    assert keys == sorted(keys)
    assert text == json.dumps(raw, indent=2) + "\n"


def test_the_recorded_snapshot_dates_itself_by_its_oldest_price() -> None:
    snapshot = pricelist.load(SNAPSHOT)
    assert snapshot.as_of == min(price.as_of for price in snapshot.prices)
