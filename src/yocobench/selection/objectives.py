"""What "best" means. Each objective is a point on one scale: how much the logarithm of cost weighs against time.

value = hours^(1 - w) * cost^w, lower is better. w = 1 is the cost, w = 0 the time. w = 1/2 ranks by cost times time,
the cost-delay product (after the energy-delay product of Horowitz, Indermaur and Gonzalez, "Low-power digital design",
IEEE Symposium on Low Power Electronics, 1994). Its minimum is the knee of the front in this sense: there, a further
1 % of time costs 1 % of money. The greatest distance to the front's chord (Kneedle, Satopaa et al., 2011) is not used:
its answer moves with the ends of the front, so that a cheaper price could unseat an instance.

Deadline and budget are limits under every objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """A rule to rank by. `cost_weight` is w above."""

    name: str
    cost_weight: Decimal
    superlative: str
    """As in "g4dn.xlarge is <superlative>"."""
    quantity: str
    """What is least of the best, as in "within 5 % of its <quantity>"."""

    def value(self, hours: Decimal, cost: Decimal) -> Decimal:
        """The value of one candidate, exact."""
        weight = self.cost_weight
        return (cost**weight) * (hours ** (1 - weight))

    def values(self, hours: Floats, cost: Floats) -> Floats:
        """The values of many draws at once."""
        weight = float(self.cost_weight)
        result: Any = cost**weight * hours ** (1 - weight)
        return np.asarray(result, dtype=np.float64)


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("cheapest", Decimal(1), "the cheapest", "cost"),
        Objective("fastest", Decimal(0), "the fastest", "time"),
        Objective("balanced", Decimal("0.5"), "the best balance of time and cost", "balance"),
    )
}


def get(name: str) -> Objective:
    """The objective of that name. Raises ValueError listing the known ones."""
    if name not in OBJECTIVES:
        raise ValueError(
            f"params.yaml: objective: unknown objective {name!r}; known: {', '.join(OBJECTIVES)}. "
            "Set one of them and run `dvc repro`"
        )
    return OBJECTIVES[name]
