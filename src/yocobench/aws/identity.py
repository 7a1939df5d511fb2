"""Whose credentials these are and how long they last, without the account's number in any text."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from yocobench.aws import session

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

    def outlives(self, needed_s: float, now: dt.datetime) -> bool:
        """Whether calls can still be made so many seconds from now.

        Renewed and permanent credentials can. Temporary ones without a known end count as able: nobody can tell, and
        `text` says so.
        """
        if self.is_renewed or self.expires_at is None:
            return True
        return self.expires_at >= now + dt.timedelta(seconds=needed_s)

    def text(self, now: dt.datetime) -> str:
        """One line, without account numbers."""
        if self.is_renewed:
            ends = "renewed by themselves"
        elif self.expires_at is not None:
            ends = f"expire in {(self.expires_at - now).total_seconds() / 60:.0f} min, at {self.expires_at:%H:%M}Z"
        elif self.is_temporary:
            ends = "temporary, nobody says until when (AWS_CREDENTIAL_EXPIRATION would)"
        else:
            ends = "do not expire"
        return f"{self.who}, from {self.method}, {ends}"


def whoami(region: str) -> Identity:
    """Ask STS, which needs no permission. Raises NoCredentials, AwsError."""
    held = session.credentials()
    with session.asking("ask AWS who these credentials are"):
        arn = session.client("sts", region).get_caller_identity()["Arn"]
        frozen = held.get_frozen_credentials()
    return Identity(
        who=_who(arn),
        method=held.method,
        is_temporary=bool(frozen.token),
        is_renewed=held.method in RENEWED,
        expires_at=getattr(held, "_expiry_time", None),  # botocore has no public name for it
    )


def _who(arn: str) -> str:
    """arn:aws:sts::1234:assumed-role/Admin/alice is "role Admin"; arn:aws:iam::1234:user/alice is "user alice"."""
    kind, _, rest = arn.rsplit(":", 1)[1].partition("/")
    if kind == "assumed-role":
        return f"role {rest.partition('/')[0]}"
    return f"{kind} {rest.rpartition('/')[2]}".strip() if rest else f"the account's {kind}"
