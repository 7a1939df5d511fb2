"""How AWS errors are worded for the person who reads them."""

import urllib.parse
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from botocore import exceptions

from aws_stand_in import Aws, aws_account  # noqa: F401
from test_ec2_ledger import entry
from yocobench.aws import boxes, identity, mailbox, session
from yocobench.aws.launch_plan import LaunchPlan

PLAN = LaunchPlan(
    label="toy-smoke-m5a.large",
    instance_type="m5a.large",
    region="us-east-1",
    bucket="a-bucket",
    usage_class="on-demand",
    family="cpu-x86_64",
    zones=(("us-east-1a", "subnet-1"),),
    security_group_id="sg-1",
    public_address=True,
    image_id="ami-1",
    image_name="an image",
    image_python=None,
    root_device_name="/dev/sda1",
    volume_gb=30,
    wall_clock_s=60,
    usd_per_hour=Decimal("0.1"),
    worst_usd=Decimal("0.01"),
)


def api_error(code: str, message: str = "said AWS") -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "AnOperation")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (exceptions.NoCredentialsError(), session.NoCredentials, "no AWS credentials found; `aws configure`"),
        (exceptions.UnauthorizedSSOTokenError(), session.NoCredentials, "have expired; renew them (`aws sso login`"),
        (api_error("ExpiredToken"), session.NoCredentials, "have expired; renew them"),
        (api_error("InvalidClientTokenId"), session.NoCredentials, "credentials do not work (InvalidClientTokenId)"),
        (api_error("AuthFailure"), session.NoCredentials, "or the region is not enabled for this account"),
        (api_error("RequestLimitExceeded"), session.Throttled, "AWS throttled the request (RequestLimitExceeded)"),
        (api_error("AccessDenied"), session.Denied, "not allowed (AccessDenied): said AWS; docs/iam-policy.json"),
        (
            exceptions.EndpointConnectionError(endpoint_url="https://ec2.us-esat-1.amazonaws.com"),
            session.Unreachable,
            "check the network, the proxy and the region's name",
        ),
        (
            exceptions.ReadTimeoutError(endpoint_url="https://x"),
            session.Unreachable,
            "no answer from AWS (Read timeout",
        ),
        (api_error("InvalidAMIID.NotFound"), session.AwsError, "InvalidAMIID.NotFound: said AWS"),
        (exceptions.ProfileNotFound(profile="wrok"), session.AwsError, "The config profile (wrok) could not be found"),
    ],
)
def test_an_error_says_what_it_means_and_what_to_do(error: Exception, kind: type[session.AwsError], words: str):
    with pytest.raises(session.AwsError) as caught, session.asking("read the quota"):
        raise error
    assert type(caught.value) is kind
    assert isinstance(caught.value, OSError)
    assert str(caught.value).startswith("could not read the quota: ")
    assert words in str(caught.value)


def test_the_code_stays_readable_and_account_numbers_do_not():
    with pytest.raises(session.AwsError) as caught, session.asking("launch"):
        raise api_error("UnauthorizedOperation", "arn:aws:iam::123456789012:user/x is not; ids 1234567890123 stay")
    assert caught.value.code == "UnauthorizedOperation"
    assert "arn:aws:iam::<account>:user/x is not; ids 1234567890123 stay" in str(caught.value)


def test_an_unknown_profile_is_named_before_any_call(aws: Aws, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "wrok")
    session.forget()
    with pytest.raises(session.AwsError, match=r"\(wrok\) could not be found"):
        session.client("ec2", "us-east-1")
    with pytest.raises(session.AwsError, match=r"\(wrok\) could not be found"):
        session.credentials()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: identity.whoami("us-east-1"),
        lambda: boxes.find("us-east-1"),
        lambda: boxes.start(PLAN, entry("a"), "#!/bin/bash", lambda: None, lambda: None),
    ],
    ids=["who", "look", "launch"],
)
def test_credentials_that_say_themselves_that_they_have_expired_are_one_line(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z")
    session.forget()
    with pytest.raises(session.NoCredentials, match=r"have expired; renew them \(`aws sso login`"):
        ask()
    assert aws.calls == []


def test_one_attempt_means_no_retry(aws: Aws):
    aws.fail("ec2:DescribeVpcs", "InternalError", status=500)
    with pytest.raises(session.AwsError, match="InternalError"), session.asking("look"):
        session.client("ec2", "us-east-1", max_attempts=1).describe_vpcs()
    assert aws.actions()["ec2:DescribeVpcs"] == 1


def presigned(region: str, bucket: str = "a-bucket") -> urllib.parse.SplitResult:
    """Where a box would go for its job."""
    session.forget()
    made = entry("a").with_(region=region, bucket=bucket)
    return urllib.parse.urlsplit(mailbox.url(made, "job", "get", 60))


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "eu-south-1"])
def test_a_box_is_sent_to_the_buckets_own_region(aws: Aws, monkeypatch: pytest.MonkeyPatch, region: str):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    url = presigned(region)
    assert (url.scheme, url.netloc, url.path) == ("https", f"a-bucket.s3.{region}.amazonaws.com", "/job")
    assert f"%2F{region}%2Fs3%2Faws4_request" in url.query
    # A certificate covers one label before s3: a bucket with dots stands in the path.
    dotted = presigned(region, "a.bucket.with.dots")
    assert (dotted.netloc, dotted.path) == (f"s3.{region}.amazonaws.com", "/a.bucket.with.dots/job")


@pytest.mark.parametrize("place", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "profile"])
def test_an_endpoint_of_the_users_own_needs_no_host_for_each_bucket(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    if place == "profile":
        (tmp_path / "config").write_text("[default]\nendpoint_url = http://localhost:9000\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    else:
        monkeypatch.setenv(place, "http://localhost:9000")
    url = presigned("us-west-2")
    assert (url.scheme, url.netloc, url.path) == ("http", "localhost:9000", "/a-bucket/job")
