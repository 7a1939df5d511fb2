"""The Price List Query API: documents of AmazonEC2 products, checked and flattened to rates.

Taking the first document is wrong by design: dozens of products share an instance type, many at 0.00 (reservations,
capacity blocks). The filters are the union of those that Karpenter and amazon-ec2-instance-selector ship.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from yocobench.aws import session

ENDPOINTS = {"eu": "eu-central-1", "ap": "ap-south-1"}
"""The API answers in three regions only, about all regions: the nearest, else us-east-1."""
LINUX_SHARED = {
    "productFamily": "Compute Instance",
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}
HOUR = "Hrs"


class PriceProblem(session.AwsError):
    """AWS answered, but not with the one price that was asked for."""


@dataclass(frozen=True)
class Rate:
    """One price dimension of one term of one product."""

    sku: str
    rate_code: str
    unit: str
    usd: Decimal
    effective_date: str | None
    publication_date: str | None
    usage_type: str
    terms: dict[str, str]
    """termAttributes: LeaseContractLength, OfferingClass, PurchaseOption; empty for on-demand."""


def products(filters: dict[str, str], region: str) -> list[dict[str, Any]]:
    """Every product that matches, all pages. Raises PriceProblem for an item that cannot be read; AwsError."""
    wanted = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()]
    found = []
    with session.asking(f"read the price list of {' '.join(filters.values())}"):
        pricing = session.client("pricing", ENDPOINTS.get(region.partition("-")[0], "us-east-1"))
        for page in pricing.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=wanted):
            found.extend(page["PriceList"])
    return [_document(item, number) for number, item in enumerate(found)]


def instance(instance_type: str, region: str) -> dict[str, Any]:
    """The one product: on-demand, Linux, shared tenancy, no licence.

    Raises PriceProblem unless exactly one product with exactly one non-zero hourly price is left.
    """
    found = products({"instanceType": instance_type, "regionCode": region, **LINUX_SHARED}, region)
    kept = [one for one in found if _is_plain(one)]
    priced = [one for one in kept if on_demand(one, HOUR)]
    if len(priced) == 1:
        rates = on_demand(priced[0], HOUR)
        if len(rates) == 1:
            return priced[0]
        raise PriceProblem(f"{len(rates)} hourly prices in product {rates[0].sku}: {_list(rates)}")
    if priced:
        rates = [on_demand(one, HOUR)[0] for one in priced]
        raise PriceProblem(f"{len(priced)} products have a price: {_list(rates)}")
    raise PriceProblem(f"no product with a price ({len(found)} found, {len(kept)} of them on-demand Linux)")


def on_demand(product: dict[str, Any], unit: str) -> list[Rate]:
    """The product's non-zero on-demand rates in that unit."""
    return [rate for rate in _rates(product, "OnDemand") if rate.unit == unit and rate.usd > 0]


def reserved(product: dict[str, Any]) -> list[list[Rate]]:
    """The product's reserved terms: of each, the hourly and, if any, the upfront ("Quantity") rate."""
    terms: dict[str, list[Rate]] = {}
    for rate in _rates(product, "Reserved"):
        terms.setdefault(rate.rate_code.rpartition(".")[0], []).append(rate)
    return list(terms.values())


def _document(item: Any, number: int) -> dict[str, Any]:
    """A PriceList item: JSON text, as the API sends it. Raises PriceProblem when it is anything else."""
    try:
        document = json.loads(item)
        for kind in ("OnDemand", "Reserved"):
            for rate in _rates(document, kind):
                if not rate.usd.is_finite() or rate.usd < 0:
                    raise PriceProblem(f"item {number} of the price list is malformed: {rate.usd} USD ({rate.sku})")
        return cast(dict[str, Any], document)
    except json.JSONDecodeError:
        raise PriceProblem(f"item {number} of the price list is not JSON: {item[:60]!r}") from None
    except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise PriceProblem(f"item {number} of the price list is malformed: {type(error).__name__} {error}") from None


def _rates(product: dict[str, Any], kind: str) -> Iterator[Rate]:
    usage_type = product["product"]["attributes"].get("usagetype", "")
    for term in product["terms"].get(kind, {}).values():
        for dimension in term["priceDimensions"].values():
            usd = dimension["pricePerUnit"].get("USD")
            if usd is None:  # China's price lists are in CNY
                continue
            yield Rate(
                sku=product["product"]["sku"],
                rate_code=dimension["rateCode"],
                unit=dimension["unit"],
                usd=Decimal(usd),
                effective_date=term.get("effectiveDate"),
                publication_date=product.get("publicationDate"),
                usage_type=usage_type,
                terms=term.get("termAttributes", {}),
            )


def _is_plain(product: dict[str, Any]) -> bool:
    """Not a dedicated host, a reservation or a licensed image: some carry the same filter values."""
    attributes = product["product"]["attributes"]
    return (
        "BoxUsage" in attributes.get("usagetype", "")
        and attributes.get("licenseModel", "No License required") == "No License required"
    )


def _list(rates: list[Rate]) -> str:
    return ", ".join(f"{rate.usd} ({rate.sku}, {rate.usage_type})" for rate in rates)
