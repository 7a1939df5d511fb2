"""The wire side of the AWS stand-in (aws_stand_in.py): which call a request is, and how answers and errors look."""

import io
import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
TARGETS = {"AWSPriceListService": "pricing", "ServiceQuotasV20190624": "servicequotas", "AmazonSSM": "ssm"}
S3_ACTIONS = {  # method, whether a key is named: the IAM action
    ("GET", True): "GetObject",
    ("HEAD", True): "GetObject",
    ("PUT", True): "PutObject",
    ("POST", True): "PutObject",  # multipart
    ("DELETE", True): "DeleteObject",
    ("GET", False): "ListBucket",
    ("HEAD", False): "ListBucket",
    ("PUT", False): "CreateBucket",
    ("POST", False): "DeleteObject",
    ("DELETE", False): "DeleteBucket",
}
S3_BUCKET_SETTINGS = {
    "lifecycle": "LifecycleConfiguration",
    "encryption": "EncryptionConfiguration",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "versioning": "BucketVersioning",
    "location": "BucketLocation",
    "tagging": "BucketTagging",
    "policy": "BucketPolicy",
}


@dataclass(frozen=True)
class Call:
    """A request of the code under test. `action` is IAM's name of it, ec2:RunInstances."""

    action: str
    region: str
    params: dict[str, Any]
    protocol: str
    presigned: bool = False


def parse(environ: dict[str, Any]) -> Call | None:
    """The call that a WSGI request is; None for one that is not to be recorded (the test's own, moto's pages)."""
    query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    header = environ.get("HTTP_AUTHORIZATION", "")
    credential = query.get("X-Amz-Credential") or (re.findall(r"Credential=([^,\s]+)", header) or [""])[0]
    parts = credential.split("/")
    if len(parts) < 5 or parts[0] == "ADMIN":
        return None
    region, service = parts[2], parts[3]
    presigned = "X-Amz-Credential" in query
    if service == "s3":
        return Call(_s3_action(environ, query), region, {"path": environ["PATH_INFO"], **query}, "s3", presigned)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        prefix, _, operation = target.partition(".")
        return Call(f"{TARGETS.get(prefix, service)}:{operation}", region, json.loads(body or b"{}"), "json")
    params = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
    if "Action" in params:
        return Call(f"{service}:{params['Action']}", region, params, "ec2" if service == "ec2" else "query")
    return Call(f"{service}:{environ['PATH_INFO'].strip('/')}", region, json.loads(body or b"{}"), "json")


def _s3_action(environ: dict[str, Any], query: dict[str, str]) -> str:
    method, (_bucket, _, key) = environ["REQUEST_METHOD"], environ["PATH_INFO"].lstrip("/").partition("/")
    for name, setting in S3_BUCKET_SETTINGS.items():
        if name in query and not key:
            return f"s3:{'Put' if method == 'PUT' else 'Get'}{setting}"
    if method == "DELETE" and "uploadId" in query:
        return "s3:AbortMultipartUpload"
    return "s3:" + S3_ACTIONS[method, bool(key)]


def json_answer(body: object) -> Answer:
    """A good answer of a JSON API."""
    return 200, "application/x-amz-json-1.1", json.dumps(body).encode()


def xml_answer(body: str, call: Call) -> Answer:
    """A good answer of EC2's API."""
    name = call.action.partition(":")[2] + "Response"
    return 200, "text/xml", f"<{name}><requestId>stand-in</requestId>{body}</{name}>".encode()


def error(protocol: str, code: str, message: str, status: int = 400) -> Answer:
    """An API error as each protocol words it."""
    if protocol == "json":
        return status, "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    body = {
        "s3": f"<Error>{inner}<RequestId>stand-in</RequestId></Error>",
        "ec2": f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>stand-in</RequestID></Response>",
    }.get(protocol, f"<ErrorResponse><Error>{inner}</Error><RequestId>stand-in</RequestId></ErrorResponse>")
    return status, "text/xml", body.encode()


def page(rows: list[Any], token: str | None, size: int) -> tuple[list[Any], str | None]:
    """`size` rows from where `token` points, and the next token."""
    start = int(token or 0)
    return rows[start : start + size], str(start + size) if start + size < len(rows) else None


def numbered(params: dict[str, Any], name: str) -> list[str]:
    """Values of a flattened list parameter: InstanceType.1, InstanceType.2."""
    return [value for key, value in params.items() if re.fullmatch(rf"{name}\.\d+", key)]
