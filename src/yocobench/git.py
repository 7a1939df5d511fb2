"""What git says of this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path


def ask(root: Path, *words: str) -> str | None:
    """The output of a git command; null outside a git checkout, without git, or where the command fails."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
