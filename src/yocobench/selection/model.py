"""What a decision is made from: candidates with their rates and prices, and the terms of the job."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from yocobench.bench.measurement import Source
from yocobench.schema import Frozen, Name, Restrict, UsageClass

Status = Literal["measured", "estimated", "unmeasured", "excluded", "failed"]
PaidBy = Literal["on-demand", "spot", "reserved", "savings-plan"]
PositiveDecimal = Annotated[Decimal, Field(gt=0)]
NonNegativeDecimal = Annotated[Decimal, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Shared(Frozen):
    """A part of an estimate's error that other candidates have too: those with the same key err there together."""

    key: str
    variance_share: float = Field(gt=0, le=1)
    """Of the variance of its logarithm."""


def _no_more_than_all(shared: tuple[Shared, ...]) -> tuple[Shared, ...]:
    if len({one.key for one in shared}) < len(shared) or sum(one.variance_share for one in shared) > 1 + 1e-9:
        raise ValueError("shared: keys must differ, and their shares of the variance be 1 at most in all")
    return shared


SharedParts = Annotated[tuple[Shared, ...], AfterValidator(_no_more_than_all)]


class Rate(Frozen):
    """Training throughput (measured: mean over repeats; estimated: median) and its interval: 95 % or 90 %."""

    samples_per_second: PositiveFloat
    low_samples_per_second: PositiveFloat
    high_samples_per_second: PositiveFloat
    source: Source
    degrees_of_freedom: PositiveInt | None = None
    """Of the t-interval of a measured rate; null: taken as normal."""
    bound_by: str | None = None
    """What limits the speed: compute, memory, launch, host, input."""
    calibrated_on: str | None = None
    """What an estimate was fitted on."""
    shared: SharedParts = ()
    """Of an estimate's error; what is left of it is the candidate's own. Measured rates share nothing."""

    @model_validator(mode="after")
    def _ordered(self) -> Rate:
        low, high = self.low_samples_per_second, self.high_samples_per_second
        if not low <= self.samples_per_second <= high:
            raise ValueError(
                f"samples_per_second ({self.samples_per_second}) lies outside its interval {low} to {high}"
            )
        return self

    @property
    def is_measured(self) -> bool:
        """True where somebody timed it, now or in a recorded run."""
        return self.source in ("measured", "replayed")


class OneOff(Frozen):
    """Seconds paid once per job: boot, set-up, compilation, data. With a 90 % interval."""

    total_s: NonNegative
    low_s: NonNegative
    high_s: NonNegative
    assumed_s: NonNegative = 0.0
    """Of `total_s`: boot and set-up, where no run on the type says it. One figure stands for all such candidates."""
    shared: SharedParts = ()
    """Of the error, for that reason."""

    @model_validator(mode="after")
    def _ordered(self) -> OneOff:
        if not self.low_s <= self.total_s <= self.high_s:
            raise ValueError(f"total_s ({self.total_s}) lies outside its interval {self.low_s} to {self.high_s}")
        return self


class Price(Frozen):
    """What an hour of the instance type costs, where and since when. The band (90 %) is for spot."""

    usd_per_hour: PositiveDecimal
    low_usd_per_hour: PositiveDecimal | None = None
    high_usd_per_hour: PositiveDecimal | None = None
    region: str
    usage_class: UsageClass
    as_of: dt.date
    source: str

    @model_validator(mode="after")
    def _ordered(self) -> Price:
        low, high = self.low_usd_per_hour, self.high_usd_per_hour
        if (low is None) != (high is None):
            raise ValueError("give both of low_usd_per_hour and high_usd_per_hour, or neither")
        if low is not None and high is not None and not low <= self.usd_per_hour <= high:
            raise ValueError(f"usd_per_hour ({self.usd_per_hour}) lies outside its band {low} to {high}")
        return self


class Tariff(Frozen):
    """One way to pay for an instance type: by the hour, or by a promise of years."""

    paid: PaidBy
    price: Price
    """Of an hour in use. Of a promise: its rate with the upfront part spread over all hours of the term."""
    promise: str | None = None
    """What is promised, in words; null: nothing."""
    promise_usd: NonNegativeDecimal | None = None
    """What the promise costs in all, used or not."""


class Candidate(Frozen):
    """One instance type for one workload, with all that is known of it."""

    instance: Name
    workload: Name
    subset: Name
    status: Status
    reason: str = ""
    """Why it has no number, or why it has one and still cannot be chosen."""
    reason_source: str | None = None
    reason_as_of: dt.date | None = None
    rate: Rate | None
    one_off: OneOff
    price: Price | None
    tariffs: tuple[Tariff, ...] = ()
    """All ways to pay for it that the prices know, the one of `price` among them; at most one of each kind."""
    storage_usd_per_hour: NonNegativeDecimal | None
    """EBS volume (cost.storage_usd_per_hour); null: no price is known."""
    public_ipv4_usd_per_hour: NonNegativeDecimal | None = Decimal(0)
    """Public IPv4 address, which a box has in a default VPC; null: no price is known."""
    burst_surcharge_usd_per_hour: NonNegativeDecimal | None = Decimal(0)
    """Surplus CPU credits at full load (cost.burst_surcharge_usd_per_hour); null: burstable, with unknown baseline."""
    is_cpu_only: bool
    can_be_chosen: bool
    """False for this machine itself, and for a run that was not equal work (`reason` says so)."""
    measure_bill_usd: NonNegativeDecimal | None
    """What measuring it would cost; null: unknown."""
    cell_key: str | None
    equal_work: bool | None = None
    """Is its loss curve in the band of the reference precision (equal_work.py)? Null: nothing to compare."""
    energy_j_per_million_samples: NonNegative | None = None
    """Of what is metered on its machine (bench/energy.py); null: nothing is."""
    data_wait_share: NonNegative | None = None
    """Of its timed steps, what waited for the loader; null: not measured."""
    warnings: tuple[str, ...] = ()
    """What to keep in mind about its number."""

    @model_validator(mode="after")
    def _consistent(self) -> Candidate:
        has_number = self.status in ("measured", "estimated")
        if has_number != (self.rate is not None):
            raise ValueError(f"{self.instance}: status {self.status} {'needs a' if has_number else 'has no'} rate")
        if self.rate is not None and self.rate.is_measured != (self.status == "measured"):
            raise ValueError(f"{self.instance}: a rate of source {self.rate.source} is not {self.status}")
        if not has_number and not self.reason:
            raise ValueError(f"{self.instance}: status {self.status} needs a reason")
        return self


class Terms(Frozen):
    """What the user asks: the job, its limits, and what counts as best."""

    job_samples: PositiveFloat
    sample_unit: str
    deadline_h: PositiveFloat | None
    budget_usd: PositiveDecimal | None
    objective: str
    restrict: Restrict
    baseline: Name
    usage_class: UsageClass
    interruption_overhead: NonNegative = 0.0
    """Training time done again after interruptions, as a share of the whole; counted on spot prices only."""


class Background(Frozen):
    """What an answer rests on beside its candidates and terms. Left empty, it says nothing of it."""

    model: str = ""
    """What is trained at which size, as configured."""
    data: str = ""
    """What it is trained on."""
    region: str | None = None
    stale_prices: tuple[str, ...] = ()
    """Instance types whose price is older than the study allows."""
    warnings: tuple[str, ...] = ()
    """What to keep in mind about the whole answer."""
