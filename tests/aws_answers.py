"""Recorded answers for what moto does not have: prices, quotas, Savings Plans, image parameters, spot history.

The shapes are those of the real APIs (a GetProducts document of a public fixture, botocore's models); the numbers are
those of data/prices.json of 2026-07-20 and of the AWS quota page. Filters are applied as AWS applies them, so that a
client that forgets one gets the wrong products too.
"""

import datetime as dt
import json

ON_DEMAND = {
    "c6i.8xlarge": "1.3600000000",
    "c7i.8xlarge": "1.4280000000",
    "c8g.8xlarge": "1.2761600000",
    "g4dn.xlarge": "0.5260000000",
    "g5.xlarge": "1.0060000000",
    "g6.xlarge": "0.8048000000",
    "g6e.xlarge": "1.8610000000",
    "inf1.xlarge": "0.2280000000",
    "m5a.large": "0.0860000000",
    "p3.2xlarge": "3.0600000000",
    "trn1.2xlarge": "1.3437500000",
}
QUOTA_DEFAULTS = {
    "L-1216C47A": 5.0,
    "L-34B43A08": 5.0,
    "L-DB2E81BA": 0.0,
    "L-3819A6DF": 0.0,
    "L-417A185B": 0.0,
    "L-7212CCBC": 0.0,
    "L-C4BD4855": 0.0,
    "L-1945791B": 0.0,
    "L-B5D1601B": 0.0,
    "L-2C3B7624": 0.0,
    "L-6B0D517C": 0.0,
}
PARAMETERS = {
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": ("x86_64", "/dev/sda1"),
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id": ("arm64", "/dev/sda1"),
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id": (
        "x86_64",
        "/dev/sda1",
    ),
    "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.12-ubuntu-24.04/latest/ami-id": (
        "x86_64",
        "/dev/sda1",
    ),
    "/aws/service/neuron/dlami/base/ubuntu-24.04/latest/image_id": ("x86_64", "/dev/sda1"),
    "/aws/service/neuron/dlami/pytorch-2.9/ubuntu-24.04/latest/image_id": ("x86_64", "/dev/sda1"),
}
"""SSM path: architecture and root device of the image behind it."""


def product(instance_type: str, region: str, usd: str, **changed: str) -> dict[str, object]:
    """One GetProducts document: an instance, by default the on-demand Linux one in shared tenancy."""
    attributes = {
        "servicecode": "AmazonEC2",
        "instanceType": instance_type,
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "licenseModel": "No License required",
        "usagetype": f"BoxUsage:{instance_type}",
        "operation": "RunInstances",
        **changed,
    }
    family = attributes.pop("productFamily", "Compute Instance")
    sku = "SKU" + "".join(c for c in f"{instance_type}{attributes['usagetype']}{region}".upper() if c.isalnum())
    on_demand = _term(f"{sku}.JRTCKXETXF", "6YS6EN2CT7", "Hrs", usd)
    return {
        "product": {"productFamily": family, "attributes": attributes, "sku": sku},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": dict([on_demand]), "Reserved": _reserved(sku, usd)},
        "version": "20261119000000",
        "publicationDate": "2026-11-19T12:00:00Z",
    }


def _term(code: str, rate: str, unit: str, usd: str, **attributes: str) -> tuple[str, dict[str, object]]:
    dimension = {
        "unit": unit,
        "endRange": "Inf",
        "description": "Upfront Fee" if unit == "Quantity" else f"${usd} per On Demand Linux instance hour",
        "rateCode": f"{code}.{rate}",
        "beginRange": "0",
        "pricePerUnit": {"USD": usd},
    }
    return code, {
        "priceDimensions": {f"{code}.{rate}": dimension},
        "sku": code.partition(".")[0],
        "effectiveDate": "2026-11-01T00:00:00Z",
        "offerTermCode": code.partition(".")[2],
        "termAttributes": attributes,
    }


def _reserved(sku: str, usd: str) -> dict[str, object]:
    """Two terms: one year without upfront at 63 % of the price; three years, half of it upfront."""
    hourly = f"{float(usd) * 0.63:.10f}"
    year = {"LeaseContractLength": "1yr", "OfferingClass": "standard", "PurchaseOption": "No Upfront"}
    three = {"LeaseContractLength": "3yr", "OfferingClass": "convertible", "PurchaseOption": "Partial Upfront"}
    code, partial = _term(f"{sku}.R5XV2EPZQZ", "6YS6EN2CT7", "Hrs", f"{float(usd) * 0.25:.10f}", **three)
    _, upfront = _term(f"{sku}.R5XV2EPZQZ", "2TG2D8R56U", "Quantity", "5913", **three)
    partial["priceDimensions"].update(upfront["priceDimensions"])  # type: ignore[attr-defined]
    return dict([_term(f"{sku}.4NA7Y494T4", "6YS6EN2CT7", "Hrs", hourly, **year), (code, partial)])


def catalogue(region: str = "us-east-1") -> list[dict[str, object]]:
    """Every product of the study, and those that a careless filter would catch as well."""
    found = []
    for name, usd in ON_DEMAND.items():
        found.append(product(name, region, usd))
        found.append(product(name, region, "0.0000000000", capacitystatus="AllocatedCapacityReservation",
                             usagetype=f"Reservation:{name}"))  # fmt: skip
        found.append(product(name, region, "9.0000000000", tenancy="Dedicated", usagetype=f"DedicatedUsage:{name}"))
        found.append(product(name, region, "8.0000000000", operatingSystem="Windows"))
        found.append(product(name, region, "7.0000000000", preInstalledSw="SQL Std"))
    found.append(product("trn1.2xlarge", region, "0.0000000000", marketoption="CapacityBlock",
                         usagetype="CapacityBlock:trn1.2xlarge"))  # fmt: skip
    return [*found, *storage(region)]


def storage(region: str) -> list[dict[str, object]]:
    """gp3's three products: space, IOPS above 3000, throughput above 125 MiB/s (priced per GiBps-month)."""
    rows = [
        ("Storage", "EBS:VolumeUsage.gp3", "GB-Mo", "0.0800000000"),
        ("System Operation", "EBS:VolumeP-IOPS.gp3", "IOPS-Mo", "0.0050000000"),
        ("Provisioned Throughput", "EBS:VolumeP-Throughput.gp3", "GiBps-mo", "40.9600000000"),
    ]
    found = []
    for family, usage, unit, usd in rows:
        sku = f"EBS{unit.upper().replace('-', '')}"
        attributes = {"regionCode": region, "volumeApiName": "gp3", "usagetype": usage, "servicecode": "AmazonEC2"}
        term = _term(f"{sku}.JRTCKXETXF", "6YS6EN2CT7", unit, usd)
        found.append(
            {
                "product": {"productFamily": family, "attributes": attributes, "sku": sku},
                "serviceCode": "AmazonEC2",
                "terms": {"OnDemand": dict([term])},
                "version": "20261119000000",
                "publicationDate": "2026-11-19T12:00:00Z",
            }
        )
    return found


def spot(now: dt.datetime) -> list[tuple[str, str, str, dt.datetime]]:
    """Price changes: (type, zone, USD per hour, since when)."""
    rows = []
    for days, usd in ((40, "0.200000"), (20, "0.210000"), (10, "0.220000"), (2, "0.158000")):
        rows.append(("g4dn.xlarge", "us-east-1a", usd, now - dt.timedelta(days=days)))
    rows.append(("g4dn.xlarge", "us-east-1b", "0.300000", now - dt.timedelta(days=45)))
    rows.append(("g5.xlarge", "us-east-1a", "0.450000", now - dt.timedelta(days=5)))
    return rows


def savings(body: dict[str, object], on_demand: dict[str, str]) -> list[dict[str, object]]:
    """DescribeSavingsPlansOfferingRates: no upfront, 1 and 3 years, at 72 % and 50 % of the on-demand price."""
    wanted = {item["name"]: item["values"] for item in body.get("filters", [])}  # type: ignore[attr-defined]
    found = []
    for name in wanted.get("instanceType", []):
        for years, share in ((1, 0.72), (3, 0.5)):
            for usage in (f"BoxUsage:{name}", f"UnusedBox:{name}"):
                found.append(
                    {
                        "savingsPlanOffering": {
                            "offeringId": f"offering-{years}",
                            "paymentOption": "No Upfront",
                            "planType": "Compute",
                            "durationSeconds": years * 31536000,
                            "currency": "USD",
                        },
                        "rate": f"{float(on_demand[name]) * share:.6f}",
                        "unit": "Hrs",
                        "productType": "EC2",
                        "serviceCode": "AmazonEC2",
                        "usageType": usage,
                        "operation": "RunInstances",
                        "properties": [{"name": "instanceType", "value": name}],
                    }
                )
    return [row for row in found if row["serviceCode"] in body.get("serviceCodes", [])]  # type: ignore[operator]


def matches(document: object, filters: list[dict[str, str]]) -> bool:
    """Whether a product passes every TERM_MATCH filter. A string (a malformed item) passes all."""
    if not isinstance(document, dict):
        return True
    product_ = document["product"]
    values = {**product_.get("attributes", {}), "productFamily": product_.get("productFamily")}
    return all(values.get(item["Field"]) == item["Value"] for item in filters)


def as_item(document: object) -> str:
    """The PriceList item: a JSON string; a string stays as it is (malformed on purpose)."""
    return document if isinstance(document, str) else json.dumps(document)
