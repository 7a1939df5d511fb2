"""What to measure next: expected regret removed per dollar, and no advice where the bill exceeds the gain."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import permutations

from yocobench.selection.decision import Advice, Decision
from yocobench.selection.model import Candidate
from yocobench.selection.ranking import Ranking


def advise(ranking: Ranking, blank: Sequence[Candidate]) -> tuple[Advice, ...]:
    """Estimates worth measuring, best value first, then candidates with no number at all, cheapest first.

    Regret is turned into dollars as a share of the chosen one's objective, times its cost; for `cheapest` that is the
    regret itself. One measurement at a time: what is left to gain after it is for the next decision to say. Of those
    not worth their bill alone, two that share an error may be together: their difference is known only then.
    """
    known = _estimated(ranking)
    unknown = [_advice((one,), None) for one in blank]
    unknown.sort(key=lambda advice: (advice.bill_usd is None, advice.bill_usd or 0, advice.instance))
    return (*known, *unknown)


def _estimated(ranking: Ranking) -> list[Advice]:
    chosen = ranking.chosen
    if chosen is None or chosen.cost_usd is None or chosen.value is None:
        return []
    usd_per_unit = float(chosen.cost_usd / chosen.value)
    luck = {one.name: ranking.odds[one.name] for one in ranking.ordered}
    guesses = [one for one in ranking.ordered if not one.rate.is_measured]
    alone = [_advice((one.candidate,), luck[one.name].worth_of_measuring * usd_per_unit) for one in guesses]
    found = _paying(alone)
    taken = {advice.instance for advice in found}
    pairs = [
        _advice((one.candidate, other.candidate), luck[one.name].worth_with[other.name] * usd_per_unit)
        for one, other in permutations(guesses, 2)
        if not taken & {one.name, other.name} and other.name in luck[one.name].worth_with
    ]
    for advice in _paying(pairs):
        if not taken & {advice.instance, advice.together_with}:
            found.append(advice)
            taken |= {advice.instance, str(advice.together_with)}
    return _paying(found)


def _paying(advices: Sequence[Advice]) -> list[Advice]:
    """Those worth their bill, best value first."""
    found = [
        one
        for one in advices
        if one.regret_removed_usd and (one.bill_usd is None or float(one.bill_usd) <= one.regret_removed_usd)
    ]
    return sorted(found, key=lambda one: (one.bill_usd is None, -(one.regret_removed_per_usd or 0), one.instance))


def _advice(measured: tuple[Candidate, ...], gain_usd: float | None) -> Advice:
    bills = [one.measure_bill_usd for one in measured]
    known = [bill for bill in bills if bill is not None]
    bill = sum(known, Decimal(0)) if len(known) == len(bills) else None
    return Advice(
        instance=measured[0].instance,
        together_with=measured[1].instance if len(measured) > 1 else None,
        bill_usd=bill,
        regret_removed_usd=gain_usd,
        regret_removed_per_usd=gain_usd / float(bill) if gain_usd is not None and bill else None,
    )


def launch_order(decision: Decision) -> tuple[str, ...]:
    """Instances worth launching, best value first: what is advised, then other estimates that could still win."""
    advised = [name for one in decision.measure_next for name in (one.instance, one.together_with) if name]
    hopeful = sorted(decision.hopeful, key=lambda row: (-(row.p_best or 0.0), row.instance))
    return tuple(dict.fromkeys([*advised, *(row.instance for row in hopeful)]))


def cannot_win(decision: Decision, instance: str) -> bool:
    """Whether its best case loses to the worst case of another, or misses the limits, or it may not be chosen.

    False for an instance without a number: nothing is proven of it.
    """
    row = decision.row(instance)
    return row is not None and not row.could_still_win
