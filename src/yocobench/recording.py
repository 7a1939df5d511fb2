"""Record a run: its receipt on disk and its runs in MLflow, so that the numbers survive either one failing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from yocobench import git, receipt
from yocobench.launchers.signals import release
from yocobench.paths import relative
from yocobench.receipt import Provenance, Receipt

ARTIFACTS = ("constraints.txt", "params.yaml")
"""Files that a run carries when it is logged where it was trained."""


def keep(
    record: Receipt,
    path: Path,
    root: Path,
    console: Console,
    costs: dict[str, float],
    written: Callable[[], None] = lambda: None,
) -> None:
    """Write the receipt, log it, write it again with its run id. What was measured survives either one failing.

    `written`: called once the receipt is on disk, when signals act again (launchers/signals.py). Raises OSError when
    the receipt could not be written (after trying to log it), KeyboardInterrupt that names one that was not logged.
    """
    from yocobench.tracking import StoreError, open_store

    unwritten: OSError | None = None
    elsewhere = "its runs are in the MLflow store"
    try:
        receipt.write(record, path)
    except OSError as error:
        unwritten = error
    try:
        if unwritten is None:
            written()
            release()
        logged = open_store(root).log_receipt(record, costs, [root / name for name in ARTIFACTS])
    except StoreError as error:
        console.print(f"not logged: {error}", highlight=False, soft_wrap=True)
        if unwritten is not None:  # the last place where it can survive
            print(json.dumps(receipt.document(record)))
            elsewhere = f"it is the line that was printed: save that as a .json under {receipt.STANDALONE}"
    except KeyboardInterrupt:
        kept = f"{relative(path)} holds what was measured; `python -m yocobench.restore` logs it"
        raise KeyboardInterrupt(kept if unwritten is None else "") from None
    else:
        if unwritten is None:
            receipt.write(logged, path)
    if unwritten is not None:
        said = f"{relative(path)}: receipt not written: {unwritten.strerror or unwritten}; {elsewhere}"
        raise OSError(said) from unwritten


def provenance(root: Path, launcher: str, sweep: str | None) -> Provenance:
    """Where the code stands; null outside a git checkout."""
    changes = git.ask(root, "status", "--porcelain", "--untracked-files=no", "--", "src", "conf", "params.yaml")
    return Provenance(
        git_commit=git.ask(root, "rev-parse", "HEAD"),
        git_dirty=None if changes is None else bool(changes),
        launcher=launcher,
        sweep=sweep,
    )
