"""A run's objects in S3: the only thing that client and box share. The box gets a presigned URL for each, no more."""

from __future__ import annotations

from typing import Literal

from yocobench.aws import session
from yocobench.aws.ledger import Entry

INTENT, JOB, LOG, HEARTBEAT, RECEIPT, MARKER = "intent.json", "job", "log", "heartbeat", "receipt.json", "marker.json"


def bucket_problem(bucket: str, region: str) -> str:
    """Why a box of that region cannot use the bucket; empty: it can. Raises AwsError for what no bucket can help.

    The client would not notice another region: botocore follows S3's redirects, but it signs a box's URLs for `region`.
    """
    make = f"`aws s3 mb s3://NAME --region {region}` makes one; name it in conf/launcher/ec2.yaml (bucket)"
    try:
        with session.asking(f"look at the bucket {bucket!r}"):
            there = session.client("s3", region).head_bucket(Bucket=bucket).get("BucketRegion", region)
    except session.Denied:
        return (
            f"bucket {bucket!r}: S3 does not let these credentials look at it: it is another account's, or "
            f"docs/iam-policy.json is not attached with its name filled in; {make}"
        )
    except session.AwsError as error:
        if error.code not in ("404", "NoSuchBucket"):
            raise
        return f"bucket {bucket!r} does not exist; {make}"
    if there != region:
        return f"bucket {bucket!r} is in {there}, not in {region}, where a box would look for it; {make}"
    return ""


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
