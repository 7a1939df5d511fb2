"""Log the receipts that the MLflow store lacks: after a fresh clone, a lost store, or a store that was down.

    python -m yocobench.restore [FOLDER ...]

Reads results/receipts, mlruns/receipts and the folders given. Receipts are not changed: DVC owns those under results/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from yocobench import config, receipt, usage
from yocobench.paths import first_line, relative, told
from yocobench.tracking import Store, StoreError, open_store


def restore(root: Path, store: Store | None = None, more: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Log the receipts of `root`: how many were read and are now in the store, and one line per receipt that is bad.

    Raises StoreError: the store cannot be used. Receipts logged before that stay logged; run it again.
    """
    paths = receipts(root, more)
    if not paths:
        return 0, []
    store = store or open_store(root)
    good, problems = 0, []
    for path in paths:
        try:
            found = receipt.read(path.relative_to(root) if path.is_relative_to(Path.cwd()) else path)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        try:
            store.log_receipt(found, None, ())
        except StoreError:
            raise
        except Exception as error:  # a bug of ours or MLflow's with this one: it must not keep the others away
            problems.append(f"{relative(path)}: not logged: {type(error).__name__}: {first_line(error)}")
            continue
        good += 1
    return good, problems


def receipts(root: Path, more: Sequence[str] = ()) -> list[Path]:
    """All receipts of the repository, and those in the folders given besides. Raises ValueError: one is no folder."""
    for folder in more:
        if not (root / folder).is_dir():
            raise ValueError(f"{folder}: no such folder; give one that holds receipts (.json)")
    folders = (root / receipt.STUDY, root / receipt.STANDALONE, *(root / folder for folder in more))
    return sorted(path for folder in folders for path in folder.rglob("*.json"))


def main() -> int:
    """Print what was done. Exit status 0; 1: a receipt is bad; 2: the store cannot be used, or a folder is none."""
    if usage.shown(__name__):
        return 0
    try:
        good, problems = restore(config.root(), more=sys.argv[1:])
    except (ValueError, OSError) as error:
        print(told(error), file=sys.stderr)
        return 2
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{good} receipt(s) are in the MLflow store" + (f", {len(problems)} could not be read" if problems else ""))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
