"""What to keep in mind of a cell's number, as its repeats told it: for the decision's page and the terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from yocobench.bench import stability
from yocobench.bench.measurement import HostActivity


def noted(repeats: Sequence[Sequence[str]]) -> list[str]:
    """What the repeats warn of, each thing once: texts that differ in their numbers alone are the same thing."""
    found: dict[str, tuple[str, set[int]]] = {}
    for number, texts in enumerate(repeats):
        for text in texts:
            found.setdefault(re.sub(r"\d+([.,]\d+)*", "0", text), (text, set()))[1].add(number)
    return [f"in {len(numbers)} of {len(repeats)} repeat(s), {text}" for text, numbers in found.values()]


def disturbed(repeats: Sequence[HostActivity]) -> list[str]:
    """What else used or slowed their machine, from the most disturbed repeat."""
    told = [(seen, texts) for seen in repeats if (texts := stability.disturbances(seen))]
    if not told:
        return []
    _, worst = max(told, key=lambda one: (len(one[1]), one[0].steal_share or 0.0, one[0].other_share or 0.0))
    return [f"in {len(told)} of {len(repeats)} repeat(s), {text}" for text in worst]
