"""The end of an error about a name: what may have been meant, and what is known."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def among(name: str, known: Sequence[str]) -> str:
    """What follows `... is not known`: the nearest name, where one is near, and all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ".") + f" Known: {', '.join(known)}"
