"""What to measure next: expected regret removed per dollar, and no advice where the bill exceeds the gain."""

from __future__ import annotations

from collections.abc import Sequence

from yocobench.selection.decision import Advice, Decision
from yocobench.selection.model import Candidate
from yocobench.selection.ranking import Ranking
from yocobench.selection.wording import ESTIMATES


def advise(ranking: Ranking, blank: Sequence[Candidate]) -> tuple[Advice, ...]:
    """Estimates worth measuring, best value first, then candidates with no number at all, cheapest first.

    Regret is turned into dollars as a share of the chosen one's objective, times its cost; for `cheapest` that is the
    regret itself. One measurement at a time: what is left to gain after it is for the next decision to say.
    """
    known = _estimated(ranking)
    unknown = [_advice(one, None) for one in blank]
    known.sort(key=lambda advice: (advice.bill_usd is None, -(advice.regret_removed_per_usd or 0), advice.instance))
    unknown.sort(key=lambda advice: (advice.bill_usd is None, advice.bill_usd or 0, advice.instance))
    return (*known, *unknown)


def _estimated(ranking: Ranking) -> list[Advice]:
    chosen = ranking.chosen
    if chosen is None or chosen.cost_usd is None or chosen.value is None:
        return []
    usd_per_unit = float(chosen.cost_usd / chosen.value)
    result = []
    for one in ranking.ordered:
        gain = ranking.odds[one.name].worth_of_measuring * usd_per_unit
        bill = one.candidate.measure_bill_usd
        if not one.rate.is_measured and gain > 0 and (bill is None or float(bill) <= gain):
            result.append(_advice(one.candidate, gain))
    return result


def _advice(candidate: Candidate, gain_usd: float | None) -> Advice:
    bill = candidate.measure_bill_usd
    return Advice(
        instance=candidate.instance,
        bill_usd=bill,
        regret_removed_usd=gain_usd,
        regret_removed_per_usd=gain_usd / float(bill) if gain_usd is not None and bill else None,
    )


def launch_order(decision: Decision) -> tuple[str, ...]:
    """Instances worth launching, best value first: what is advised, then other estimates that could still win."""
    advised = [advice.instance for advice in decision.measure_next]
    hopeful = [row for row in decision.rows if row.could_still_win and row.source in ESTIMATES]
    hopeful.sort(key=lambda row: (-(row.p_best or 0.0), row.instance))
    return tuple(dict.fromkeys([*advised, *(row.instance for row in hopeful)]))


def cannot_win(decision: Decision, instance: str) -> bool:
    """Whether its best case loses to the worst case of another, or misses the limits, or it may not be chosen.

    False for an instance without a number: nothing is proven of it.
    """
    row = decision.row(instance)
    return row is not None and not row.could_still_win
