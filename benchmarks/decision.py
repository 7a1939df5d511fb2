"""How good is the rule? Regret and money spent measuring, on run times that others published.

    python -m benchmarks.decision            # half a minute of one core; prints markdown

Each table holds one number per (job, machine): the truth. The rule starts with one measurement (the machine that is
the cheapest by the hour), estimates the others from the other jobs of the table (`Estimator` below; jobs of the same
model are left out), measures what `measure_next` says, and stops when it says nothing. It is set against three habits.
Regret: cost of the job on the chosen machine over the cheapest one, less 1. Bill: money spent measuring, as a share of
measuring every machine. `total` adds the bill to the regret, over the cheapest job.

Target: 5 % regret at half the bill. Reached on 2026-11-23: CherryPick (5 jobs, up to 72 clusters) 0.0 % at 40.9 % of
the bill; Gavel (19 jobs, 3 GPUs) 1.0 % on average, 16.2 % at worst, at 64.4 % of the bill: more than half. Among three
machines there is little to leave out, and few other models to estimate from. Advice stops where the expected gain falls
below the bill. If it had to be 1.5 or 2 times the bill, Gavel would stand at 1.0 % and 43.6 %; at 3 times, at 34 % and
26 %. We stay at break-even: a margin so near a cliff would be one fitted to this table.

The rule can use what estimates share. `Estimator` below states nothing of it; tried on 2026-11-24 with the mean
correlation of its errors over the other jobs (0.7 at first, less with each measurement), bill and regret were the same.

What is not covered: measurement noise (a table has one number a cell), boot times, and prices of today.
"""

from __future__ import annotations

import csv
import datetime as dt
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from yocobench.schema import Restrict
from yocobench.selection.decide import decide_workload
from yocobench.selection.model import Candidate, OneOff, Price, Rate, Terms
from yocobench.selection.report import table

DATA = Path(__file__).parent / "data"
DAY = dt.date(2026, 11, 23)
GAVEL_USD_PER_HOUR = {"K80": 0.52, "P100": 1.68, "V100": 2.85}
"""normalized_throughput_per_cost.ipynb of the same repository."""
GAVEL_JOB_H, GAVEL_MEASURE_H = 10.0, 0.1
"""Length of a job on the K80, and of a measurement on any GPU."""
CHERRYPICK_RUNS = 100
"""Recurring jobs: what is chosen runs so often; a measurement is one run to the end."""


@dataclass
class Task:
    """A job to place: hours and hourly price per machine, and what measuring each would cost."""

    name: str
    family: str
    hours: dict[str, float]
    usd_per_hour: dict[str, float]
    bill_usd: dict[str, float]

    def cost(self, machine: str) -> float:
        return self.hours[machine] * self.usd_per_hour[machine]

    def best(self) -> float:
        return min(self.cost(machine) for machine in self.hours)


@dataclass
class Outcome:
    regrets: list[float] = field(default_factory=list)
    bills: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)


def read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def gavel() -> list[Task]:
    rates: dict[tuple[str, str], dict[str, float]] = {}
    for row in read("choice_gavel.csv"):
        rates.setdefault((row["model"], row["batch"]), {})[row["gpu"]] = float(row["samples_per_second"])
    tasks = []
    for (model, batch), found in rates.items():
        if "K80" not in found:
            continue
        hours = {gpu: GAVEL_JOB_H * found["K80"] / rate for gpu, rate in found.items()}
        bills = {gpu: GAVEL_MEASURE_H * GAVEL_USD_PER_HOUR[gpu] for gpu in found}
        tasks.append(Task(f"{model}-{batch or 'x'}", model, hours, GAVEL_USD_PER_HOUR, bills))
    return tasks


def cherrypick() -> list[Task]:
    tasks: dict[str, Task] = {}
    for row in read("choice_cherrypick.csv"):
        task = tasks.setdefault(row["workload"], Task(row["workload"], row["workload"], {}, {}, {}))
        hours, usd = float(row["time_s"]) / 3600, float(row["usd_per_hour"])
        task.hours[row["cluster"]] = CHERRYPICK_RUNS * hours
        task.usd_per_hour[row["cluster"]] = usd
        task.bill_usd[row["cluster"]] = hours * usd
    return list(tasks.values())


class Estimator:
    """Hours of one job on a machine not measured: log hours = job + machine + error, fitted on the other jobs.

    The machine's part is its mean over the other jobs, each taken against the machines measured for this job; the
    error's width is the spread that the other jobs show about such means, with a t-interval.
    """

    def __init__(self, others: list[Task]) -> None:
        self.others = [{name: float(np.log(hours)) for name, hours in task.hours.items()} for task in others]

    def estimate(self, machine: str, measured: dict[str, float]) -> tuple[float, float] | None:
        """Median hours, and the factor from it to the end of the 90 % interval; null where no other job knows it."""
        gaps = []
        for other in self.others:
            anchors = [name for name in measured if name in other]
            if machine in other and anchors:
                gaps.append(float(np.mean([other[machine] - other[name] + np.log(measured[name]) for name in anchors])))
        if len(gaps) < 2:
            return None
        width = np.std(gaps, ddof=1) * np.sqrt(1 + 1 / len(gaps)) * student.ppf(0.95, len(gaps) - 1)
        return float(np.exp(np.mean(gaps))), float(np.exp(width))


def candidates(task: Task, estimator: Estimator, measured: dict[str, float]) -> list[Candidate]:
    made = []
    for machine, usd in ((machine, task.usd_per_hour[machine]) for machine in task.hours):
        found = (measured[machine], 1.0) if machine in measured else estimator.estimate(machine, measured)
        status, reason, rate = "unmeasured", "no other job ran on it", None
        if found:
            hours, factor = found
            status, source = ("measured", "measured") if machine in measured else ("estimated", "estimated")
            rate = Rate.model_validate(
                {
                    "samples_per_second": 1 / hours,
                    "low_samples_per_second": 1 / hours / factor,
                    "high_samples_per_second": 1 / hours * factor,
                    "source": source,
                }
            )
        price = Price(
            usd_per_hour=Decimal(str(usd)), region="-", usage_class="on-demand", as_of=DAY, source="the table's"
        )
        made.append(
            Candidate.model_validate(
                {
                    "instance": machine,
                    "workload": task.name,
                    "subset": "full",
                    "status": status,
                    "reason": reason,
                    "rate": rate,
                    "one_off": OneOff(total_s=0, low_s=0, high_s=0),
                    "price": price,
                    "storage_usd_per_hour": Decimal(0),
                    "is_cpu_only": False,
                    "can_be_chosen": True,
                    "measure_bill_usd": Decimal(str(task.bill_usd[machine])),
                    "cell_key": None,
                }
            )
        )
    return made


TERMS = Terms(
    job_samples=3600, sample_unit="sample", deadline_h=None, budget_usd=None, objective="cheapest", restrict=Restrict(),
    baseline="none", usage_class="on-demand",
)  # fmt: skip
Choice = tuple[str, set[str]]
"""The machine chosen, and those measured on the way."""


def by_rule(task: Task, others: list[Task], most: int | None = None) -> Choice:
    """Measure what is advised until nothing is; `most`: at most so many machines."""
    estimator = Estimator(others)
    first = cheapest_per_hour(task, others)[0]
    measured = {first: task.hours[first]}
    while True:
        decision = decide_workload(candidates(task, estimator, measured), TERMS)
        advice = [one.instance for one in decision.measure_next if one.regret_removed_usd is not None]
        if not advice or (most is not None and len(measured) >= most):
            assert decision.chosen is not None
            return decision.chosen, set(measured)
        measured[advice[0]] = task.hours[advice[0]]


def cheapest_per_hour(task: Task, _others: list[Task]) -> Choice:
    return min(task.hours, key=lambda machine: (task.usd_per_hour[machine], machine)), set()


def fastest(task: Task, _others: list[Task]) -> Choice:
    return min(task.hours, key=lambda machine: task.hours[machine]), set()


def measure_everything(task: Task, _others: list[Task]) -> Choice:
    return min(task.hours, key=task.cost), set(task.hours)


RULES: dict[str, Callable[[Task, list[Task]], Choice]] = {
    "always the fastest (told which)": fastest,
    "always the cheapest per hour": cheapest_per_hour,
    "measure everything": measure_everything,
    "one measurement and estimates": lambda task, others: by_rule(task, others, most=1),
    "the rule": by_rule,
}


def judge(tasks: list[Task], rule: Callable[[Task, list[Task]], Choice]) -> Outcome:
    outcome = Outcome()
    for task in tasks:
        others = [other for other in tasks if other.family != task.family]
        chosen, measured = rule(task, others)
        bill = sum(task.bill_usd[machine] for machine in measured)
        outcome.regrets.append(task.cost(chosen) / task.best() - 1)
        outcome.bills.append(bill / sum(task.bill_usd.values()))
        outcome.totals.append((task.cost(chosen) + bill) / task.best() - 1)
    return outcome


def main() -> None:
    percent = "{:.1f} %".format
    for title, tasks in (("Gavel", gavel()), ("CherryPick", cherrypick())):
        machines = max(len(task.hours) for task in tasks)
        print(f"\n{title}: {len(tasks)} jobs, up to {machines} machines\n")
        body = []
        for name, rule in RULES.items():
            got = judge(tasks, rule)
            regrets, bills = [100 * one for one in got.regrets], [100 * one for one in got.bills]
            total = 100 * statistics.mean(got.totals)
            shown = (statistics.mean(regrets), statistics.median(regrets), max(regrets), statistics.mean(bills), total)
            body.append((name, *map(percent, shown)))
        print(table(("rule", "mean regret", "median", "worst", "bill", "total"), body))


if __name__ == "__main__":
    main()
