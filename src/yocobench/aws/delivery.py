"""Hand a cell over to a box that does not exist yet: parts, job and intent to S3, user-data to the caller."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from yocobench.aws import bundle, guest, identity, mailbox
from yocobench.aws.bundle import Part
from yocobench.aws.ec2_settings import Ec2Settings
from yocobench.aws.launch_plan import END_ALLOWANCE_S, LaunchPlan
from yocobench.aws.ledger import Entry
from yocobench.schema import CellSpec, Instance

URL_MARGIN_S = 3600
"""Presigned URLs outlive the box by this: its clock may be off, its boot slow."""


def send_parts(entry: Entry, spec: CellSpec, instance: Instance, root: Path, commit: str) -> dict[str, Part]:
    """Make the parts and upload those that the bucket lacks. Raises ValueError, AwsError."""
    with tempfile.TemporaryDirectory(prefix="yocobench-") as folder:
        parts = bundle.make(spec, instance, root, Path(folder), commit, entry.region)
        bundle.upload(parts, entry.region, entry.bucket)
    return {part.name.partition(".")[0]: part for part in parts}


def user_data(entry: Entry, plan: LaunchPlan, spec: CellSpec, parts: dict[str, Part], settings: Ec2Settings) -> str:
    """Write job and intent to S3; return the script for the box. Raises AwsError.

    The intent is written here, before anybody asks for a box. Raises ValueError if the credentials end before the box
    must: the plan's own check may be hours old, since a box waits for its turn.
    """
    if problem := identity.signing_problem(plan.wall_clock_s):
        raise ValueError(f"not started: {problem}")
    valid_s = plan.wall_clock_s + END_ALLOWANCE_S + URL_MARGIN_S
    values: dict[str, str | int] = {
        "family": plan.family,
        "workload": spec.workload.name,
        "subset": spec.subset,
        "instance": spec.instance,
        "heartbeat_s": f"{settings.heartbeat_s:g}",
        "heartbeat_url": mailbox.url(entry, entry.key(mailbox.HEARTBEAT), "put", valid_s),
        "receipt_url": mailbox.url(entry, entry.key(mailbox.RECEIPT), "put", valid_s),
        "image_python": plan.image_python or "",
        "index_url": (settings.torch_cpu_index or "") if plan.image_python is None else "",
        "extra_packages": " ".join(settings.extra_packages),
    }
    for name in ("code", "constraints", "cell", "data"):
        part = parts.get(name)
        values[f"{name}_sha256"] = part.sha256 if part else ""
        values[f"{name}_url"] = mailbox.url(entry, part.key, "get", valid_s) if part else ""
    job = guest.job(values).encode()
    mailbox.write(entry, mailbox.JOB, job)
    mailbox.write(entry, mailbox.INTENT, entry.model_dump_json(indent=1).encode())
    return guest.user_data(
        {
            "WALL_CLOCK_MIN": plan.wall_clock_s // 60,
            "JOB_SHA256": hashlib.sha256(job).hexdigest(),
            "JOB_URL": mailbox.url(entry, entry.key(mailbox.JOB), "get", valid_s),
            "LOG_URL": mailbox.url(entry, entry.key(mailbox.LOG), "put", valid_s),
            "MARKER_URL": mailbox.url(entry, entry.key(mailbox.MARKER), "put", valid_s),
        }
    )
