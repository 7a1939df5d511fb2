"""The decision in markdown: results/decision.md and the README's block."""

from __future__ import annotations

from collections.abc import Sequence

from yocobench.selection import beside, paying, phrases, wording
from yocobench.selection.checked import Checked
from yocobench.selection.decision import Advice, Decision, Row, Unranked
from yocobench.selection.wording import given, listed, number, probability, spread, usd

BEGIN = "<!-- decision:begin -->"
END = "<!-- decision:end -->"
LEGEND = (
    "~ marks an estimate; the brackets hold 90 % intervals. Cost is the whole job's bill: one-off and steady part, "
    "storage, public IPv4 address and CPU credits. Limits hold under every objective."
)
BEST = "Best is the probability of being the best within the limits."
VERDICTS = (
    "Verdicts: measured, the only one that could still win was timed; provisional, one that could still win is only "
    "estimated or has no number; too close, several could still win and all were timed; infeasible, nothing meets the "
    "limits."
)
WORDS = (
    VERDICTS,
    "USD per hour: the price, + storage, public IPv4 address and surplus CPU credits. The sum is the hourly bill; "
    "cost = hours x hourly bill.",
    f"{BEST} Front: no other is at least as good in hours and cost and better in one. Cost ratio: cost over the "
    "baseline's.",
    "Expected regret: what today's choice costs more, on average over what the numbers may turn out to be, than the "
    "choice that then proves best.",
    "Cell: one workload on one subset and one instance type. Receipt: the JSON file with what a run of a cell "
    "measured, under results/receipts/.",
)
"""What the tables and lists call things."""


def assumed(decisions: Sequence[Decision]) -> str:
    """Sentences on boot, set-up and compiling, with a space before; empty where they were measured on every type."""
    seconds = {round(3600 * row.one_off_assumed_h) for one in decisions for row in one.rows if row.can_be_chosen} - {0}
    told = " or ".join(f"{given(one)} s" for one in sorted(seconds))
    if not told:
        return ""
    unrun = any(row.can_be_chosen and row.source == "estimated" for one in decisions for row in one.rows)
    compiling = " So is compiling, on types that were not run." if unrun else ""
    return f" Of the one-off part, boot and set-up are assumed, not measured: {told} (params.yaml).{compiling}"


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


# --- results/decision.md ----------------------------------------------------------------------------------------


def markdown(
    decisions: Sequence[Decision], reproduce: Sequence[str], checks: Sequence[Checked] = (), fits: Sequence[str] = ()
) -> str:
    """One section per workload. `reproduce` holds the commands and versions that lead here, a line each; `checks`
    how the estimates of measured cells turned out; `fits` how well the smaller subsets predicted the largest."""
    parts = ["# Which instance type", "", LEGEND + assumed(decisions), "", *(f"- {line}" for line in WORDS), ""]
    for one in decisions:
        parts += [_section(one), ""]
    if checks:
        parts += ["## Estimates against measurements", "", *(f"- {one.line}" for one in checks), ""]
    if fits:
        parts += ["## From subsets to the job", "", *(f"- {line}" for line in fits), ""]
    parts += ["## How to reproduce", "", "```", *reproduce, "```", ""]
    return "\n".join(parts)


def asked(decision: Decision) -> str:
    """The question: job, rule and limits, and whose prices of when."""
    terms, within = decision.asked, phrases.limits(decision.asked)
    job = wording.samples(terms.job_samples, terms.sample_unit)
    return f"{job}, {terms.objective}{',' if within else ''}{within}, {prices(decision)}"


def prices(decision: Decision) -> str:
    """As in "on-demand in us-east-1, prices of 2026-07-20 (stale)": the oldest one's date."""
    text = decision.asked.usage_class + (f" in {decision.region}" if decision.region else "")
    if decision.prices_as_of is None:
        return text
    return f"{text}, prices of {decision.prices_as_of}{' (stale)' if decision.stale_prices else ''}"


def trained(decision: Decision) -> str:
    """Model and data, as far as they are told."""
    return "; ".join(text for text in (decision.model, decision.data) if text)


def _section(decision: Decision) -> str:
    what = trained(decision)
    parts = [
        f"## {decision.workload}",
        decision.sentence,
        f"Asked: {asked(decision)}." + (f" Trained: {what}." if what else ""),
        _rows(decision),
    ]
    dropped = [*decision.excluded, *decision.unmeasured]
    blocks = [
        ("Without a number", [unranked(one) for one in dropped]),
        ("What would change it", [one.sentence for one in decision.sensitivity]),
        ("Measure next", [advice(one) for one in decision.measure_next]),
        ("Mind", decision.warnings),
    ]
    ways = paying.table(decision)
    if ways:
        told = "\n".join(f"- {line}" for line in paying.notes(decision))
        parts += ["### On-demand, spot and reserved", table(paying.HEADER, ways), told]
    for title, lines in blocks:
        if lines:
            parts += [f"### {title}", "\n".join(f"- {line}" for line in lines)]
    if decision.rows and not decision.measure_next:
        parts += ["### Measure next", no_advice(decision)]
    return "\n\n".join(parts)


def _rows(decision: Decision) -> str:
    if not decision.rows:
        return "No candidate has a number."
    header = ["instance", "source", "hours", "USD per hour", "cost, USD", "speed-up", "cost ratio", "best", "why"]
    body = []
    for row in decision.rows:
        name, source, time, bill, speed, ratio, best, front, why = cells(row, decision)
        body.append([name, source, time, hourly(row), bill, speed, ratio, best + (", front" if front else ""), why])
    for column in beside.columns(decision):  # before the last
        header.insert(-1, column.title)
        for line, value in zip(body, column.values, strict=True):
            line.insert(-1, column.text(value))
    return table(header, body)


def cells(row: Row, decision: Decision) -> tuple[str, ...]:
    """One row of the decision table, as text."""
    mark = wording.mark(row.source)
    baseline = decision.row(decision.asked.baseline)
    against = wording.mark(row.source, baseline.source) if baseline else mark
    name = f"**{row.instance}**" if row.instance == decision.chosen else row.instance
    itself = row is baseline
    is_open = row.could_still_win and not (row.instance == decision.chosen and not decision.too_close_to)
    return (
        name,
        row.source + (f", bound by {row.bound_by}" if row.bound_by else ""),
        spread(mark, row.hours, row.hours_low, row.hours_high),
        spread(mark, row.cost_usd, row.cost_usd_low, row.cost_usd_high),
        "1" if itself else spread(against, row.speed_up, row.speed_up_low, row.speed_up_high),
        "1" if itself else spread(against, row.cost_ratio, row.cost_ratio_low, row.cost_ratio_high),
        "" if row.p_best is None else probability(row.p_best, is_open),
        "yes" if row.on_front else "",
        row.why + _wish(row, decision),
    )


def hourly(row: Row) -> str:
    """Price and what comes on top by the hour, as in "0.526 + 0.0160"; empty without a price."""
    if row.price_usd_per_hour is None or row.hourly_usd is None:
        return ""
    extras = row.hourly_usd - row.price_usd_per_hour
    return f"{row.price_usd_per_hour.normalize():f}" + (f" + {number(float(extras))}" if extras else "")


def _wish(row: Row, decision: Decision) -> str:
    """What would make a loser win."""
    cheaper, faster = row.wins_if_price_falls_percent, row.wins_if_faster_percent
    chosen = decision.row(decision.chosen) if decision.chosen else None
    mark = wording.mark(row.source, *([chosen.source] if chosen else []))
    wishes = [] if cheaper is None else [f"its price were {mark}{number(cheaper)} % lower"]
    wishes += [] if faster is None else [f"it were {mark}{number(faster)} % faster"]
    return f" (level if {' or '.join(wishes)})" if wishes else ""


def unranked(one: Unranked) -> str:
    """Why it has no number, and who says so."""
    origin = ", ".join(part for part in (one.reason_source, one.reason_as_of and f"as of {one.reason_as_of}") if part)
    return f"{one.instance}, {one.status}: {one.reason}{f' ({origin})' if origin else ''}"


def advice(one: Advice) -> str:
    """A measurement, its bill and what it is worth: estimates all, for nobody has made it."""
    bill = "an unknown bill" if one.bill_usd is None else f"~{usd(one.bill_usd)}"
    name = f"{one.instance} and {one.together_with} together" if one.together_with else one.instance
    if one.regret_removed_usd is None:
        return f"{one.instance} for {bill}: it has no number, so what that saves is unknown"
    rate = "" if one.regret_removed_per_usd is None else f", ~{number(one.regret_removed_per_usd)} per dollar"
    return f"{name} for {bill}: removes ~{usd(one.regret_removed_usd)} of expected regret{rate}"


def no_advice(decision: Decision) -> str:
    """Why no measurement is advised. Without a choice one saves nothing, but may show that some type fits."""
    if decision.chosen is not None:
        return "No measurement would save more on this job than it costs."
    hopeful = [row.instance for row in decision.hopeful]
    hopeful += [one.instance for one in decision.unmeasured if one.status == "unmeasured"]
    if hopeful:
        return f"Nothing can be chosen as far as is known; a measurement of {listed(hopeful)} might show otherwise."
    return "Nothing can be chosen, and no measurement is likely to show otherwise."


# --- README -----------------------------------------------------------------------------------------------------


def readme_block(decisions: Sequence[Decision]) -> str:
    """Today's answer, between the markers."""
    header = ("workload", "job", "verdict", "instance", "hours", "cost, USD", "speed-up", "best")
    body, sentences = [], []
    for one in decisions:
        row = one.row(one.chosen) if one.chosen else None
        shown = cells(row, one) if row else ("none", "", "", "", "", "", "")
        job = wording.samples(one.asked.job_samples, one.asked.sample_unit)
        body.append((one.workload, job, one.verdict, shown[0], shown[2], shown[3], shown[4], shown[6]))
        what = trained(one)
        sentences.append(f"- **{one.workload}**{f' ({what})' if what else ''}: {one.sentence}")
    told = "; ".join(dict.fromkeys(prices(one) for one in decisions))
    legend = f"Paid {told}. {LEGEND}{assumed(decisions)} {BEST} {VERDICTS}"
    return "\n".join([BEGIN, table(header, body), "", *sentences, "", legend, END])


def replace_block(readme: str, block: str) -> str:
    """The text with the block between its markers exchanged. Raises ValueError unless there is exactly one pair."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed) or BEGIN in after or END in after or END in before:
        raise ValueError(f"README.md: needs exactly one {BEGIN} and, after it, one {END}; put them back")
    return before + block + after
