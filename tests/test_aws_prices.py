"""Live prices against the stand-in: the one right price, what goes wrong, and what the stage keeps."""

import datetime as dt
import functools
import json
import shutil
import sys
from decimal import Decimal
from pathlib import Path

import pytest

import aws_answers
from aws_stand_in import Aws, aws_account  # noqa: F401
from yocobench import config, pricelist, prices
from yocobench.aws import offerings, session
from yocobench.aws import prices as live
from yocobench.aws.price_api import PriceProblem

TODAY = dt.date(2026, 11, 23)
REPOSITORY = Path(__file__).parents[1]
STUDY = ["g4dn.xlarge", "p3.2xlarge", "trn1.2xlarge"]


instance = functools.cache(config.instance)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between botocore's retries; the catalogue, which no test here changes, is read once."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _s: None)
    monkeypatch.setattr(config, "instance", instance)


@pytest.fixture
def stage(project: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the stage in a copy of the study that has the recorded snapshot; gives the snapshot afterwards."""
    (project / "data").mkdir()
    shutil.copy(REPOSITORY / "data/prices.json", project / "data/prices.json")

    def run(*overrides: str) -> pricelist.PriceList:
        monkeypatch.setattr(
            sys, "argv", ["prices", f"instances=[{','.join(STUDY)}]", "baseline=g4dn.xlarge", *overrides]
        )
        config.stage(prices.main)()
        return pricelist.load(project / "data/prices.json")

    return run


def asking(price: str) -> str:
    """A product's JSON with that text as its price."""
    return json.dumps(aws_answers.product("g5.xlarge", "us-east-1", "7.0000000000")).replace("7.0000000000", price)


# --- one price --------------------------------------------------------------------------------------------------------


def test_one_price_is_left_of_many_products_with_its_code_and_dates(aws: Aws):
    price, _ = live.instance("g4dn.xlarge", "us-east-1", TODAY)
    assert price.price_usd_per_hour == Decimal("0.526")
    assert price.sku == "SKUG4DNXLARGEBOXUSAGEG4DNXLARGEUSEAST1"
    assert price.rate_code == f"{price.sku}.JRTCKXETXF.6YS6EN2CT7"
    assert (price.effective_date, price.publication_date) == ("2026-11-01T00:00:00Z", "2026-11-19T12:00:00Z")
    assert price.as_of == TODAY
    assert {call.region for call in aws.calls} == {"us-east-1"}


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [("eu-west-1", "eu-central-1"), ("ap-northeast-1", "ap-south-1"), ("sa-east-1", "us-east-1")],
)
def test_the_price_list_is_asked_where_it_answers(aws: Aws, region: str, endpoint: str):
    aws.products = aws_answers.catalogue(region)
    assert live.instance("g5.xlarge", region, TODAY)[0].price_usd_per_hour == Decimal("1.006")
    assert [call.region for call in aws.calls] == [endpoint]


def test_reserved_terms_have_an_hourly_and_an_upfront_part(aws: Aws):
    _, terms = live.instance("g5.xlarge", "us-east-1", TODAY)
    found = {(t.years, t.plan, t.payment): (t.price_usd_per_hour, t.upfront_usd) for t in terms}
    assert found == {
        (1, "standard", "No Upfront"): (Decimal("0.63378"), 0),  # 63 % of 1.006
        (3, "convertible", "Partial Upfront"): (Decimal("0.2515"), 5913),
    }


def test_all_pages_are_read_before_the_price_is_believed(aws: Aws):
    aws.products.append(
        aws_answers.product("g5.xlarge", "us-east-1", "1.2000000000", usagetype="USE1-BoxUsage:g5.xlarge")
    )
    aws.page_size = 1
    with pytest.raises(PriceProblem, match=r"2 products have a price: 1\.006.*1\.2"):
        live.instance("g5.xlarge", "us-east-1", TODAY)


def test_an_empty_answer_names_how_many_products_there_were(aws: Aws):
    with pytest.raises(PriceProblem, match=r"no product with a price \(0 found"):
        live.instance("g9.mega", "us-east-1", TODAY)
    aws.products = [aws_answers.product("g5.xlarge", "us-east-1", "0.0000000000")]
    with pytest.raises(PriceProblem, match=r"no product with a price \(1 found, 1 of them on-demand Linux\)"):
        live.instance("g5.xlarge", "us-east-1", TODAY)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("{not json", "item 0 of the price list is not JSON: '{not json'"),
        ('"text"', "item 0 of the price list is malformed: TypeError"),
        ('{"product": {}}', "item 0 of the price list is malformed: KeyError 'attributes'"),
        (asking("dear"), "is malformed: InvalidOperation"),
        (asking("NaN"), "is malformed: NaN USD"),
        (asking("-1"), "is malformed: -1 USD"),
    ],
)
def test_a_malformed_product_is_named_and_no_price_is_taken_beside_it(aws: Aws, item: str, reason: str):
    aws.products = [item, aws_answers.product("g5.xlarge", "us-east-1", "1.0060000000")]
    with pytest.raises(PriceProblem) as caught:
        live.instance("g5.xlarge", "us-east-1", TODAY)
    assert reason in str(caught.value)


def test_an_answer_that_is_no_price_list_is_called_so(aws: Aws):
    aws.answer("pricing:GetProducts", "<html>sign in</html>")
    with pytest.raises(session.AwsError, match="the answer has no PriceList; it is not AWS that answered"):
        live.instance("g5.xlarge", "us-east-1", TODAY)


def test_throttling_is_retried_and_then_named(aws: Aws):
    aws.fail("pricing:GetProducts", "ThrottlingException", "Rate exceeded", times=2)
    assert live.instance("g5.xlarge", "us-east-1", TODAY)[0].price_usd_per_hour == Decimal("1.006")
    aws.fail("pricing:GetProducts", "ThrottlingException", "Rate exceeded")
    with pytest.raises(session.Throttled, match=r"throttled the request \(ThrottlingException\) after every retry"):
        live.instance("g5.xlarge", "us-east-1", TODAY)
    assert aws.actions()["pricing:GetProducts"] == 3 + 5


def test_gp3_throughput_is_turned_from_gib_into_mib(aws: Aws):
    volume = live.gp3("us-east-1", TODAY)
    assert volume.price_usd_per_gb_month == Decimal("0.08")
    assert volume.price_usd_per_iops_month == Decimal("0.005")
    assert volume.price_usd_per_mib_s_month == Decimal("0.04")  # 40.96 / 1024


# --- spot, Savings Plans, offers --------------------------------------------------------------------------------------


def test_spot_is_read_by_zone_with_the_time_weighted_band_of_30_days(aws: Aws):
    aws.page_size = 2
    now = dt.datetime.now(dt.UTC)
    rows = {(row.instance_type, row.zone): row for row in live.spot(["g4dn.xlarge", "g5.xlarge"], "us-east-1", now)}
    assert set(rows) == {("g4dn.xlarge", "us-east-1a"), ("g4dn.xlarge", "us-east-1b"), ("g5.xlarge", "us-east-1a")}
    moving = rows["g4dn.xlarge", "us-east-1a"]
    assert moving.price_usd_per_hour == Decimal("0.158")
    # in force over 30 days: 0.158 for 2 days, 0.20 for 10, 0.21 for 10, 0.22 for 8
    assert moving.band == pricelist.Band(
        days=30, p5_usd_per_hour="0.158", median_usd_per_hour="0.21", p95_usd_per_hour="0.22"
    )
    still = rows["g4dn.xlarge", "us-east-1b"].band
    assert still is not None
    assert {still.p5_usd_per_hour, still.median_usd_per_hour, still.p95_usd_per_hour} == {Decimal("0.3")}


def test_a_band_ignores_what_ended_before_its_days(aws: Aws):
    now = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    ago = [now - dt.timedelta(days=days) for days in (60, 40, 15)]
    found = live.band(
        [(ago[2], Decimal(3)), (ago[0], Decimal(1)), (ago[1], Decimal(2))], ago[1] + dt.timedelta(10), now
    )
    assert (found.days, found.p5_usd_per_hour, found.median_usd_per_hour, found.p95_usd_per_hour) == (30, 2, 2, 3)


def test_savings_plans_are_those_of_boxes_in_use(aws: Aws):
    plans = live.savings_plans("g5.xlarge", "us-east-1", TODAY)
    assert [(p.years, p.plan, p.payment, p.price_usd_per_hour) for p in plans] == [
        (1, "Compute", "No Upfront", Decimal("0.724320")),  # 72 % of 1.006
        (3, "Compute", "No Upfront", Decimal("0.503000")),
    ]


def test_a_priced_type_may_be_offered_nowhere(aws: Aws):
    assert offerings.zones(["p3.2xlarge", "trn1.2xlarge"], "us-east-1") == {
        "p3.2xlarge": (),
        "trn1.2xlarge": ("us-east-1c", "us-east-1f"),
    }


# --- the stage --------------------------------------------------------------------------------------------------------


def test_the_stage_replaces_the_studys_prices_and_keeps_the_others(aws: Aws, stage, capsys):
    before = pricelist.load(Path("data/prices.json"))
    after = stage()
    today = dt.datetime.now(dt.UTC).date()
    g4dn = after.find("g4dn.xlarge", "us-east-1", "on-demand")
    assert g4dn is not None
    assert (g4dn.price_usd_per_hour, g4dn.as_of) == (Decimal("0.526"), today)
    assert after.find("g4dn.xlarge", "us-east-1", "spot").price_usd_per_hour == Decimal("0.158")
    assert after.find("m5a.large", "us-east-1", "on-demand") == before.find("m5a.large", "us-east-1", "on-demand")
    assert after.find("trn1.2xlarge", "us-east-2", "spot") == before.find("trn1.2xlarge", "us-east-2", "spot")
    assert after.as_of == before.as_of == dt.date(2026, 7, 20)
    assert after.offer("p3.2xlarge", "us-east-1").zones == ()
    assert after.offer("trn1.2xlarge", "us-east-1").zones == ("us-east-1c", "us-east-1f")
    assert [s.price_usd_per_mib_s_month for s in after.storage] == [Decimal("0.04")]
    assert after.public_ipv4 == before.public_ipv4
    out = capsys.readouterr().out
    assert "3 of 3 on-demand prices read in us-east-1, 2 spot prices by zone, 12 prices of commitments" in out
    assert "not offered in us-east-1, whatever the price list says: p3.2xlarge" in out
    assert json.loads(Path("data/prices.json").read_text())["schema"] == "yocobench.prices/2"


def test_a_second_refresh_of_the_same_day_changes_nothing_but_spot_times(aws: Aws, stage):
    first, second = stage(), stage()
    keep = {"prices": {"__all__": {"effective_date", "band"}}}
    assert first.model_dump(exclude=keep) == second.model_dump(exclude=keep)


def test_what_is_not_answered_keeps_its_row_and_its_date(aws: Aws, stage, capsys):
    aws.products = [doc for doc in aws.products if doc["product"]["attributes"].get("instanceType") != "trn1.2xlarge"]
    aws.fail(
        "ec2:DescribeSpotPriceHistory", "UnauthorizedOperation", "You are not authorized (123456789012)", status=403
    )
    aws.fail("savingsplans:DescribeSavingsPlansOfferingRates", "InternalServerException", status=500)
    after = stage()
    kept = after.find("trn1.2xlarge", "us-east-1", "on-demand")
    assert kept is not None
    assert (kept.price_usd_per_hour, kept.as_of) == (Decimal("1.34375"), dt.date(2026, 7, 20))
    said = capsys.readouterr()
    assert "not read: trn1.2xlarge on-demand: no product with a price (0 found" in said.err
    assert "not read: spot in us-east-1: could not read the spot prices of us-east-1: not allowed" in said.err
    assert "docs/iam-policy.json" in said.err
    assert "<account>" in said.err
    assert "123456789012" not in said.err
    assert "not read: g4dn.xlarge Savings Plans: " in said.err
    assert "trn1.2xlarge in us-east-1: not read, kept 1.343750 USD/h of 2026-07-20" in said.out


def test_without_credentials_the_snapshot_stays_and_that_is_no_failure(aws: Aws, stage, capsys, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    before = Path("data/prices.json").read_bytes()
    stage()
    assert Path("data/prices.json").read_bytes() == before
    out = capsys.readouterr().out
    assert out.startswith("data/prices.json stays as it is, oldest price of 2026-07-20, ")
    assert "stale: 3 of the study's 3 on-demand prices in us-east-1 are over 90 days old" in out
    assert "no AWS credentials found" in out
    assert len(out.splitlines()) == 1


def test_a_region_that_the_snapshot_does_not_know_is_refused_where_none_can_be_fetched(
    aws: Aws, stage, capsys, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SystemExit):
        stage("region=us-esat-1")
    assert "region 'us-esat-1' has no price in the snapshot" in (said := capsys.readouterr().err)
    assert "did you mean 'us-east-1'?" in said


def test_why_a_new_regions_prices_cannot_be_fetched_is_said(aws: Aws, stage, capsys, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SystemExit):
        stage("region=eu-central-1")
    assert "region 'eu-central-1' has no price in the snapshot of 2026-07-20" in (said := capsys.readouterr().err)
    assert "AWS_SECRET_ACCESS_KEY" in said.partition(". AWS did not give its prices either: could not ")[2]
    assert (said.count("\n"), "python -m yocobench.prices" in said) == (1, False)


def test_without_network_the_snapshot_stays(aws: Aws, stage, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing listens there
    stage()
    assert "data/prices.json stays as it is" in (out := capsys.readouterr().out)
    assert "no answer from AWS" in out


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "AuthFailure"])
def test_credentials_that_do_not_work_leave_the_snapshot_too(aws: Aws, stage, capsys, code: str):
    aws.fail("ec2:DescribeInstanceTypeOfferings", code, status=403)
    stage()
    assert "data/prices.json stays as it is" in (out := capsys.readouterr().out)
    assert "the AWS credentials" in out


def test_without_credentials_and_without_snapshot_there_is_nothing_to_go_by(aws: Aws, stage, capsys, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    Path("data/prices.json").unlink()
    with pytest.raises(SystemExit) as caught:
        stage()
    assert caught.value.code == 2
    assert "there is no data/prices.json: `git checkout data/prices.json`" in capsys.readouterr().err


def test_another_regions_prices_are_added(aws: Aws, stage):
    aws.products = aws_answers.catalogue("eu-central-1")
    after = stage("region=eu-central-1")
    assert after.find("g4dn.xlarge", "eu-central-1", "on-demand").price_usd_per_hour == Decimal("0.526")
    assert after.find("g4dn.xlarge", "us-east-1", "on-demand").as_of == dt.date(2026, 7, 20)
    assert {volume.region for volume in after.storage} == {"eu-central-1", "us-east-1"}
