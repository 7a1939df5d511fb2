"""The one place that makes AWS clients, and the one that words AWS errors for a user.

Endpoints come from the environment (AWS_ENDPOINT_URL, or AWS_ENDPOINT_URL_<SERVICE> for one service), credentials from
boto3's usual chain. Not covered: what is asked (the other modules here and launchers/).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import re
import threading
from collections.abc import Iterator
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
REGIONAL = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
FOREIGN = "it is not AWS that answered (a proxy's page?), or the answer is cut"
THROTTLING = frozenset(
    (
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    )
)
EXPIRED = frozenset(("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"))
REFUSED_KEY = frozenset(
    (
        "AuthFailure",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
    )
)
DENIED = frozenset(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "403"))


class AwsError(OSError):
    """AWS did not do what was asked. `code` is the API's error code, empty where the request never got there."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class NoCredentials(AwsError):
    """No usable credentials: none, half of them, expired, or refused."""


class Throttled(AwsError):
    """Too many requests, after the retries."""


class Denied(AwsError):
    """The credentials are good; their policy does not allow the call."""


class Unreachable(AwsError):
    """No answer: no network, no such endpoint, a timeout."""


_making = threading.Lock()  # boto3 makes clients safely in one thread at a time only


@functools.cache
def _session() -> boto3.Session:
    """One for the process, so that an MFA code is asked for once and temporary credentials are renewed in one place."""
    return boto3.Session()


def forget() -> None:
    """Read the environment, profile and credentials anew."""
    _session.cache_clear()
    _for_buckets.cache_clear()


def client(service: str, region: str | None = None, max_attempts: int = 5) -> Any:
    """A boto3 client. `max_attempts` counts the first try: 1 means no retry (RunInstances: we walk the zones).

    Raises AwsError for a profile or a region that does not exist.
    """
    retries = {"mode": "standard", "total_max_attempts": max_attempts}
    options = Config(retries=retries, connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S)
    with asking(f"make a client of {service}"), _making:
        if service == "s3":
            options = options.merge(_for_buckets())
        return _session().client(service, region_name=region, config=options)


@functools.cache
def _for_buckets() -> Config:
    """How S3's presigned URLs are made. Those of the old signature are refused by every bucket made since 2020-06.

    botocore signs them for BUCKET.s3.amazonaws.com, whatever the region, unless the addressing style is "virtual". A
    new bucket of another region answers there with a redirect, a newer region not at all. An endpoint of the user's own
    is left as it is: http://localhost:9000 has no host for each bucket.
    """
    signing = Config(signature_version="s3v4")
    configured, own = (
        _session().client("s3", region_name="us-east-1", config=signing.merge(option)).meta.endpoint_url
        for option in (Config(), Config(ignore_configured_endpoint_urls=True))
    )
    return signing if configured != own else signing.merge(Config(s3=REGIONAL))


def credentials(lasting_s: float = 0.0) -> Any:
    """botocore's credentials object, fetched anew where those at hand end sooner. Raises NoCredentials.

    botocore renews credentials in their last 15 minutes only, and offers no call that renews them earlier: a new
    session does. What it finds may end as soon as before, if that is all that the provider gives.
    """
    found = _found()
    if lasting_s and expiry(found) is not None and found.refresh_needed(lasting_s):
        forget()
        found = _found()
    return found


def _found() -> Any:
    with asking("find credentials"):
        found = _session().get_credentials()
        if found is None:
            raise exceptions.NoCredentialsError
        found.get_frozen_credentials()  # some providers ask for theirs only now
    return found


def expiry(found: Any) -> dt.datetime | None:
    """When botocore's credentials end; None: never, or nobody says. botocore has no public name for it."""
    ends: dt.datetime | None = getattr(found, "_expiry_time", None)
    return ends.astimezone(dt.UTC) if ends is not None else None


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn botocore's errors inside the block into AwsError; `what` is the verb phrase, "read the price of g5.xlarge".

    Keep only the call and the unpacking of its answer inside: a KeyError there is a field that the answer lacks.
    """
    try:
        yield
    except (exceptions.ClientError, exceptions.BotoCoreError, ResponseParserError) as error:
        raise translate(error, what) from error
    except RuntimeError as error:
        if not _is_expiry(error):
            raise
        raise translate(error, what) from error
    except KeyError as error:
        raise AwsError(f"could not {what}: the answer has no {error.args[0]}; {FOREIGN}") from error


def _is_expiry(error: Exception) -> bool:
    """botocore's own words when AWS_CREDENTIAL_EXPIRATION, or a provider's new credentials, lie in the past."""
    return isinstance(error, RuntimeError) and "refreshed credentials are still expired" in str(error)


def translate(error: Exception, what: str) -> AwsError:
    """The AwsError for a botocore error, worded."""
    return _kind(error)(f"could not {what}: {words(error)}", _code(error))


def words(error: Exception) -> str:
    """What a botocore error means for the user and what to do about it."""
    if isinstance(error, AwsError):
        return str(error)
    code, kind = _code(error), _kind(error)
    text = f"{code}: {_message(error)}" if code else _first_line(error)
    if kind is NoCredentials:
        text = _about_credentials(error, code)
    elif kind is Throttled:
        text = f"AWS throttled the request ({code}) after every retry; try again in a minute"
    elif kind is Unreachable:
        text = f"no answer from AWS ({_first_line(error)}); check the network, the proxy and the region's name"
    elif kind is Denied:
        text = f"not allowed ({code}): {_message(error)}; docs/iam-policy.json is the policy to attach"
    elif isinstance(error, ResponseParserError):
        text = FOREIGN
    return text


def _about_credentials(error: Exception, code: str) -> str:
    again = "`aws configure`, `aws sso login` or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY give some"
    if isinstance(error, exceptions.NoCredentialsError):
        return f"no AWS credentials found; {again}"
    if code in EXPIRED or "SSO" in type(error).__name__ or _is_expiry(error):
        return f"the AWS credentials have expired; renew them (`aws sso login`, or new keys) and try again ({again})"
    # EC2 says the same in a region that the account has not switched on.
    elsewhere = ", or the region is not enabled for this account" if code == "AuthFailure" else ""
    return f"the AWS credentials do not work ({code or _first_line(error)}){elsewhere}; {again}"


def _kind(error: Exception) -> type[AwsError]:
    code = _code(error)
    if _is_expiry(error) or isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError
        | exceptions.SSOError
        | exceptions.TokenRetrievalError,
    ):
        return NoCredentials
    if code in EXPIRED or code in REFUSED_KEY:
        return NoCredentials
    if code in THROTTLING:
        return Throttled
    if code in DENIED:
        return Denied
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return Unreachable
    return AwsError


def _code(error: Exception) -> str:
    if isinstance(error, AwsError):
        return error.code
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, exceptions.ClientError) else ""


def _message(error: Exception) -> str:
    """The API's own words, without an encoded authorization message (kilobytes) and without account numbers."""
    response = getattr(error, "response", {})
    text = str(response.get("Error", {}).get("Message", "") or error)
    return without_account(text.partition("Encoded authorization failure message")[0].strip().rstrip("."))


def _first_line(error: Exception) -> str:
    """The first that says something: botocore heads a parameter's mistake with "Parameter validation failed:"."""
    lines = str(error).splitlines() or [type(error).__name__]
    return without_account(lines[-1] if isinstance(error, exceptions.ParamValidationError) else lines[0])


def without_account(text: str) -> str:
    """`text` with 12-digit account numbers replaced: output gets pasted into tickets and logs."""
    return re.sub(r"(?<!\d)\d{12}(?!\d)", "<account>", text)
