"""The stand-in's answers where moto has none or a misleading one, by action (aws_stand_in.py)."""

import datetime as dt
import hashlib
from typing import Any

from moto.backends import get_backend
from moto.ec2.models.amis import Ami

import aws_answers
from aws_wire import Answer, Call, error, json_answer, numbered, page, xml_answer

ACCOUNT = "123456789012"


class Recorded:
    """What the account holds: a test changes it. A method answers the action that it is named after; None: ask moto."""

    def __init__(self) -> None:
        self.products: list[Any] = aws_answers.catalogue()
        """GetProducts documents; a string among them is sent as it is."""
        self.page_size = 100
        self.quotas: dict[str, float] = {}
        """Applied values; a code that is missing answers NoSuchResource, as AWS does for a value never changed."""
        self.quota_defaults = dict(aws_answers.QUOTA_DEFAULTS)
        self.parameters = dict(aws_answers.PARAMETERS)
        self.spot = aws_answers.spot(dt.datetime.now(dt.UTC))
        self._launches: dict[tuple[str, str], Answer] = {}

    def zone_of(self, call: Call) -> str | None:
        """The availability zone that a RunInstances asks for."""
        params = call.params
        subnet = params.get("SubnetId") or params.get("NetworkInterface.1.SubnetId")
        if subnet:
            zone: str = get_backend("ec2")[ACCOUNT][call.region].get_subnet(subnet).availability_zone
            return zone
        return params.get("Placement.AvailabilityZone")

    def remember(self, call: Call, answer: Answer) -> None:
        """AWS repeats the answer to a RunInstances whose ClientToken it has seen; moto launches once more."""
        token = call.params.get("ClientToken")
        if call.action == "ec2:RunInstances" and token and answer[0] == 200:
            self._launches[call.region, token] = answer

    def _ec2_runinstances(self, call: Call) -> Answer | None:
        known = self._launches.get((call.region, call.params.get("ClientToken", "")))
        if known:
            return known
        kind, zone = call.params["InstanceType"], self.zone_of(call)
        offered = get_backend("ec2")[ACCOUNT][call.region].describe_instance_type_offerings("availability-zone")
        if zone and not any(row["InstanceType"] == kind and row["Location"] == zone for row in offered):
            words = (
                f"Your requested instance type ({kind}) is not supported in your requested Availability Zone ({zone})."
            )
            return error("ec2", "Unsupported", words)
        return None

    def _ec2_describespotpricehistory(self, call: Call) -> Answer:
        types, start = numbered(call.params, "InstanceType"), call.params.get("StartTime")
        since = dt.datetime.fromisoformat(start) if start else dt.datetime.min.replace(tzinfo=dt.UTC)
        rows = [row for row in self.spot if not types or row[0] in types]
        rows = [row for row in rows if row[1].startswith(call.region)]
        before: dict[tuple[str, str], tuple[str, str, str, dt.datetime]] = {}
        for row in sorted(rows, key=lambda row: row[3]):
            if row[3] < since:
                before[row[:2]] = row  # the price in force at the start counts too
        rows = sorted(
            [*before.values(), *(row for row in rows if row[3] >= since)], key=lambda row: row[3], reverse=True
        )
        rows_, token = page(rows, call.params.get("NextToken"), self.page_size)
        items = "".join(
            f"<item><instanceType>{name}</instanceType><productDescription>Linux/UNIX</productDescription>"
            f"<spotPrice>{usd}</spotPrice><timestamp>{when:%Y-%m-%dT%H:%M:%S.000Z}</timestamp>"
            f"<availabilityZone>{zone}</availabilityZone></item>"
            for name, zone, usd, when in rows_
        )
        return xml_answer(
            f"<spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken>{token or ''}</nextToken>", call
        )

    def _pricing_getproducts(self, call: Call) -> Answer:
        found = [doc for doc in self.products if aws_answers.matches(doc, call.params.get("Filters", []))]
        rows_, token = page(found, call.params.get("NextToken"), self.page_size)
        body = {"FormatVersion": "aws_v1", "PriceList": [aws_answers.as_item(doc) for doc in rows_]}
        return json_answer(body | ({"NextToken": token} if token else {}))

    def _servicequotas_getservicequota(self, call: Call) -> Answer:
        code = call.params["QuotaCode"]
        if code not in self.quotas:
            return error("json", "NoSuchResourceException", f"The request failed because {code} does not exist")
        return json_answer({"Quota": {"QuotaCode": code, "ServiceCode": "ec2", "Value": self.quotas[code]}})

    def _servicequotas_getawsdefaultservicequota(self, call: Call) -> Answer:
        code = call.params["QuotaCode"]
        if code not in self.quota_defaults:
            return error("json", "NoSuchResourceException", f"{code} does not exist")
        return json_answer({"Quota": {"QuotaCode": code, "ServiceCode": "ec2", "Value": self.quota_defaults[code]}})

    def _savingsplans_describesavingsplansofferingrates(self, call: Call) -> Answer:
        return json_answer({"searchResults": aws_answers.savings(call.params, aws_answers.ON_DEMAND)})

    def _ssm_getparameter(self, call: Call) -> Answer | None:
        name = call.params["Name"]
        if name.startswith("/aws/service/ami-amazon-linux-latest/"):
            return None
        if name not in self.parameters:
            return error("json", "ParameterNotFound", "")
        value = self._image(call.region, name)
        return json_answer({"Parameter": {"Name": name, "Type": "String", "Value": value, "Version": 1,
                                    "LastModifiedDate": 1763000000.0}})  # fmt: skip

    def _ssm_getparametersbypath(self, call: Call) -> Answer | None:
        path = call.params["Path"].rstrip("/") + "/"
        if path.startswith("/aws/service/ami-amazon-linux-latest/"):
            return None
        found = [{"Name": name, "Value": "ami-0"} for name in sorted(self.parameters) if name.startswith(path)]
        rows_, token = page(found, call.params.get("NextToken"), min(self.page_size, call.params.get("MaxResults", 10)))
        return json_answer({"Parameters": rows_} | ({"NextToken": token} if token else {}))

    def _image(self, region: str, path: str) -> str:
        """The id of the image behind a parameter, registered with moto."""
        architecture, root = self.parameters[path]
        ami_id = f"ami-{hashlib.sha256(path.encode()).hexdigest()[:17]}"
        backend = get_backend("ec2")[ACCOUNT][region]
        if ami_id not in backend.amis:
            backend.amis[ami_id] = Ami(
                backend,
                ami_id,
                name=path,
                owner_id="898082745236",
                public=True,
                virtualization_type="hvm",
                architecture=architecture,
                root_device_type="ebs",
                root_device_name=root,
            )
        return ami_id
