"""results/decision.html: one file that answers the question, offline, on screens and on paper.

`html` fills page.html with a decision's own numbers and inlines the style sheet, the script and Vega-Lite, which draws
the chart. Vega-Lite comes whole (900 kB) out of vl-convert-python: no Node, no network, and the same package draws
decision.svg. It is a fifth of Plotly's script. The page's own policy (CSP) forbids it to load anything.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from yocobench.selection import beside, paying, report, wording
from yocobench.selection.checked import Checked
from yocobench.selection.decision import Decision, Row
from yocobench.selection.objectives import OBJECTIVES
from yocobench.selection.page import chart, labels, palette, pictures, strips
from yocobench.selection.wording import spread

JOB_FIELD = {"token": "job.tokens", "image": "job.images", "sample": "job.samples"}
"""The override that sets the job's length, by sample unit."""


def html(
    decisions: Sequence[Decision], reproduce: Sequence[str], checks: Sequence[Checked] = (), fits: Sequence[str] = ()
) -> str:
    """The text of results/decision.html. `reproduce`, `checks` and `fits` as in report.markdown."""
    environment = Environment(
        loader=PackageLoader("yocobench.selection", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=wording.number,
        hours=wording.hours,
        usd=wording.usd,
        probability=wording.probability,
        percent=wording.percent,
    )
    return environment.get_template("page.html").render(
        decisions=decisions,
        reproduce=reproduce,
        checks=[one.line for one in checks],
        fits=fits,
        view=View(),
        words=report.WORDS,
        assumed=report.assumed(decisions),
        objectives=list(OBJECTIVES),
        css=_style(),
        data=_json([live(one) for one in decisions]),
        pictures=_json(_pictures(decisions, checks)),
        vega=_inline(_vega()),
        script=_inline(_file("page.js")),
    )


def _unbroken(value: Any) -> Any:
    """What the template shows: no line ends between a number and its %. Markup is a macro's, or no prose at all."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", value)


def live(decision: Decision) -> dict[str, Any]:
    """What page.js computes with: medians and terms, and the chart."""
    asked = decision.asked
    rows = [
        {
            "instance": row.instance,
            "source": row.source,
            "one_off_h": row.one_off_h,
            "hours_per_sample": row.steady_h / asked.job_samples,
            "hourly_usd": float(row.hourly_usd),
        }
        for row in decision.rows
        if row.can_be_chosen and row.hourly_usd is not None
    ]
    return {
        "workload": decision.workload,
        "rows": rows,
        "job_samples": asked.job_samples,
        "sample_unit": asked.sample_unit,
        "job_field": JOB_FIELD[asked.sample_unit],
        "deadline_h": asked.deadline_h,
        "budget_usd": None if asked.budget_usd is None else float(asked.budget_usd),
        "objective": asked.objective,
        "objectives": {
            one.name: {"cost_weight": float(one.cost_weight), "superlative": one.superlative}
            for one in OBJECTIVES.values()
        },
        "baseline": asked.baseline,
        "labels": {**labels.NUMBERS, "far": chart.FAR},
        "spec": chart.live(decision),
    }


def _pictures(decisions: Sequence[Decision], checks: Sequence[Checked]) -> dict[str, Any]:
    """The smaller charts, by the id of the element that holds each."""
    drawn: dict[str, Any] = {"checks": pictures.checks(checks)}
    for i, one in enumerate(decisions):
        drawn |= {f"job-{i}": strips.winner_by_job(one), f"price-{i}": strips.winner_by_price(one)}
        drawn |= {f"parts-{i}": pictures.parts(one)}
    return {name: spec for name, spec in drawn.items() if spec is not None}


class View:
    """What the template says about a decision beyond its fields."""

    def cells(self, row: Row, decision: Decision) -> tuple[str, ...]:
        """The texts of decision.md's table, its markup left out."""
        return tuple(text.replace("**", "") for text in report.cells(row, decision))

    def columns(self, decision: Decision) -> list[beside.Column]:
        """Columns that only some decisions have."""
        return beside.columns(decision)

    def rate(self, row: Row) -> str:
        """Throughput with its interval; without one in an older file."""
        low, high = row.samples_per_second_low, row.samples_per_second_high
        known = low is not None and high is not None
        return spread(
            wording.mark(row.source), row.samples_per_second, *((low, high) if known else 2 * (row.samples_per_second,))
        )

    def saved(self, row: Row) -> float | None:
        """What the column of savings is sorted by."""
        return None if row.cost_ratio is None else 1 - row.cost_ratio

    def saving(self, row: Row, decision: Decision) -> str:
        """Share of the baseline's bill that is saved, in percent, with its interval; below 0 it costs more."""
        ratios = (row.cost_ratio, row.cost_ratio_high, row.cost_ratio_low)
        baseline = decision.row(decision.asked.baseline)
        if None in ratios or baseline is None:
            return ""
        return spread(wording.mark(row.source, baseline.source), *(100 * (1 - (ratio or 0)) for ratio in ratios))

    def marked(self, row: Row, text: str) -> str:
        """With ~ where it is an estimate."""
        return wording.mark(row.source) + text

    def asked(self, decision: Decision) -> str:
        """The question."""
        return report.asked(decision)

    def trained(self, decision: Decision) -> str:
        """Model and data."""
        return report.trained(decision)

    def share(self, row: Row) -> float:
        """Of the one-off part in the whole, 0 to 1."""
        return row.one_off_h / row.hours if row.hours else 0.0

    def part_usd(self, row: Row, hours: float) -> str:
        """That part's share of the bill; empty without a price."""
        if row.cost_usd is None or not row.hours:
            return ""
        return self.marked(row, wording.usd(float(row.cost_usd) * hours / row.hours))

    def ways(self, decision: Decision) -> list[list[tuple[str, str]]]:
        """Each candidate's bill under each way to pay: what is shown, and what it is sorted by."""
        lines = zip(paying.table(decision), paying.numbers(decision), strict=True)
        return [[(text[0], ""), *zip(text[1:], map(self.sort_key, values), strict=True)] for text, values in lines]

    def ways_header(self) -> tuple[str, ...]:
        """Their columns."""
        return paying.HEADER

    def ways_notes(self, decision: Decision) -> list[str]:
        """What goes with them."""
        return paying.notes(decision)

    def undrawn(self, decision: Decision) -> list[str]:
        """Candidates with a number that the chart cannot place: they have no price."""
        return [row.instance for row in decision.rows if row.cost_usd is None]

    def first(self, decision: Decision) -> int:
        """How many bills the chart of their parts shows."""
        return min(chart.MOST_ROWS, len(strips.lines(decision)))

    def job_words(self, decision: Decision) -> str:
        """Who wins at which job length; empty where nothing can be chosen."""
        return strips.job_words(decision) if strips.job_spans(decision) else ""

    def price_words(self, decision: Decision) -> list[str]:
        """Who wins at which price, a line for each price that decides."""
        return strips.price_words(decision)

    def unranked(self, decision: Decision) -> list[str]:
        """Candidates without a number, with the reason."""
        return [report.unranked(one) for one in (*decision.excluded, *decision.unmeasured)]

    def advice(self, decision: Decision) -> list[str]:
        """What to measure next, with its bill."""
        return [report.advice(one) for one in decision.measure_next]

    def no_advice(self, decision: Decision) -> str:
        """Why there is none."""
        return report.no_advice(decision)

    def sort_key(self, value: float | Decimal | None) -> str:
        """What a column is sorted by; unknown goes last."""
        return "" if value is None else repr(float(value))

    def alternative(self, decision: Decision) -> str:
        """The chart in words."""
        front = [row for row in decision.rows if row.on_front]
        if not front:
            return "No candidate that can be chosen has a number: there is nothing to draw."
        named = [
            f"{row.instance} {self.marked(row, wording.hours(row.hours))}, "
            f"{self.marked(row, wording.usd(row.cost_usd or 0))}"
            for row in sorted(front, key=lambda row: row.hours)
        ]
        word = f"{decision.chosen} is chosen" if decision.chosen else "nothing meets the limits"
        asked = f"Time against cost of the whole job, as asked: {word}."
        return f"{asked} On the Pareto front, fastest first: {'; '.join(named)}."


def _style() -> str:
    """The style sheet with the palettes filled in."""
    text = _file("page.css")
    return text.replace("/*light*/", palette.css(palette.LIGHT)).replace("/*dark*/", palette.css(palette.DARK))


def _json(value: Any) -> str:
    """For a script element: nothing in it can close the element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _inline(script: str) -> str:
    """For a script element. `<\\/` means the same in every string and pattern of JavaScript."""
    return script.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")


def _file(name: str) -> str:
    return resources.files("yocobench.selection.page").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script. Takes a second or two."""
    import vl_convert  # 30 MB of renderer: only when a page is asked for

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
