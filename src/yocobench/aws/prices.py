"""Live prices: on-demand and reserved, spot now and over 30 days, gp3, Savings Plans. Each with code, source and date.

Not covered: which old prices stay when one of these does not answer (the stage, yocobench/prices.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, cast

from pydantic import ValidationError

from yocobench.aws import price_api, session
from yocobench.aws.price_api import PriceProblem, Rate
from yocobench.pricelist import Band, Commitment, Price, StoragePrice

SPOT_DAYS = 30
MIB_PER_GIB = 1024
YEAR_S = 365 * 24 * 3600
Payment = Literal["No Upfront", "Partial Upfront", "All Upfront"]


def instance(instance_type: str, region: str, today: dt.date) -> tuple[Price, list[Commitment]]:
    """The on-demand price and the reserved terms. Raises PriceProblem, AwsError."""
    product = price_api.instance(instance_type, region)
    rate = price_api.on_demand(product, price_api.HOUR)[0]
    price = Price(
        instance_type=instance_type,
        region=region,
        zone=None,
        usage_class="on-demand",
        price_usd_per_hour=rate.usd,
        **_origin(rate, today),
    )
    terms = [_reserved(rates, instance_type, region, today) for rates in price_api.reserved(product)]
    return price, [term for term in terms if term is not None]


def gp3(region: str, today: dt.date) -> StoragePrice:
    """The volume's price: space, and what is above the included IOPS and throughput. Raises PriceProblem, AwsError.

    The API prices throughput by the GiB/s, the console and every table by the MiB/s.
    """
    found = price_api.products({"volumeApiName": "gp3", "regionCode": region}, region)
    space, iops, throughput = (_one(found, unit) for unit in ("GB-Mo", "IOPS-Mo", "GiBps-mo"))
    if space is None:
        raise PriceProblem(f"no gp3 price per GB-month in {region} among {len(found)} products")
    return StoragePrice(
        kind="gp3",
        region=region,
        price_usd_per_gb_month=space.usd,
        price_usd_per_iops_month=iops.usd if iops else None,
        price_usd_per_mib_s_month=throughput.usd / MIB_PER_GIB if throughput else None,
        **_origin(space, today),
    )


def spot(instance_types: Sequence[str], region: str, now: dt.datetime) -> list[Price]:
    """The price in force in each zone, with the band of the last 30 days. Raises AwsError; PriceProblem.

    A type without any row is not sold on the spot market there.
    """
    since = now - dt.timedelta(days=SPOT_DAYS)
    changes: dict[tuple[str, str], list[tuple[dt.datetime, Decimal]]] = {}
    with session.asking(f"read the spot prices of {region}"):
        pages = session.client("ec2", region).get_paginator("describe_spot_price_history")
        for page in pages.paginate(
            InstanceTypes=list(instance_types), ProductDescriptions=["Linux/UNIX"], StartTime=since, EndTime=now
        ):
            for row in page["SpotPriceHistory"]:
                key = (row["InstanceType"], row["AvailabilityZone"])
                changes.setdefault(key, []).append((row["Timestamp"], _usd(row["SpotPrice"], " ".join(key))))
    return [
        Price(
            instance_type=instance_type,
            region=region,
            zone=zone,
            usage_class="spot",
            price_usd_per_hour=max(rows)[1],
            band=band(rows, since, now),
            effective_date=f"{max(rows)[0]:%Y-%m-%dT%H:%M:%SZ}",
            source="EC2 DescribeSpotPriceHistory, Linux/UNIX",
            as_of=now.date(),
        )
        for (instance_type, zone), rows in sorted(changes.items())
    ]


def band(changes: list[tuple[dt.datetime, Decimal]], since: dt.datetime, now: dt.datetime) -> Band:
    """5 %, 50 % and 95 % of the time between `since` and `now` the price was at or below these.

    A change holds until the next one; what is in force at `since` counts from there.
    """
    ordered = sorted(changes)
    ends = [when for when, _ in ordered[1:]] + [now]
    spans = [(usd, (end - max(when, since)).total_seconds()) for (when, usd), end in zip(ordered, ends, strict=True)]
    stood = sorted((usd, span) for usd, span in spans if span > 0) or [(ordered[-1][1], 1.0)]
    total = sum(span for _, span in stood)

    def at(share: float) -> Decimal:
        passed = 0.0
        for usd, span in stood:
            passed += span
            if passed >= share * total:
                return usd
        return stood[-1][0]

    return Band(
        days=(now - since).days, p5_usd_per_hour=at(0.05), median_usd_per_hour=at(0.5), p95_usd_per_hour=at(0.95)
    )


def savings_plans(instance_type: str, region: str, today: dt.date) -> list[Commitment]:
    """Savings Plan rates of the type: Linux, shared tenancy, in use. Raises AwsError, PriceProblem."""
    filters = {"region": region, "instanceType": instance_type, "productDescription": "Linux/UNIX", "tenancy": "shared"}
    request: dict[str, Any] = {
        "products": ["EC2"],
        "serviceCodes": ["AmazonEC2"],
        "filters": [{"name": name, "values": [value]} for name, value in filters.items()],
    }
    rows: list[dict[str, Any]] = []
    plans = session.client("savingsplans", "us-east-1")
    with session.asking(f"read the Savings Plan rates of {instance_type}"):
        while True:  # botocore has no paginator for it
            answer = plans.describe_savings_plans_offering_rates(**request)
            rows += answer["searchResults"]
            if not answer.get("nextToken"):
                break
            request["nextToken"] = answer["nextToken"]
    found: dict[tuple[str, int, str], Commitment] = {}
    for row in rows:
        plain = row.get("operation", "RunInstances") == "RunInstances" and row.get("unit") == price_api.HOUR
        if plain and "BoxUsage" in row.get("usageType", ""):
            plan = _savings_plan(row, instance_type, region, today)
            found.setdefault((plan.plan, plan.years, plan.payment), plan)
    return list(found.values())


def _savings_plan(row: dict[str, Any], instance_type: str, region: str, today: dt.date) -> Commitment:
    try:
        offering = row["savingsPlanOffering"]
        return Commitment(
            instance_type=instance_type,
            region=region,
            kind="savings-plan",
            plan=offering["planType"],
            years=round(offering["durationSeconds"] / YEAR_S),
            payment=offering["paymentOption"],
            price_usd_per_hour=_usd(row["rate"], "a Savings Plan rate"),
            upfront_usd=Decimal(0),  # the rate includes what is paid ahead
            source="AWS Savings Plans API, DescribeSavingsPlansOfferingRates",
            as_of=today,
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise PriceProblem(f"a Savings Plan rate is malformed: {type(error).__name__}") from None


def _reserved(rates: list[Rate], instance_type: str, region: str, today: dt.date) -> Commitment | None:
    """One reserved term; null for a kind that this list does not know."""
    terms = rates[0].terms
    length, payment = terms.get("LeaseContractLength", ""), terms.get("PurchaseOption", "")
    if not length.removesuffix("yr").isdigit() or payment not in ("No Upfront", "Partial Upfront", "All Upfront"):
        return None
    hourly = next((rate for rate in rates if rate.unit == price_api.HOUR), rates[0])
    return Commitment(
        instance_type=instance_type,
        region=region,
        kind="reserved",
        plan=terms.get("OfferingClass", "standard"),
        years=int(length.removesuffix("yr")),
        payment=cast(Payment, payment),
        price_usd_per_hour=hourly.usd if hourly.unit == price_api.HOUR else Decimal(0),
        upfront_usd=sum((rate.usd for rate in rates if rate.unit == "Quantity"), Decimal(0)),
        **_origin(hourly, today),
    )


def _one(found: list[dict[str, Any]], unit: str) -> Rate | None:
    rates = [rate for product in found for rate in price_api.on_demand(product, unit)]
    if len(rates) > 1:
        raise PriceProblem(f"{len(rates)} gp3 prices per {unit}: {', '.join(str(rate.usd) for rate in rates)}")
    return rates[0] if rates else None


def _origin(rate: Rate, today: dt.date) -> dict[str, Any]:
    return {
        "sku": rate.sku,
        "rate_code": rate.rate_code,
        "effective_date": rate.effective_date,
        "publication_date": rate.publication_date,
        "source": "AWS Price List Query API, GetProducts of AmazonEC2",
        "as_of": today,
    }


def _usd(text: str, what: str) -> Decimal:
    """Raises PriceProblem unless it is a positive number."""
    try:
        usd = Decimal(text)
    except ArithmeticError:
        usd = Decimal(0)
    if not usd.is_finite() or usd <= 0:
        raise PriceProblem(f"{what}: {text!r} is no price")
    return usd
