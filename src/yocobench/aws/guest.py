"""The user-data of a box: guest.sh with its blanks filled, and the job file that it fetches.

EC2 takes 16 KB of user-data and a presigned URL can be 2 KB long, so only three URLs are in the script itself; the
others are in the job file, whose sha256 the script knows.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

TEMPLATE = Path(__file__).with_name("guest.sh")
MAX_USER_DATA_BYTES = 16 * 1024
"""EC2 user guide, "Run commands when you launch an EC2 instance": 16 KB in raw form."""


def user_data(blanks: Mapping[str, str | int]) -> str:
    """The script. Every blank of the template must be given, and no other."""
    text = TEMPLATE.read_text()
    for name, value in blanks.items():
        assert f"@{name}@" in text, name
        assert "'" not in str(value), name  # blanks stand inside single quotes
        text = text.replace(f"@{name}@", str(value))
    left = re.search(r"@[A-Z0-9_]+@", text)
    assert left is None, left
    size = len(text.encode())
    if size > MAX_USER_DATA_BYTES:
        raise ValueError(
            f"the user-data is {size} bytes, over EC2's {MAX_USER_DATA_BYTES}: the presigned URLs are too long; "
            "use credentials with a shorter session token"
        )
    return text


def job(values: Mapping[str, str | int]) -> str:
    """The job file: shell variables, quoted."""
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())
