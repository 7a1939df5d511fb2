"""A run's objects in S3: the only thing that client and box share. The box gets a presigned URL for each, no more."""

from __future__ import annotations

from typing import Literal

from yocobench.aws import session
from yocobench.aws.ledger import Entry

INTENT, JOB, LOG, HEARTBEAT, RECEIPT, MARKER = "intent.json", "job", "log", "heartbeat", "receipt.json", "marker.json"


def url(entry: Entry, key: str, method: Literal["get", "put"], valid_s: float) -> str:
    """A presigned URL for one object and one verb. It dies with the credentials that signed it, at the latest."""
    with session.asking("presign a URL"):
        return str(
            session.client("s3", entry.region).generate_presigned_url(
                f"{method}_object", Params={"Bucket": entry.bucket, "Key": key}, ExpiresIn=int(valid_s)
            )
        )


def write(entry: Entry, name: str, content: bytes) -> None:
    """Put one object. Raises AwsError."""
    with session.asking(f"write {name} to the bucket"):
        session.client("s3", entry.region).put_object(Bucket=entry.bucket, Key=entry.key(name), Body=content)


def read(entry: Entry, name: str) -> bytes | None:
    """Get one object; None while there is none. Raises AwsError."""
    try:
        with session.asking(f"read {name} from the bucket"):
            answer = session.client("s3", entry.region).get_object(Bucket=entry.bucket, Key=entry.key(name))
            return bytes(answer["Body"].read())
    except session.AwsError as error:
        if error.code in ("NoSuchKey", "404"):
            return None
        raise
