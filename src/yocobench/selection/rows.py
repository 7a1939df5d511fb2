"""One row per candidate that has a number."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from yocobench.selection import bills, cost, odds, phrases, score, sensitivity
from yocobench.selection.decision import Row
from yocobench.selection.objectives import Floats
from yocobench.selection.ranking import Ranking, overshoot
from yocobench.selection.score import Scored


def build(scored: Sequence[Scored], ranking: Ranking) -> list[Row]:
    """Rows, best first; those that cannot be chosen last."""
    baseline = next((one for one in scored if one.name == ranking.terms.baseline), None)
    front = odds.front(ranking.ordered)
    barred = [one for one in scored if one.barred]
    return [_row(one, baseline, one.name in front, ranking) for one in (*ranking.ordered, *barred)]


def _row(one: Scored, baseline: Scored | None, on_front: bool, ranking: Ranking) -> Row:
    hours = float(one.hours)
    low, high = score.interval(one.hours_draws, hours)
    slow, fast = score.interval(score.rate_draws(one.rate, one.name), one.rate.samples_per_second)
    hourly, price = cost.usd_per_hour(one.candidate), one.candidate.price
    return Row(
        rank=ranking.ranks.get(one.name),
        instance=one.name,
        source=one.rate.source,
        samples_per_second=one.rate.samples_per_second,
        samples_per_second_low=slow,
        samples_per_second_high=fast,
        one_off_h=one.one_off_h,
        one_off_assumed_h=one.candidate.one_off.assumed_s / 3600,
        steady_h=one.steady_h,
        hours=hours,
        hours_low=low,
        hours_high=high,
        price_usd_per_hour=price.usd_per_hour if price else None,
        hourly_usd=None if hourly is None else hourly.quantize(bills.CENT),
        bills=bills.every_way(one, ranking.terms, ranking.objective),
        price_as_of=price.as_of if price else None,
        price_source=f"{price.source} ({price.region}, {price.usage_class})" if price else None,
        can_be_chosen=not one.barred,
        equal_work=one.candidate.equal_work,
        on_front=on_front,
        energy_j_per_million_samples=one.candidate.energy_j_per_million_samples,
        data_wait_share=one.candidate.data_wait_share,
        bound_by=one.rate.bound_by,
        calibrated_on=one.rate.calibrated_on,
        why=phrases.why(one, ranking),
        **bills.money(one),
        **_against(one, baseline, ranking.terms.job_samples),
        **_chances(one, ranking),
    )


def _against(one: Scored, baseline: Scored | None, job_samples: float) -> dict[str, Any]:
    """Speed-up and cost ratio, draw by draw, and the job length from which it is the cheaper one."""
    result: dict[str, Any] = {"breakeven_samples": None}
    speed = bill = None
    if baseline is not None:
        speed = _ratio(baseline.hours, one.hours, baseline.hours_draws, one.hours_draws)
        if None not in (one.cost_usd, baseline.cost_usd) and one.cost_usd is not None:
            assert baseline.cost_usd is not None
            assert one.cost_draws is not None
            assert baseline.cost_draws is not None
            bill = _ratio(one.cost_usd, baseline.cost_usd, one.cost_draws, baseline.cost_draws)
            result["breakeven_samples"] = _breakeven(one, baseline, job_samples)
    for name, triple in (("speed_up", speed), ("cost_ratio", bill)):
        keys = (name, f"{name}_low", f"{name}_high")
        result |= dict(zip(keys, triple or (None, None, None), strict=True))
    return result


def _ratio(over: Decimal, under: Decimal, over_draws: Floats, under_draws: Floats) -> tuple[float, float, float]:
    point = float(over / under)
    low, high = score.interval(np.divide(over_draws, under_draws), point)
    return point, low, high


def _breakeven(one: Scored, baseline: Scored, job_samples: float) -> float | None:
    """Samples from which on it costs less than the baseline; null where every further sample costs as much or more."""
    mine, theirs = (float(cost.usd_per_hour(each.candidate) or 0) for each in (one, baseline))
    saved_usd = (baseline.steady_h * theirs - one.steady_h * mine) / job_samples
    extra_usd = one.one_off_h * mine - baseline.one_off_h * theirs
    if one is baseline or saved_usd <= 0:
        return None
    return max(0.0, extra_usd / saved_usd)


def _chances(one: Scored, ranking: Ranking) -> dict[str, Any]:
    """Probabilities, regret, and what would make it win."""
    luck, chosen = ranking.odds.get(one.name), ranking.chosen
    regret = luck.expected_regret if luck else None
    weight = ranking.objective.cost_weight
    share = None
    if regret is not None and chosen is not None and chosen.value is not None:
        share = 100 * regret / float(chosen.value)
    return {
        "meets_limits": luck is not None and overshoot(one, ranking.terms) <= 0,
        "p_meets_limits": luck.p_meets_limits if luck else None,
        "could_still_win": one in ranking.contenders,
        "p_best": luck.p_best if luck else None,
        "expected_regret_usd": regret if weight == 1 else None,
        "expected_regret_h": regret if weight == 0 else None,
        "expected_regret_percent": share,
        "p_on_front": luck.p_on_front if luck else None,
        **_needs(one, ranking),
    }


def _needs(one: Scored, ranking: Ranking) -> dict[str, float | None]:
    chosen = ranking.chosen
    if chosen is None or one is chosen or one.barred:
        return {"wins_if_price_falls_percent": None, "wins_if_faster_percent": None}
    line, winner = sensitivity.lines([one, chosen], ranking.terms)
    at = sensitivity.setting(ranking.terms, ranking.objective)
    fall, factor = sensitivity.price_fall_to_win(line, winner, at), sensitivity.speed_up_to_win(line, winner, at)
    return {
        "wins_if_price_falls_percent": None if fall is None else 100 * fall,
        "wins_if_faster_percent": None if factor is None else 100 * (factor - 1),
    }
