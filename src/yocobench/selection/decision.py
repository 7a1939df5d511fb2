"""The decision as written to results/decision.json. Field descriptions below are what docs/decision.md prints."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Literal

from pydantic import Field, ValidationError

from yocobench.bench.measurement import Source
from yocobench.paths import first_fault
from yocobench.schema import UsageClass
from yocobench.selection.bills import Bills
from yocobench.selection.described import Described
from yocobench.selection.model import Status
from yocobench.selection.wording import ESTIMATES

SCHEMA: Literal["yocobench.decision/2"] = "yocobench.decision/2"
"""1 had no `bills`; it is still read."""
Verdict = Literal["measured", "provisional", "too_close", "infeasible"]


class Row(Described):
    """One candidate that has a number. Intervals hold 90 %."""

    rank: int | None
    """1 is best; equal candidates share a rank; null: it cannot be chosen."""
    instance: str
    """Instance type."""
    source: Source
    """Where the rate comes from. `estimated` and `extrapolated` numbers carry a leading ~ in tables."""
    samples_per_second: float
    """Training throughput: where it was measured, the mean of the repeats' rates (once their step times
    had settled); of an estimate, its median."""
    samples_per_second_low: float | None = None
    """Lower end of its interval; null in a file of schema 1."""
    samples_per_second_high: float | None = None
    """Upper end of its interval."""
    one_off_h: float
    """Boot, set-up, compilation and data, paid once per job."""
    one_off_assumed_h: float = 0.0
    """Of it, boot and set-up as assumed (params.yaml: assume), since no run on the type measured them."""
    steady_h: float
    """Training itself, interruptions on spot included."""
    hours: float
    """Wall time of the whole job."""
    hours_low: float
    """Lower end of its interval."""
    hours_high: float
    """Upper end of its interval."""
    price_usd_per_hour: Decimal | None
    """Price of the instance; null: unknown."""
    hourly_usd: Decimal | None
    """Hourly bill: the price with storage, a public IPv4 address and surplus CPU credits; cost = hours x this."""
    price_as_of: dt.date | None
    """Date of the price."""
    price_source: str | None
    """Where the price was read, with region and usage class."""
    cost_usd: Decimal | None
    """Bill for the whole job, at `hourly_usd`; null: no price."""
    cost_usd_low: Decimal | None
    """Lower end of its interval."""
    cost_usd_high: Decimal | None
    """Upper end of its interval."""
    bills: Bills | None = None
    """The bill under every way to pay; null in a file of schema 1."""
    speed_up: float | None
    """Baseline's hours over this one's; null: the baseline has no number."""
    speed_up_low: float | None
    """Lower end of its interval."""
    speed_up_high: float | None
    """Upper end of its interval."""
    cost_ratio: float | None
    """This one's cost over the baseline's; null: one of them has none."""
    cost_ratio_low: float | None
    """Lower end of its interval."""
    cost_ratio_high: float | None
    """Upper end of its interval."""
    breakeven_samples: float | None
    """Job length from which it costs less than the baseline; 0: always; null: never, or unknown."""
    can_be_chosen: bool
    """False for this machine itself, without a price, without equal work, or left out by `restrict`."""
    equal_work: bool | None
    """Its loss curve stays in the band of the reference precision; null: it is that itself, or nothing to compare."""
    meets_limits: bool
    """Within deadline and budget at the medians."""
    p_meets_limits: float | None
    """Probability of that; null: it cannot be chosen."""
    could_still_win: bool
    """Its best case within the limits is no worse than the worst case of each candidate sure to meet them."""
    p_best: float | None
    """Probability of being the best that meets the limits; null: it cannot be chosen."""
    expected_regret_usd: float | None
    """Expected loss of choosing it; for `cheapest` only."""
    expected_regret_h: float | None
    """Expected loss of choosing it; for `fastest` only."""
    expected_regret_percent: float | None
    """The same as a share of the chosen one's objective; null: it cannot be chosen."""
    on_front: bool
    """No other that can be chosen is at least as good in hours and cost and better in one, at the medians."""
    p_on_front: float | None
    """Probability of that; null: it cannot be chosen."""
    wins_if_price_falls_percent: float | None
    """Price cut at which it draws level with the chosen one; null: no cut would do, or it is chosen."""
    wins_if_faster_percent: float | None
    """Gain in throughput at which it draws level; null: no gain would do, or it is chosen."""
    energy_j_per_million_samples: float | None = None
    """Energy of the metered parts of its machine; null: none is metered, or it was not measured."""
    data_wait_share: float | None = None
    """Share of its steps' time that waited for the loader; null: it was not measured."""
    bound_by: str | None
    """What limits its speed."""
    calibrated_on: str | None
    """What its estimate was fitted on."""
    why: str
    """Why it won or lost, in words."""


class Unranked(Described):
    """A candidate without a number."""

    instance: str
    """Instance type."""
    status: Status
    """excluded, failed or unmeasured."""
    reason: str
    """Why it has no number."""
    reason_source: str | None
    """Who says so."""
    reason_as_of: dt.date | None
    """Since when, or when it was read."""


class Advice(Described):
    """A measurement to make next."""

    instance: str
    """Instance type."""
    together_with: str | None = None
    """Another one to measure as well, whose error it shares: neither alone is worth its bill; null: none."""
    bill_usd: Decimal | None
    """What measuring it (or both) would cost; null: unknown."""
    regret_removed_usd: float | None
    """Expected loss that knowing its true rate (or both) would save on this job; null: it has no estimate."""
    regret_removed_per_usd: float | None
    """The one over the other; the list is sorted by it."""


class Sensitivity(Described):
    """A place where the winner changes, solved in closed form."""

    kind: Literal["price", "job", "one_off", "deadline", "budget"]
    """What changes: the chosen one's price, a term of the job, or boot and set-up where they are assumed."""
    direction: Literal["above", "below"]
    """On which side of `at` the chosen one no longer wins."""
    at: float
    """In `unit`."""
    unit: str
    """USD per hour, the workload's sample unit, s, h or USD."""
    change_percent: float | None
    """From today's value; null: today there is no such limit."""
    winner: str | None
    """Who wins there; null: nobody."""
    sentence: str
    """The same in words."""


class NearestMiss(Described):
    """The candidate that comes closest to the limits."""

    instance: str
    """Instance type."""
    over_percent: float
    """By how much it misses the limit that it misses most."""
    sentence: str
    """The same in words."""


class Asked(Described):
    """The terms that the decision answers."""

    job_samples: float
    """Length of the job."""
    sample_unit: str
    """What a sample is."""
    deadline_h: float | None
    """Hours at most; null: no deadline."""
    budget_usd: Decimal | None
    """USD at most; null: no budget."""
    objective: str
    """cheapest, fastest or balanced."""
    baseline: str
    """What speed-up and cost ratio are stated against."""
    usage_class: UsageClass
    """on-demand or spot."""
    interruption_overhead: float
    """Share of training done again after interruptions; counted on spot prices only."""
    cpu_only: bool
    """Only CPU types may be chosen."""
    instances: tuple[str, ...]
    """Only these may be chosen; empty: all."""


class Decision(Described):
    """Which instance type for one workload, why, how sure, and what would change the answer."""

    workload: str
    """What is trained."""
    verdict: Verdict
    """`measured`: only one could still win, and it was timed. `too_close`: several could, and all were timed.
    `provisional`: one that could still win is only estimated, or has no number. `infeasible`: nothing meets the
    limits."""
    sentence: str
    """The answer in words."""
    chosen: str | None
    """The answer; null: nothing meets the limits, or nothing has a number yet."""
    probability_best: float | None
    """That the chosen one is the best; null without one."""
    sources: tuple[Source, ...]
    """Sources of the numbers of those that could still win. `replayed`: from recorded runs, not measured now."""
    too_close_to: tuple[str, ...]
    """Others that could still win."""
    cheaper_to_live_with: str | None
    """Of those and the chosen one, the least to pay by the hour: an hour of debugging or idling costs less."""
    asked: Asked
    """The terms."""
    model: str = ""
    """What is trained at which size, as configured; empty: not recorded, as in an older file."""
    data: str = ""
    """What it was trained on; empty: not recorded."""
    region: str | None = None
    """Whose prices these are; null: not recorded."""
    stale_prices: tuple[str, ...] = ()
    """Instance types whose price is older than `price_stale_after_days`."""
    rows: tuple[Row, ...]
    """Candidates with a number, best first."""
    excluded: tuple[Unranked, ...]
    """Candidates that cannot do it, or failed."""
    unmeasured: tuple[Unranked, ...]
    """Candidates without any number."""
    nearest_miss: NearestMiss | None
    """When nothing meets the limits."""
    sensitivity: tuple[Sensitivity, ...]
    """What would change the answer."""
    measure_next: tuple[Advice, ...]
    """What to measure, best value first; empty: no measurement is worth its bill, or nothing fits."""
    warnings: tuple[str, ...]
    """What to keep in mind."""

    def row(self, instance: str) -> Row | None:
        """The row of that instance, if it has one."""
        return next((row for row in self.rows if row.instance == instance), None)

    @property
    def hopeful(self) -> list[Row]:
        """Those that are only estimated and could still win, best first."""
        return [row for row in self.rows if row.could_still_win and row.source in ESTIMATES]

    @property
    def prices_as_of(self) -> dt.date | None:
        """Date of the oldest price; None without any."""
        return min((row.price_as_of for row in self.rows if row.price_as_of is not None), default=None)


class DecisionDocument(Described):
    """results/decision.json."""

    schema_id: Literal["yocobench.decision/2", "yocobench.decision/1"] = Field(default=SCHEMA, alias="schema")
    """Name and version of this layout."""
    decisions: tuple[Decision, ...]
    """One per workload."""


def dump(decisions: tuple[Decision, ...]) -> str:
    """The text of results/decision.json. Money is written as decimal strings."""
    return DecisionDocument(decisions=decisions).model_dump_json(by_alias=True, indent=1) + "\n"


def line(decisions: tuple[Decision, ...]) -> str:
    """The same on one line, for scripts."""
    return DecisionDocument(decisions=decisions).model_dump_json(by_alias=True)


def load(text: str, name: str = "results/decision.json") -> tuple[Decision, ...]:
    """Read it back. Raises ValueError naming the first wrong field and what to do."""
    try:
        return DecisionDocument.model_validate(json.loads(text)).decisions
    except ValidationError as error:
        raise ValueError(f"{name}: {first_fault(error)}; run `dvc repro` to write it again") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}: not whole JSON ({error}); run `dvc repro` to write it again") from None
