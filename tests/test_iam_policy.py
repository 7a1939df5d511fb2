"""docs/iam-policy.json allows what the code calls and nothing else: every call is read off the source.

The other direction, by calls that really happen, is checked at the end of each test that uses the fixture `aws`.
"""

import ast
import json
from pathlib import Path

import botocore.session
from botocore import xform_name

from aws_stand_in import POLICY, allowed_actions

SOURCE = Path(__file__).parents[1] / "src" / "yocobench"
FILES = sorted([*(SOURCE / "aws").glob("*.py"), *(SOURCE / "launchers").glob("*.py"), *SOURCE.glob("*.py")])
BY_NAME = {"get_paginator", "get_waiter", "generate_presigned_url"}
"""Methods whose first argument names the operation, or the waiter."""
TRANSFERS = {  # of large objects in parts; a failed one is cleaned up
    "upload_file": {"put_object", "abort_multipart_upload"},
    "upload_fileobj": {"put_object", "abort_multipart_upload"},
    "download_file": {"get_object"},
    "download_fileobj": {"get_object"},
}
IAM_NAMES = {  # where IAM's name is not the operation's, or a call needs more than its own
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "s3:HeadObject": {"s3:GetObject"},
    "s3:HeadBucket": {"s3:ListBucket"},
    "s3:DeleteObjects": {"s3:DeleteObject"},
    "service-quotas:GetServiceQuota": {"servicequotas:GetServiceQuota"},
    "service-quotas:GetAWSDefaultServiceQuota": {"servicequotas:GetAWSDefaultServiceQuota"},
    "ec2:RunInstances": {"ec2:RunInstances", "ec2:CreateTags"},  # with tags
    "ec2:CreateSecurityGroup": {"ec2:CreateSecurityGroup", "ec2:CreateTags"},
    "sts:GetCallerIdentity": set(),  # everybody may
}


def calls(path: Path) -> list[tuple[str, str]]:
    """(method, its first argument where that is a literal) of every call in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
            found.append((name, str(first)))
    return found


def actions(found: list[tuple[str, str]]) -> set[str]:
    """The IAM actions behind those calls."""
    core = botocore.session.get_session()
    names = {first if name in BY_NAME else name for name, first in found}
    names |= {operation for name in names & set(TRANSFERS) for operation in TRANSFERS[name]}
    operations = set()
    for service in {first for name, first in found if name == "client" and first}:
        known = {xform_name(name): name for name in core.get_service_model(service).operation_names}
        operations |= {f"{service}:{known[name]}" for name in names if name in known}
        if service in ("ec2", "s3"):
            waiters = core.get_waiter_model(service)
            known = {xform_name(name): name for name in waiters.waiter_names}
            operations |= {f"{service}:{waiters.get_waiter(known[name]).operation}" for name in names if name in known}
    return set().union(*(IAM_NAMES.get(operation, {operation}) for operation in operations))


def test_the_policy_allows_exactly_what_the_code_calls():
    found = [call for path in FILES for call in calls(path)]
    assert sorted(actions(found)) == allowed_actions()


def test_the_reader_sees_methods_paginators_waiters_presigned_calls_and_transfers(tmp_path: Path):
    source = tmp_path / "code.py"
    source.write_text(
        'ec2 = client("ec2")\nclient("s3", region)\nec2.run_instances(MaxCount=1)\n'
        'ec2.get_paginator("describe_subnets")\nec2.get_waiter("instance_terminated").wait()\n'
        's3.generate_presigned_url("put_object", {})\ns3.download_file("bucket")\ns3.my_own_method()\n'
    )
    assert actions(calls(source)) == {
        "ec2:CreateTags",
        "ec2:DescribeInstances",
        "ec2:DescribeSubnets",
        "ec2:RunInstances",
        "s3:GetObject",
        "s3:PutObject",
    }


def test_what_makes_or_ends_boxes_is_bound_to_our_tag():
    statements = json.loads(POLICY.read_text())["Statement"]
    (terminate,) = [s for s in statements if "ec2:TerminateInstances" in s["Action"]]
    assert terminate["Condition"] == {"StringEquals": {"aws:ResourceTag/project": "yocobench"}}
    launches = [s for s in statements if "ec2:RunInstances" in s["Action"]]
    made = [s for s in launches if any(":instance/" in resource for resource in s["Resource"])]
    assert [s["Condition"] for s in made] == [{"StringEquals": {"aws:RequestTag/project": "yocobench"}}]
    assert not any("*" in action for s in statements for action in s["Action"])
