"""Whose credentials these are and how long they last, without the account's number in any text."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

from yocobench.aws import session
from yocobench.aws.launch_plan import END_ALLOWANCE_S

SEND_ALLOWANCE_S = 1800
"""For upload before the box and for its end after it: the credentials must last that much longer."""

RENEWED = frozenset(
    (
        "assume-role",
        "assume-role-with-web-identity",
        "container-role",
        "custom-process",
        "iam-role",
        "login",
        "sso",
    )
)
"""botocore's providers that fetch new credentials by themselves before the old ones end."""


@dataclass(frozen=True)
class Identity:
    """Who asks. `expires_at` is null for keys that do not expire, or of which nobody says when they do."""

    who: str
    """Kind and name: "user alice", "role Admin"."""
    method: str
    """botocore's name for where the credentials come from: env, sso, shared-credentials-file ..."""
    is_temporary: bool
    is_renewed: bool
    """New ones are fetched by themselves; the sign-in behind them must last (`aws sso login`)."""
    expires_at: dt.datetime | None
    """Of those at hand, also where new ones follow: what they signed ends with them."""

    def text(self, now: dt.datetime) -> str:
        """One line, without account numbers."""
        if self.is_renewed:
            ends = "renewed by themselves" + (f", these at {self.expires_at:%H:%M}Z" if self.expires_at else "")
        elif self.expires_at is not None:
            ends = f"expire in {(self.expires_at - now).total_seconds() / 60:.0f} min, at {self.expires_at:%H:%M}Z"
        elif self.is_temporary:
            ends = "temporary, nobody says until when (AWS_CREDENTIAL_EXPIRATION would)"
        else:
            ends = "do not expire"
        return f"{self.who}, from {self.method}, {ends}"


def whoami(region: str, lasting_s: float = 0.0) -> Identity:
    """Ask STS, which needs no permission. Raises NoCredentials, AwsError.

    Credentials that end within `lasting_s` are renewed first, if that is possible.
    """
    held = session.credentials(lasting_s)
    with session.asking("ask AWS who these credentials are"):
        arn = session.client("sts", region).get_caller_identity()["Arn"]
        frozen = held.get_frozen_credentials()
    return Identity(
        who=_who(arn),
        method=held.method,
        is_temporary=bool(frozen.token),
        is_renewed=held.method in RENEWED,
        expires_at=session.expiry(held),
    )


def needed_s(wall_clock_s: float) -> float:
    """How long credentials should last before a box of that wall clock is planned."""
    return wall_clock_s + END_ALLOWANCE_S + SEND_ALLOWANCE_S


def problem(who: Identity, wall_clock_s: float, now: dt.datetime) -> str:
    """Why these credentials cannot see a box of that wall clock to its end; empty: they can.

    Temporary ones without a known end count as able: nobody can tell, and `Identity.text` says so.
    """
    if who.is_renewed:
        return _unsigned(who.expires_at, wall_clock_s, now)
    if who.expires_at is None or who.expires_at >= now + dt.timedelta(seconds=needed_s(wall_clock_s)):
        return ""
    return (
        f"the credentials ({who.text(now)}) may end before a box does, {needed_s(wall_clock_s) / 60:.0f} min after its "
        "start; then nothing could terminate it: renew them first"
    )


def signing_problem(wall_clock_s: float) -> str:
    """Why the credentials must not sign the URLs of a box that starts now; empty: they may. Raises AwsError.

    They are renewed first, if that is possible and helps.
    """
    held = session.credentials(wall_clock_s + END_ALLOWANCE_S)
    return _unsigned(session.expiry(held), wall_clock_s, dt.datetime.now(dt.UTC))


def _unsigned(expires_at: dt.datetime | None, wall_clock_s: float, now: dt.datetime) -> str:
    """A presigned URL dies with the credentials that signed it, also where the client has newer ones by then."""
    life_s = wall_clock_s + END_ALLOWANCE_S
    if expires_at is None or expires_at >= now + dt.timedelta(seconds=life_s):
        return ""
    return (
        f"the URLs by which a box reports would die with the credentials that sign them, at {expires_at:%H:%M}Z, in "
        f"{(expires_at - now).total_seconds() / 60:.0f} min, and a box may take {life_s / 60:.0f}: use keys that do "
        f"not expire, or a role session of {math.ceil(needed_s(wall_clock_s) / 60)} min (duration_seconds of the "
        "profile, session duration of the SSO permission set)"
    )


def _who(arn: str) -> str:
    """arn:aws:sts::1234:assumed-role/Admin/alice is "role Admin"; arn:aws:iam::1234:user/alice is "user alice"."""
    kind, _, rest = arn.rsplit(":", 1)[1].partition("/")
    if kind == "assumed-role":
        return f"role {rest.partition('/')[0]}"
    return f"{kind} {rest.rpartition('/')[2]}".strip() if rest else f"the account's {kind}"
