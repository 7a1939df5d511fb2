"""The sqlite file behind the default store: made whole, checked before MLflow opens it, moved with its folder."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from yocobench.tracking.failures import RESTORE, StoreError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


def path_of(uri: str) -> Path | None:
    """The file of a `sqlite:///path` URI; null for any other store."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri.startswith(f"{prefix}file:") or uri == f"{prefix}:memory:":
        return None
    return Path(uri.removeprefix(prefix).partition("?")[0]).absolute()


def prepare(database: Path, experiment: str) -> None:
    """Leave a file that MLflow can open: present, of the schema of the installed MLflow, in WAL mode.

    Call it under a lock. Raises StoreError, sqlite3.Error, OSError.
    """
    artifacts = database.parent / "artifacts"
    if not database.exists() or database.stat().st_size == 0:
        create(database, artifacts, experiment)
        return
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
        _check_schema(connection, database)
        known = connection.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
        if known is not None and known[1] != artifacts.as_uri():
            _relocate(connection, known[1], artifacts.as_uri())
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
    if known is None:  # `mlflow ui` was here before us
        _add_experiment(database, artifacts, experiment)


def create(database: Path, artifacts: Path, experiment: str) -> None:
    """Build the tables and the experiment in a file beside `database`, then rename: a kill leaves no half store."""
    fresh = database.with_name(f".{database.name}.{os.getpid()}")
    try:
        _add_experiment(fresh, artifacts, experiment)
        with contextlib.closing(sqlite3.connect(fresh)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        for stale in ("-wal", "-shm"):  # of a store that was removed: sqlite would replay it into this one
            database.with_name(database.name + stale).unlink(missing_ok=True)
        fresh.replace(database)
    finally:
        for leftover in database.parent.glob(f".{database.name}.*"):  # of a killed process too: we hold the lock
            leftover.unlink()


def _add_experiment(database: Path, artifacts: Path, experiment: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{database}", artifacts.as_uri())  # type: ignore[no-untyped-call]
    try:
        store.create_experiment(experiment, artifact_location=artifacts.as_uri())  # type: ignore[no-untyped-call]
    finally:
        store.engine.dispose()


def _check_schema(connection: sqlite3.Connection, database: Path) -> None:
    """Refuse another MLflow's schema: MLflow itself would migrate some of them at once, without a backup."""
    shown = f"{database.parent.name}/{database.name}"
    aside = f"`mv {shown} {shown}.old` and `{RESTORE}`"
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        row = None
    if row is None:
        raise StoreError(f"{shown} is a sqlite file but no MLflow store; {aside}")
    scripts = _migrations()
    (head,) = scripts.get_heads()
    if row[0] == head:
        return
    if row[0] in {script.revision for script in scripts.walk_revisions()}:
        raise StoreError(
            f"{shown} has the schema of an older MLflow ({row[0]}, expected {head}); copy it, then "
            f"`mlflow db upgrade sqlite:///{shown}` and `{RESTORE}`"
        )
    raise StoreError(
        f"{shown} has the schema of a newer MLflow ({row[0]}, this one knows {head}); "
        f"`python -m pip install -c constraints.txt -e .` for the version of this repository, or {aside}"
    )


@functools.cache
def _migrations() -> ScriptDirectory:
    """MLflow's. Reading them takes a second: all are modules."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    return ScriptDirectory.from_config(_get_alembic_config(""))  # type: ignore[no-untyped-call]


def _relocate(connection: sqlite3.Connection, old: str, new: str) -> None:
    """MLflow stores absolute artifact paths: after the repository was moved or copied they name the old place."""
    with connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 names from the line above
                f"WHERE {column} = ? OR {column} LIKE ? || '/%'",
                (new, len(old) + 1, old, old),
            )
