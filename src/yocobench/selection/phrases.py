"""The decision in words: the answer, why each one won or lost, what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from yocobench.selection import sensitivity, wording
from yocobench.selection.decision import Asked, NearestMiss, Row, Sensitivity, Verdict
from yocobench.selection.model import Terms
from yocobench.selection.ranking import Ranking, by_hour, overshoot
from yocobench.selection.score import Scored
from yocobench.selection.sensitivity import Flip
from yocobench.selection.wording import hours, listed, percent, probability, usd

CLOSE = Decimal("0.05")
"""Whoever is within this share of the chosen one's value is named: prices and estimates are off by more than that."""

_BARRED = "cannot be chosen: "


def answer(
    verdict: Verdict, ranking: Ranking, rows: Sequence[Row], blank: Sequence[str], missed: NearestMiss | None
) -> str:
    """The sentence that goes first."""
    if verdict == "infeasible":
        return _infeasible(ranking, rows, blank, missed)
    chosen = ranking.chosen
    if chosen is None:
        return f"Provisional: no candidate has a number yet; to be measured: {listed(blank)}."
    row = next(row for row in rows if row.instance == chosen.name)
    baseline = next((each for each in rows if each.instance == ranking.terms.baseline), None)
    best = f"{chosen.name} is {ranking.objective.superlative}{limits(ranking.terms)}: {_numbers(row, baseline)}"
    p_best = probability(ranking.odds[chosen.name].p_best, is_open=len(ranking.contenders) > 1)
    sure = f"probability of being the best {p_best}"
    replayed = " (numbers replayed from recorded runs)" if "replayed" in _sources(ranking) else ""
    near = close(ranking)
    others = [one for one in ranking.contenders if one is not chosen]
    if verdict == "measured":
        return f"{best}, {sure}{replayed}.{near}"
    if verdict == "too_close":
        easiest = min(ranking.contenders, key=by_hour).name
        return (
            f"Too close to call between {listed([one.name for one in ranking.contenders])}: their intervals overlap. "
            f"At the medians {best}, {sure}{replayed}.{near} Cheaper to live with, by the hour: {easiest}."
        )
    doubts = _doubts(chosen, others, blank)
    return f"Provisional: {best}, {sure}{replayed}.{near} {doubts}"


def left_out(unpriced: Sequence[str], terms: Terms) -> str:
    """Who might be better, for all that is known. A sentence with a space before it; empty: nobody."""
    return f" Without a known {terms.usage_class} price, and so left out: {listed(unpriced)}." if unpriced else ""


def close(ranking: Ranking) -> str:
    """Who meets the limits within CLOSE of the chosen one's value, and which of them wins most of what was not asked.

    A sentence with a space before it; empty: nobody is so near.
    """
    chosen, what = ranking.chosen, ranking.objective.quantity
    near = [one for one in ranking.ordered if one is not chosen and _is_close(one, ranking)]
    if chosen is None or not near:
        return ""
    told = f" Within {100 * CLOSE:.0f} % of its {what}: {listed([one.name for one in near])}"
    by_time, by_cost = min(near, key=lambda one: one.hours), min(near, key=_cost)
    if what == "cost" and by_time.hours < chosen.hours:
        more = _more(usd(_cost(by_time) - _cost(chosen)), by_time, chosen)
        takes = wording.mark(by_time.rate.source) + hours(float(by_time.hours))
        told += f"{_one_of(near, 'fastest', by_time)} takes {takes} and costs {more} more"
    elif what == "time" and _cost(by_cost) < _cost(chosen):
        more = _more(hours(float(by_cost.hours - chosen.hours)), by_cost, chosen)
        costs = wording.mark(by_cost.rate.source) + usd(_cost(by_cost))
        told += f"{_one_of(near, 'cheapest', by_cost)} costs {costs} and takes {more} more"
    return f"{told}."


def _one_of(near: Sequence[Scored], superlative: str, one: Scored) -> str:
    return ", which" if len(near) == 1 else f"; the {superlative} of them, {one.name},"


def _is_close(one: Scored, ranking: Ranking) -> bool:
    assert one.value is not None
    chosen = ranking.chosen
    best = None if chosen is None else chosen.value
    return best is not None and one.value <= best * (1 + CLOSE) and overshoot(one, ranking.terms) <= 0


def _cost(one: Scored) -> Decimal:
    assert one.cost_usd is not None, "what is ranked has a price"
    return one.cost_usd


def _more(text: str, one: Scored, other: Scored) -> str:
    return wording.mark(one.rate.source, other.rate.source) + text


def _sources(ranking: Ranking) -> set[str]:
    return {one.rate.source for one in ranking.contenders}


def _doubts(chosen: Scored, others: Sequence[Scored], blank: Sequence[str]) -> str:
    """What keeps a provisional answer from being a measured one."""
    parts = []
    if not chosen.rate.is_measured:
        parts.append(f"{chosen.name} is itself only {chosen.rate.source}")
    rivals = [one for one in others if not one.rate.is_measured]
    if rivals:
        names, sources = [one.name for one in rivals], sorted({one.rate.source for one in rivals})
        parts.append(f"{listed(names)} could still win and {_are(names)} only {' or '.join(sources)}")
    measured = [one.name for one in others if one.rate.is_measured]
    if measured:
        parts.append(f"{listed(measured)} could still win")
    if blank:
        parts.append(f"{listed(blank)} {'has' if len(blank) == 1 else 'have'} no number")
    return "; ".join(parts) + "."


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _infeasible(ranking: Ranking, rows: Sequence[Row], blank: Sequence[str], missed: NearestMiss | None) -> str:
    if missed is None:
        why: dict[str, list[str]] = {}
        for row in rows:
            why.setdefault(row.why.removeprefix(_BARRED), []).append(row.instance)
        told = "; ".join(f"{listed(names)}: {reason}" for reason, names in why.items())
        return f"Infeasible: none of the candidates can be chosen{f' ({told})' if told else ''}."
    parts = [f"Infeasible: nothing meets the limits{limits(ranking.terms)}. Nearest miss: {missed.sentence}."]
    hopeful = [one.name for one in ranking.contenders]
    if hopeful:
        theirs = "its interval" if len(hopeful) == 1 else "their intervals"
        parts.append(f"Within {theirs}, {listed(hopeful)} might still meet them.")
    if blank:
        parts.append(f"Without a number: {listed(blank)}.")
    return " ".join(parts)


def limits(terms: Terms | Asked) -> str:
    """As in " within 72 h and 250.00 USD"; empty without limits."""
    parts = [] if terms.deadline_h is None else [f"{wording.given(terms.deadline_h)} h"]
    parts += [] if terms.budget_usd is None else [usd(terms.budget_usd)]
    return f" within {' and '.join(parts)}" if parts else ""


def _numbers(row: Row, baseline: Row | None) -> str:
    """Hours and cost, against the baseline where it has a number."""
    mark = wording.mark(row.source)
    assert row.cost_usd is not None
    text = f"{mark}{hours(row.hours)} and {mark}{usd(row.cost_usd)}"
    if baseline is not None and row.instance != baseline.instance and row.speed_up and row.cost_ratio:
        mark = wording.mark(row.source, baseline.source)
        speed, share = f"{mark}{wording.number(row.speed_up)}", f"{mark}{percent(row.cost_ratio)}"
        text += f", {speed} times as fast as {baseline.instance} at {share} of its cost"
    return text


def miss(one: Scored, terms: Terms) -> str:
    """Which limits a candidate misses, and by how much; empty: none."""
    parts = []
    mark = wording.mark(one.rate.source)
    if terms.deadline_h is not None and float(one.hours) > terms.deadline_h:
        over = percent(float(one.hours) / terms.deadline_h - 1)
        parts.append(f"{mark}{hours(float(one.hours))}, {mark}{over} over the deadline")
    if terms.budget_usd is not None and one.cost_usd is not None and one.cost_usd > terms.budget_usd:
        over = percent(float(one.cost_usd / terms.budget_usd) - 1)
        parts.append(f"{mark}{usd(one.cost_usd)}, {mark}{over} over the budget")
    return f"{one.name} ({' and '.join(parts)})" if parts else ""


# --- why each one won or lost -----------------------------------------------------------------------------------


def why(one: Scored, ranking: Ranking) -> str:
    """In a few words."""
    chosen = ranking.chosen
    if one.barred:
        return f"{_BARRED}{one.barred}"
    if one is chosen:
        return f"chosen: {ranking.objective.superlative}{limits(ranking.terms)}"
    if overshoot(one, ranking.terms) > 0:
        return miss(one, ranking.terms).removeprefix(f"{one.name} (").removesuffix(")")
    assert chosen is not None, "what meets the limits is chosen from"
    if one.value == chosen.value:
        return f"a tie with {chosen.name}"
    close = f"; {chosen.name} not told apart" if one in ranking.contenders else ""
    return _compared(one, chosen) + close


def _compared(one: Scored, chosen: Scored) -> str:
    """Speed and hourly bill apart: their quotient is the ratio of costs."""
    assert one.cost_usd is not None
    assert chosen.cost_usd is not None
    mark = wording.mark(one.rate.source, chosen.rate.source)
    faster = float(chosen.hours / one.hours)
    fast, slow = (
        f"{mark}{wording.number(faster)} times as fast",
        f"takes {mark}{wording.number(1 / faster)} times as long",
    )
    hourly = float(by_hour(one)[0] / by_hour(chosen)[0])
    total = float(one.cost_usd / chosen.cost_usd)
    ratio = f"{mark}{wording.number(total)} times the cost"
    return f"{fast if faster >= 1 else slow} at {wording.number(hourly)} times the hourly bill: {ratio}"


# --- what would change the answer -------------------------------------------------------------------------------


def sensitivities(ranking: Ranking) -> tuple[Sensitivity, ...]:
    """The nearest changes of price, job, limits and assumed one-off part at which another wins; empty without one."""
    if ranking.chosen is None:
        return ()
    name, terms = ranking.chosen.name, ranking.terms
    lines = sensitivity.lines(ranking.ordered, terms)
    at = sensitivity.setting(terms, ranking.objective)
    mine = next(line for line in lines if line.name == name)
    below, above = sensitivity.job_flips(lines, at, name)
    early, late = sensitivity.deadline_flips(lines, at, name)
    poor, rich = sensitivity.budget_flips(lines, at, name)
    dear = sensitivity.price_flip(lines, at, name)
    short, long = (_in_seconds(flip) for flip in sensitivity.one_off_flips(lines, at, name))
    assumed_s = max(line.assumed_h for line in lines) * 3600
    budget = None if terms.budget_usd is None else float(terms.budget_usd)
    found = [
        _change("price", "above", dear, mine.price_usd_per_hour, "USD per hour", ranking),
        _change("job", "below", below, terms.job_samples, terms.sample_unit, ranking),
        _change("job", "above", above, terms.job_samples, terms.sample_unit, ranking),
        _change("one_off", "below", short, assumed_s, "s", ranking),
        _change("one_off", "above", long, assumed_s, "s", ranking),
        _change("deadline", "below", early, terms.deadline_h, "h", ranking),
        _change("deadline", "above", late, terms.deadline_h, "h", ranking),
        _change("budget", "below", poor, budget, "USD", ranking),
        _change("budget", "above", rich, budget, "USD", ranking),
    ]
    return tuple(one for one in found if one is not None)


def _in_seconds(flip: Flip | None) -> Flip | None:
    return None if flip is None else replace(flip, at=flip.at * 3600)


def _change(
    kind: str, direction: str, flip: Flip | None, today: float | None, unit: str, ranking: Ranking
) -> Sensitivity | None:
    if flip is None or ranking.chosen is None:
        return None
    then = f"{flip.winner} wins" if flip.winner else "nothing meets the limits"
    chosen = ranking.chosen.name
    # The place follows from the rates of the two that change there, and is no better known than they are.
    mark = wording.mark(*(one.rate.source for one in ranking.ordered if one.name in (chosen, flip.winner)))
    if kind == "price":
        assert today is not None
        sentence = (
            f"{chosen} wins unless its price rises {mark}{percent(flip.at / today - 1)}, "
            f"to {mark}{usd(flip.at)}/h: then {then}"
        )
    elif kind == "job":
        length = f"{mark}{wording.samples(flip.at, unit)}"
        sentence = f"{'under' if direction == 'below' else 'over'} {length}, {then}"
    elif kind == "one_off":
        assert today is not None
        side, seconds = "under" if direction == "below" else "over", f"{mark}{wording.number(flip.at)} s"
        sentence = f"if boot and set-up take {side} {seconds} (assumed: {wording.given(today)} s), {then}"
    else:
        limit = f"{mark}{hours(flip.at) if kind == 'deadline' else usd(flip.at)}"
        sentence = f"with a {kind} {'under' if direction == 'below' else 'of at least'} {limit}, {then}"
    return Sensitivity.model_validate(
        {
            "kind": kind,
            "direction": direction,
            "at": flip.at,
            "unit": unit,
            "change_percent": None if today is None else 100 * (flip.at / today - 1),
            "winner": flip.winner,
            "sentence": sentence,
        }
    )
