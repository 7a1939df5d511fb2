"""Where the winner changes: solved, not sampled.

With hours h = o + n u (one-off part, samples, hours per sample) and an hourly bill R, every objective ranks by h R^w
(objectives.py). For two candidates this is linear in n and monotone in R, so every place where the winner can change
has a closed form: their crossings, and the places where one of them meets a limit. The nearest such place on each side
at which another one really wins is the answer. Crossings within the first billed minute are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

from yocobench.pricelist import MIN_BILLED_S
from yocobench.selection import cost
from yocobench.selection.model import Terms
from yocobench.selection.objectives import Objective
from yocobench.selection.score import Scored

BEYOND = 1e-7
"""Relative step past a crossing, to see who wins there."""
REACH = 10.0
"""Factor up to which an assumption is moved: farther off it would be another one."""


@dataclass(frozen=True)
class Line:
    """Medians of one candidate."""

    name: str
    one_off_h: float
    hours_per_sample: float
    price_usd_per_hour: float
    extras_usd_per_hour: float
    assumed_h: float = 0.0
    """Of `one_off_h`: boot and set-up as assumed, one figure for all that have it."""

    @property
    def hourly_usd(self) -> float:
        """Everything paid by the hour."""
        return self.price_usd_per_hour + self.extras_usd_per_hour

    def hours(self, samples: float) -> float:
        """Wall time of the job."""
        return self.one_off_h + samples * self.hours_per_sample

    def bill_usd(self, samples: float) -> float:
        """Cost of the job."""
        return cost.billed_s(self.hours(samples) * 3600) / 3600 * self.hourly_usd


@dataclass(frozen=True)
class Setting:
    """Where the lines are compared."""

    samples: float
    deadline_h: float
    budget_usd: float
    weight: float

    def winner(self, lines: Iterable[Line]) -> str | None:
        """The best that meets the limits; equal ones by hourly bill, then name."""
        fits = [line for line in lines if self.meets(line)]
        return min(fits, key=self.key).name if fits else None

    def meets(self, line: Line) -> bool:
        """Within deadline and budget, with room for rounding."""
        room = 1 + BEYOND / 100
        hours, bill = line.hours(self.samples), line.bill_usd(self.samples)
        return hours <= self.deadline_h * room and bill <= self.budget_usd * room

    def key(self, line: Line) -> tuple[float, float, str]:
        """What is compared: to twelve digits, so that what ties in exact arithmetic (ranking.py) ties here."""
        return float(f"{self.value(line):.12g}"), float(f"{line.hourly_usd:.12g}"), line.name

    def value(self, line: Line) -> float:
        """The objective."""
        hours, bill = line.hours(self.samples), line.bill_usd(self.samples)
        return float(bill**self.weight * hours ** (1 - self.weight))


@dataclass(frozen=True)
class Flip:
    """The nearest place, in one direction, where another candidate wins (or none does)."""

    at: float
    winner: str | None


@dataclass(frozen=True)
class Span:
    """From one place to the next, the same one wins (or none does)."""

    start: float
    end: float
    winner: str | None


def lines(scored: list[Scored], terms: Terms) -> list[Line]:
    """Of the candidates that can be chosen."""
    result = []
    for one in scored:
        assert one.candidate.price is not None
        result.append(
            Line(
                name=one.name,
                one_off_h=one.one_off_h,
                hours_per_sample=cost.seconds_per_sample(one.candidate, terms) / 3600,
                price_usd_per_hour=float(one.candidate.price.usd_per_hour),
                extras_usd_per_hour=float(cost.extras_usd_per_hour(one.candidate)),
                assumed_h=one.candidate.one_off.assumed_s / 3600,
            )
        )
    return result


def setting(terms: Terms, objective: Objective) -> Setting:
    """The job as asked."""
    return Setting(
        samples=terms.job_samples,
        deadline_h=inf if terms.deadline_h is None else terms.deadline_h,
        budget_usd=inf if terms.budget_usd is None else float(terms.budget_usd),
        weight=float(objective.cost_weight),
    )


def _first(
    places: Iterable[float], start: float, chosen: str, winner_at: Callable[[float], str | None], upwards: bool
) -> Flip | None:
    """The nearest of `places` on one side of `start`, just beyond which the winner is no longer `chosen`."""
    room = 1 + BEYOND / 100  # a place at `start` itself may come out a rounding off on its other side
    side = [
        place for place in places if 0 < place < inf and (place * room >= start if upwards else place <= start * room)
    ]
    for place in sorted(side, reverse=not upwards):
        beyond = winner_at(place * (1 + BEYOND if upwards else 1 - BEYOND))
        if beyond != chosen:
            return Flip(max(place, start) if upwards else min(place, start), beyond)
    return None


def _both(
    places: list[float], start: float, chosen: str, winner_at: Callable[[float], str | None]
) -> tuple[Flip | None, Flip | None]:
    """The nearest below `start` and the nearest above it: see `_first`."""
    below, above = (_first(places, start, chosen, winner_at, upwards) for upwards in (False, True))
    return below, above


def _spans(places: Iterable[float], low: float, high: float, winner_at: Callable[[float], str | None]) -> list[Span]:
    """All of them between `low` and `high`: between two neighbouring places the winner cannot change."""
    ends = [low, *sorted({place for place in places if low < place < high}), high]
    found: list[Span] = []
    for start, end in pairwise(ends):
        winner = winner_at((start * end) ** 0.5)
        if found and found[-1].winner == winner:
            found[-1] = replace(found[-1], end=end)
        else:
            found.append(Span(start, end, winner))
    return found


def price_flip(all_lines: list[Line], at: Setting, chosen: str) -> Flip | None:
    """USD per hour to which the chosen one's price must rise for it to lose."""
    mine = next(line for line in all_lines if line.name == chosen)
    places, winner_at = _price_places(all_lines, at, mine), _winner_at_price(all_lines, at, mine)
    return _first(places, mine.price_usd_per_hour, chosen, winner_at, upwards=True)


def price_spans(all_lines: list[Line], at: Setting, name: str, low: float, high: float) -> list[Span]:
    """Who wins while that one's price goes from `low` to `high` USD per hour."""
    mine = next(line for line in all_lines if line.name == name)
    return _spans(_price_places(all_lines, at, mine), low, high, _winner_at_price(all_lines, at, mine))


def _price_places(all_lines: list[Line], at: Setting, mine: Line) -> list[float]:
    """Prices at which that one draws level with another, or meets the budget."""
    hours = mine.hours(at.samples)
    billed_h = cost.billed_s(hours * 3600) / 3600
    bills = [at.budget_usd]
    if at.weight > 0:
        values = [at.value(line) for line in all_lines if line is not mine and at.meets(line)]
        bills += [(value / hours ** (1 - at.weight)) ** (1 / at.weight) for value in values]
    return [bill / billed_h - mine.extras_usd_per_hour for bill in bills]


def _winner_at_price(all_lines: list[Line], at: Setting, mine: Line) -> Callable[[float], str | None]:
    def winner_at(price: float) -> str | None:
        return at.winner([replace(line, price_usd_per_hour=price) if line is mine else line for line in all_lines])

    return winner_at


def job_flips(all_lines: list[Line], at: Setting, chosen: str) -> tuple[Flip | None, Flip | None]:
    """Job lengths, in samples, under and over which the chosen one no longer wins."""
    mine = next(line for line in all_lines if line.name == chosen)
    places = _job_places(all_lines, at, mine)

    def winner_at(samples: float) -> str | None:
        return replace(at, samples=samples).winner(all_lines)

    return _both(places, at.samples, chosen, winner_at)


def job_spans(all_lines: list[Line], at: Setting, low: float, high: float) -> list[Span]:
    """Who wins while the job goes from `low` to `high` samples."""
    places = [place for mine in all_lines for place in _job_places(all_lines, at, mine)]
    return _spans(places, low, high, lambda samples: replace(at, samples=samples).winner(all_lines))


def _job_places(all_lines: list[Line], at: Setting, mine: Line) -> list[float]:
    """Job lengths at which that one draws level with another, or one of them meets a limit."""
    places = []
    for line in all_lines:
        billed_h = at.budget_usd / line.hourly_usd
        places += [(limit - line.one_off_h) / line.hours_per_sample for limit in (at.deadline_h, billed_h)]
        mine_w, line_w = mine.hourly_usd**at.weight, line.hourly_usd**at.weight
        slope = mine.hours_per_sample * mine_w - line.hours_per_sample * line_w
        if slope:
            crossing = (line.one_off_h * line_w - mine.one_off_h * mine_w) / slope
            if min(mine.hours(crossing), line.hours(crossing)) * 3600 > MIN_BILLED_S:
                places.append(crossing)
    return places


def deadline_flips(all_lines: list[Line], at: Setting, chosen: str) -> tuple[Flip | None, Flip | None]:
    """Deadlines, in hours, under and over which the chosen one no longer wins."""
    places = [line.hours(at.samples) for line in all_lines]

    def winner_at(deadline_h: float) -> str | None:
        return replace(at, deadline_h=deadline_h).winner(all_lines)

    return _both(places, at.deadline_h, chosen, winner_at)


def budget_flips(all_lines: list[Line], at: Setting, chosen: str) -> tuple[Flip | None, Flip | None]:
    """Budgets, in USD, under and over which the chosen one no longer wins."""
    places = [line.bill_usd(at.samples) for line in all_lines]

    def winner_at(budget_usd: float) -> str | None:
        return replace(at, budget_usd=budget_usd).winner(all_lines)

    return _both(places, at.budget_usd, chosen, winner_at)


def one_off_flips(all_lines: list[Line], at: Setting, chosen: str) -> tuple[Flip | None, Flip | None]:
    """Hours of boot and set-up, where assumed, under and over which the chosen one no longer wins."""
    today = max(line.assumed_h for line in all_lines)
    mine = next(line for line in all_lines if line.name == chosen)
    places = []
    for line in all_lines:
        hours = [one.hours(at.samples) - one.assumed_h for one in (mine, line)]  # all but the assumed
        if line.assumed_h:
            places += [at.deadline_h - hours[1], at.budget_usd / line.hourly_usd - hours[1]]
        weights = [one.hourly_usd**at.weight for one in (mine, line)]
        slopes = [weight if one.assumed_h else 0.0 for weight, one in zip(weights, (mine, line), strict=True)]
        if slopes[0] != slopes[1]:
            places.append((hours[1] * weights[1] - hours[0] * weights[0]) / (slopes[0] - slopes[1]))

    def winner_at(hours: float) -> str | None:
        moved = [replace(one, one_off_h=one.one_off_h - one.assumed_h + hours) for one in all_lines if one.assumed_h]
        return at.winner([*moved, *(one for one in all_lines if not one.assumed_h)])

    near = [place for place in places if today / REACH <= place <= today * REACH]
    return _both(near, today, chosen, winner_at)


# --- what a loser would need ------------------------------------------------------------------------------------


def price_fall_to_win(line: Line, winner: Line, at: Setting) -> float | None:
    """Share of its price (0 to 1) by which a loser must become cheaper to draw level; null: no price would do."""
    hours = line.hours(at.samples)
    if hours > at.deadline_h:
        return None
    bill = at.budget_usd
    if at.value(line) > at.value(winner):
        if at.weight == 0:
            return None
        bill = min(bill, (at.value(winner) / hours ** (1 - at.weight)) ** (1 / at.weight))
    price = bill / (cost.billed_s(hours * 3600) / 3600) - line.extras_usd_per_hour
    return 1 - price / line.price_usd_per_hour if 0 < price < line.price_usd_per_hour else None


def speed_up_to_win(line: Line, winner: Line, at: Setting) -> float | None:
    """Factor by which a loser's training must be faster to draw level within the limits; null: no factor would do."""
    allowed_h = min(at.deadline_h, at.budget_usd / line.hourly_usd, at.value(winner) / line.hourly_usd**at.weight)
    steady_h = allowed_h - line.one_off_h
    if steady_h <= 0 or allowed_h * 3600 < MIN_BILLED_S:
        return None
    factor = at.samples * line.hours_per_sample / steady_h
    return factor if factor > 1 else None
