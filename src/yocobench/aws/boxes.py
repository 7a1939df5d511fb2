"""Start one box, find it again by its tags, end it and see it gone. What AWS answers becomes an outcome.

The walk over the zones is our own: botocore would repeat a lack of capacity in the same zone.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, WaiterError
from botocore.parsers import ResponseParserError

from yocobench.aws import session
from yocobench.aws.launch_plan import LaunchPlan
from yocobench.aws.ledger import Entry, now
from yocobench.bench.measurement import Outcome
from yocobench.schema import UsageClass

PROJECT = "yocobench"
LIVE = ("pending", "running", "shutting-down", "stopping", "stopped")
RETRIES_S = (1.0, 3.0, 9.0)
"""Pauses before the same request is sent again: throttling, AWS's own faults, a lost answer, a box not known yet."""
END_WAIT_S = 600
_NO_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "UnfulfillableCapacity",
    "SpotMaxPriceTooLow",
}
_NOT_IN_ZONE = {"Unsupported", "UnsupportedOperation"}
_QUOTA = {
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "VolumeLimitExceeded",
    "AddressLimitExceeded",
}
_RETIRED = {"InvalidInstanceType", "InvalidInstanceType.NotFound"}
_ACCOUNT = {"PendingVerification", "OptInRequired", "Blocked"}
_FAULT = {"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout"}
_AGAIN = session.THROTTLING | _FAULT
_UNKNOWN = "InvalidInstanceID.NotFound"


@dataclass(frozen=True)
class Started:
    """A box that AWS has taken on."""

    instance_id: str
    zone: str
    launched_at: dt.datetime
    tried: tuple[str, ...]


@dataclass(frozen=True)
class NotStarted:
    """No box, and why."""

    outcome: Outcome
    reason: str
    tried: tuple[str, ...]


def start(
    plan: LaunchPlan,
    entry: Entry,
    user_data: str,
    asking: Callable[[], None],
    refused: Callable[[], None],
) -> Started | NotStarted:
    """RunInstances, zone after zone. Raises AwsError for what the user must mend: credentials, permissions.

    `asking` is called before each request: a client that is killed after it may have a box. `refused` is called when
    AWS has said no to all requests so far: there is none for sure. After an answer that was lost it never is, and no
    further zone is asked: its box may come beside one that nobody has seen yet.
    """
    ec2 = session.client("ec2", plan.region, max_attempts=1)
    tried: list[str] = []
    codes: list[str] = []
    for zone, subnet_id in plan.zones:
        try:
            answer = _ask(ec2, _request(plan, entry, user_data, zone, subnet_id), asking)
        except (BotoCoreError, ResponseParserError, RuntimeError) as error:  # the last: credentials that have expired
            raise session.translate(error, f"start {plan.instance_type}") from error
        if isinstance(answer, _No):
            if answer.is_sure:
                refused()
            code = _code(answer.error)
            codes.append(code)
            tried.append(f"{zone} at {now():%H:%M:%S}Z: {code}")
            if code in _NO_CAPACITY | _NOT_IN_ZONE and answer.is_sure:
                continue
            return _refusal(plan, answer.error, tuple(tried))
        tried.append(f"{zone} at {now():%H:%M:%S}Z: started")
        return Started(answer["InstanceId"], zone, answer["LaunchTime"], tuple(tried))
    walked = "; ".join(tried)
    if codes and set(codes) <= _NOT_IN_ZONE:
        return NotStarted("excluded", f"{plan.instance_type} is not offered: {walked}", tuple(tried))
    return NotStarted("unavailable", f"no capacity for {plan.instance_type}: {walked}", tuple(tried))


@dataclass(frozen=True)
class _No:
    """AWS's last word, which is no box."""

    error: ClientError
    is_sure: bool
    """False: an answer to the same request was lost, or a fault of AWS's own; it may have started a box."""


def _ask(ec2: Any, request: dict[str, Any], asking: Callable[[], None]) -> dict[str, Any] | _No:
    """Send it, and give the box; the client token makes sending it again safe. Raises botocore's errors."""
    is_sure = True
    for pause_s in (*RETRIES_S, None):
        asking()
        try:
            if boxes := ec2.run_instances(**request).get("Instances"):
                box: dict[str, Any] = boxes[0]
                return box
            raise ResponseParserError("no instance in it")  # well formed, and a proxy's page
        except ClientError as error:
            is_sure = is_sure and _is_refusal(error)
            if pause_s is None or not (_code(error) in _AGAIN or _is_foreign(error)):
                return _No(error, is_sure)
        except (HTTPClientError, ConnectionError, ResponseParserError):
            is_sure = False
            if pause_s is None:
                raise
        time.sleep(pause_s)
    raise AssertionError


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_foreign(error: ClientError) -> bool:
    """Not EC2's own words: botocore gives the HTTP status, or nothing, as the code of somebody else's page."""
    return not _code(error) or _code(error).isdigit()


def _is_refusal(error: ClientError) -> bool:
    """Did EC2 itself say no? Some of its refusals come with a status of 5xx: capacity, throttling."""
    if _is_foreign(error) or _code(error) in _FAULT:
        return False
    is_known = _code(error) in _NO_CAPACITY | session.THROTTLING
    return is_known or error.response["ResponseMetadata"]["HTTPStatusCode"] < 500


def _refusal(plan: LaunchPlan, error: ClientError, tried: tuple[str, ...]) -> NotStarted:
    code, said, zone = _code(error), session.words(error), tried[-1]
    if code in _QUOTA:
        more = "`python -m yocobench.preflight --request-quota` prints the request for more"
        return NotStarted("unavailable", f"over quota ({zone}): {said}; {more}", tried)
    if code in _RETIRED or (code == "InvalidParameterValue" and "instance type" in said.lower()):
        return NotStarted("excluded", f"EC2 no longer knows {plan.instance_type} ({zone}): {said}", tried)
    if code.startswith("InvalidAMIID"):
        return NotStarted("unavailable", f"image {plan.image_id} is gone ({zone}): {said}", tried)
    if code in _ACCOUNT | _AGAIN | _NO_CAPACITY | _NOT_IN_ZONE or _is_foreign(error):
        return NotStarted("unavailable", f"AWS did not start it ({zone}): {said}", tried)
    raise session.translate(error, f"start {plan.instance_type} in {plan.region}") from error


def _request(plan: LaunchPlan, entry: Entry, user_data: str, zone: str, subnet_id: str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "ImageId": plan.image_id,
        "InstanceType": plan.instance_type,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": f"{entry.run_id}-{zone}",
        "UserData": user_data,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": subnet_id,
                "Groups": [plan.security_group_id],
                "AssociatePublicIpAddress": plan.public_address,
                "DeleteOnTermination": True,
            }
        ],
        "BlockDeviceMappings": [
            {
                "DeviceName": plan.root_device_name,
                "Ebs": {
                    "VolumeSize": plan.volume_gb,
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
    }
    if plan.usage_class == "spot":
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    return {**request, **tagged(tags_of(entry), plan.usage_class)}


def tagged(tags: dict[str, str], usage_class: UsageClass) -> dict[str, Any]:
    """The part of a RunInstances request that puts these tags on everything it makes."""
    kinds = ["instance", "volume", "network-interface"]
    kinds += ["spot-instances-request"] if usage_class == "spot" else []
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": pairs} for kind in kinds]}


def tags_of(entry: Entry) -> dict[str, str]:
    """What every resource of a box carries; `reap` and a resuming client go by these."""
    return {
        "Name": f"{PROJECT} {entry.label}",
        "project": PROJECT,
        "run-id": entry.run_id,
        "cell": entry.cell_key,
        "expires-at": entry.expires_at.isoformat(),
    }


def find(region: str, run_id: str | None = None, states: tuple[str, ...] = LIVE) -> list[dict[str, Any]]:
    """Our instances in the region, or a run's, in any of these states. Raises AwsError."""
    filters = [{"Name": "tag:project", "Values": [PROJECT]}, {"Name": "instance-state-name", "Values": list(states)}]
    if run_id is not None:
        filters.append({"Name": "tag:run-id", "Values": [run_id]})
    with session.asking(f"list the boxes in {region}"):
        pages = session.client("ec2", region).get_paginator("describe_instances").paginate(Filters=filters)
        return [box for page in pages for reservation in page["Reservations"] for box in reservation["Instances"]]


def describe(region: str, instance_id: str) -> dict[str, Any] | None:
    """The instance as EC2 sees it; None once EC2 has forgotten it (about an hour after its end). Raises AwsError."""
    try:
        with session.asking(f"describe {instance_id}"):
            answer = session.client("ec2", region).describe_instances(InstanceIds=[instance_id])
    except session.AwsError as error:
        if error.code == _UNKNOWN:
            return None
        raise
    found: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
    return found


def ask_to_end(region: str, instance_id: str) -> None:
    """TerminateInstances, without a wait. Raises AwsError.

    A call for each box: of several in one, a box that EC2 refuses to end would spare the others. Only boxes that EC2
    has just listed are ended, so one that it does not know is too new, not gone: it is asked again.
    """
    ec2 = session.client("ec2", region)
    with session.asking(f"terminate {instance_id}"):
        for pause_s in (*RETRIES_S, None):
            try:
                ec2.terminate_instances(InstanceIds=[instance_id])
                return
            except ClientError as error:
                if pause_s is None or _code(error) != _UNKNOWN:
                    raise
            time.sleep(pause_s)


def terminate(region: str, instance_ids: list[str]) -> None:
    """End these boxes and wait until EC2 says that they are terminated. Raises AwsError when it does not."""
    for instance_id in instance_ids:
        ask_to_end(region, instance_id)
    for instance_id in instance_ids:
        with session.asking(f"see {instance_id} terminated"):
            waiter = session.client("ec2", region).get_waiter("instance_terminated")
            try:
                waiter.wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 5, "MaxAttempts": END_WAIT_S // 5})
            except WaiterError as error:
                if _UNKNOWN not in str(error):  # else EC2 has forgotten it since
                    raise


def ended_at(box: dict[str, Any] | None) -> dt.datetime:
    """When the box stopped being billed, by EC2's own words, "User initiated (2026-11-23 12:00:00 GMT)"; else now."""
    said = re.search(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)", (box or {}).get("StateTransitionReason", ""))
    return dt.datetime.fromisoformat(said.group(1)).replace(tzinfo=dt.UTC) if said else now()


def death(box: dict[str, Any] | None) -> str:
    """Why a box that nobody here ended is gone."""
    reason = (box or {}).get("StateReason", {})
    code, message = reason.get("Code", ""), reason.get("Message", "")
    if code == "Server.SpotInstanceTermination":
        return "AWS took the spot instance back"
    if code == "Client.InstanceInitiatedShutdown":
        return "the box shut itself down"
    if code == "Client.UserInitiatedShutdown":
        return "somebody terminated the box"
    return f"the box is gone ({message or code or 'EC2 does not say why'})"
