"""Failures of the store in one line each: what is wrong and which command comes next."""

from __future__ import annotations

import contextlib
import errno
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from yocobench.paths import first_line

RESTORE = "python -m yocobench.restore"


class StoreError(OSError):
    """The store cannot be used: the environment's fault, not an input's, hence an OSError.

    Nothing measured is lost by it: the receipt holds the same numbers, and the command in the message logs it later.
    """


@contextlib.contextmanager
def worded(uri: str, root: Path, opening: bool = False) -> Iterator[None]:
    """Turn what MLflow, SQLAlchemy, sqlite and the file system raise into StoreError.

    An invalid parameter or a missing module is the user's URI while `opening` (a database driver, say), and a bug of
    ours afterwards: then it passes unchanged.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if not _is_store_failure(error, opening):
            raise
        raise StoreError(_line(error, uri, root)) from error


def _is_store_failure(error: Exception, opening: bool) -> bool:
    if isinstance(error, OSError | sqlite3.Error) or (opening and isinstance(error, ImportError)):
        return True
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(error, MlflowException):
        return opening or error.error_code != "INVALID_PARAMETER_VALUE"
    return isinstance(error, SQLAlchemyError)


def _line(error: Exception, uri: str, root: Path) -> str:
    store = shown(uri, root)
    text = " ".join(str(cause) for cause in _causes(error)).lower()
    codes = {cause.errno for cause in _causes(error) if isinstance(cause, OSError)}
    for words, numbers, what in KNOWN:
        if any(word in text for word in words) or codes & numbers:
            file = store.removeprefix("sqlite:///")
            return f"{what.format(store=store, file=file)} `{RESTORE}`"
    # The system's own words are the shortest: "Connection refused", where MLflow wraps it in four lines.
    cause = [error, *(c for c in _causes(error) if isinstance(c, OSError | sqlite3.Error))][-1]
    first = redact(first_line(cause))[:200]
    if uri.startswith("sqlite"):
        return f"{store} cannot be used ({first}); afterwards `{RESTORE}`"
    return f"{store} cannot be reached or used ({first}); check MLFLOW_TRACKING_URI, then `{RESTORE}`"


# Words of the message, errno, and the line; the restore command is added to each.
KNOWN: tuple[tuple[tuple[str, ...], set[int], str], ...] = (
    (("database is locked",), set(), "{store} is locked by another process; when it has ended:"),
    (
        ("disk is full", "disk i/o error"),
        {errno.ENOSPC, errno.EDQUOT, errno.EFBIG},
        "no space left for {store} or its artifacts; free some (`df -h`), then",
    ),
    (
        ("readonly database",),
        {errno.EROFS, errno.EACCES, errno.EPERM},
        "{store} or its artifacts cannot be written (read-only); make them writable, then",
    ),
    (("file is not a database", "malformed"), set(), "{store} is damaged; `mv {file} {file}.old` and"),
    (
        ("out-of-date database schema",),
        set(),
        "{store} has another MLflow's schema; copy it, then `mlflow db upgrade {store}` and",
    ),
    (
        ("filesystem tracking backend",),
        set(),
        "{store} is a plain folder, which MLflow no longer takes; `unset MLFLOW_TRACKING_URI`, then",
    ),
)


def shown(uri: str, root: Path) -> str:
    """The URI without credentials, and relative to the repository where it can be."""
    return redact(uri).replace(f"sqlite:///{root.resolve()}/", "sqlite:///")


def redact(text: str) -> str:
    """Drop `user:password@` from URLs."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
