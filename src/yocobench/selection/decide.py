"""From candidates and terms to a Decision: verdict, and what goes with it (design.md, section 6).

- infeasible: nothing with a number meets the limits, or nothing may be chosen at all;
- provisional: one that could still win (ranking.py says who) is only estimated, or has no number;
- too_close: all that could still win are measured, and there are several;
- measured: one is left, and it is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from yocobench.selection import measure_next, phrases, rows, score, wording
from yocobench.selection.decision import Asked, Decision, NearestMiss, Row, Unranked, Verdict
from yocobench.selection.model import Background, Candidate, Terms
from yocobench.selection.objectives import get
from yocobench.selection.ranking import Ranking, by_hour, overshoot, rank

SAFE = 0.95
"""Below this probability of meeting the limits, the chosen one gets a warning."""


def decide_workload(candidates: Iterable[Candidate], terms: Terms, background: Background | None = None) -> Decision:
    """The decision for one workload. `background`: what is told with it, and changes nothing.

    Raises ValueError for an unknown objective, two candidates of one name, or candidates of several workloads.
    """
    objective, background = get(terms.objective), background or Background()
    everyone = sorted(candidates, key=lambda one: one.instance)
    workload = _one_workload(everyone)
    scored = [score.score(one, terms, objective) for one in everyone if one.rate is not None]
    ranking = rank([one for one in scored if not one.barred], terms, objective)
    blank = [one for one in everyone if one.status == "unmeasured" and not score.barred(one, terms)]
    verdict = _verdict(ranking, blank)
    made = rows.build(scored, ranking)
    chosen = ranking.chosen
    others = tuple(one.name for one in ranking.contenders if chosen is not None and one is not chosen)
    miss = _nearest_miss(ranking) if verdict == "infeasible" else None
    unpriced = [one.name for one in scored if score.lacks_only_a_price(one.candidate, terms)]
    answer = phrases.answer(verdict, ranking, made, [one.instance for one in blank], miss)
    return Decision(
        workload=workload,
        verdict=verdict,
        sentence=answer + phrases.left_out(unpriced, terms),
        chosen=chosen.name if chosen else None,
        probability_best=ranking.odds[chosen.name].p_best if chosen else None,
        sources=tuple(sorted({one.rate.source for one in ranking.contenders})),
        too_close_to=others,
        cheaper_to_live_with=min(ranking.contenders, key=by_hour).name if others else None,
        asked=asked(terms),
        model=background.model,
        data=background.data,
        region=background.region,
        stale_prices=background.stale_prices,
        rows=tuple(made),
        excluded=tuple(_unranked(one) for one in everyone if one.status in ("excluded", "failed")),
        unmeasured=tuple(_unranked(one) for one in everyone if one.status == "unmeasured"),
        nearest_miss=miss,
        sensitivity=phrases.sensitivities(ranking),
        measure_next=measure_next.advise(ranking, blank),
        warnings=(*background.warnings, *_warnings(ranking, everyone, made)),
    )


def _one_workload(candidates: Sequence[Candidate]) -> str:
    names = [one.instance for one in candidates]
    doubles = sorted({name for name in names if names.count(name) > 1})
    workloads = sorted({one.workload for one in candidates})
    if doubles:
        raise ValueError(f"params.yaml: instances: {', '.join(doubles)} given more than once; name each once")
    if len(workloads) != 1:
        raise ValueError(f"a decision is about one workload; got {', '.join(workloads) or 'no candidates'}")
    return workloads[0]


def _verdict(ranking: Ranking, blank: Sequence[Candidate]) -> Verdict:
    if ranking.chosen is None:
        return "provisional" if blank and not ranking.ordered else "infeasible"
    if blank or any(not one.rate.is_measured for one in ranking.contenders):
        return "provisional"
    return "too_close" if len(ranking.contenders) > 1 else "measured"


def _nearest_miss(ranking: Ranking) -> NearestMiss | None:
    if not ranking.ordered:
        return None
    nearest = ranking.ordered[0]
    over = float(overshoot(nearest, ranking.terms))
    sentence = phrases.miss(nearest, ranking.terms)
    return NearestMiss(instance=nearest.name, over_percent=100 * over, sentence=sentence)


def asked(terms: Terms) -> Asked:
    """The terms as the decision states them."""
    given = terms.model_dump(exclude={"restrict"})
    return Asked(**given, cpu_only=terms.restrict.cpu_only, instances=terms.restrict.instances)


def _unranked(candidate: Candidate) -> Unranked:
    return Unranked(
        instance=candidate.instance,
        status=candidate.status,
        reason=candidate.reason,
        reason_source=candidate.reason_source,
        reason_as_of=candidate.reason_as_of,
    )


def _warnings(ranking: Ranking, everyone: Sequence[Candidate], made: Sequence[Row]) -> Iterable[str]:
    terms, chosen = ranking.terms, ranking.chosen
    if not any(row.instance == terms.baseline for row in made):
        yield f"the baseline {terms.baseline} has no number: no speed-up or cost ratio is stated"
    if any(one.storage_usd_per_hour is None for one in everyone):
        yield "no price of storage is known for the region: every cost leaves the EBS volume out"
    if any(one.public_ipv4_usd_per_hour is None for one in everyone):
        yield "no price of a public IPv4 address is on file: every cost leaves it out"
    for one in everyone:
        yield from (f"{one.instance}: {text}" for text in one.warnings)
        if one.burst_surcharge_usd_per_hour is None:
            yield f"{one.instance}: its CPU credit baseline is unknown, so its cost leaves the surcharge out"
        if one.price is not None and one.price.usage_class != terms.usage_class:
            yield f"{one.instance}: no {terms.usage_class} price is known; priced {one.price.usage_class}"
    if ranking.contenders and all(one.rate.bound_by == wording.DECODING for one in ranking.contenders):
        yield (
            f"all that could still win are bound by {wording.DECODING}: the CPUs of these types are compared, "
            "not their accelerators"
        )
    if any(one.rate.source == "replayed" for one in ranking.contenders):
        yield "replayed numbers come from recorded runs: they were not measured by this run"
    if chosen is not None and ranking.odds[chosen.name].p_meets_limits < SAFE:
        sure = wording.probability(ranking.odds[chosen.name].p_meets_limits)
        yield f"{chosen.name} meets the limits with a probability of {sure} only"
