"""results/decision.html: what it says, and that it needs nothing but itself. In a browser: test_page_browser.py."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from selection_cases import candidate, terms, without_number
from yocobench.selection import page
from yocobench.selection.checked import Checked, Rates
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.model import OneOff
from yocobench.selection.page import chart, palette


class Reader(HTMLParser):
    """Collects the text outside of scripts and styles, ids, and addresses that a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.silent = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self.silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.silent = False

    def handle_data(self, text: str) -> None:
        if not self.silent:
            self.words.append(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


CHECKED = Checked("yoco-det", "slow", Rates(100, 120, 60, 240), "this host")


@pytest.fixture(scope="module")
def decision() -> Decision:
    """3.6 million images: slow 100 h and 10 USD, quick 11 h (one of them set-up) and 22 USD, guess 5 h and 10.1 USD."""
    hour = OneOff(total_s=3600, low_s=3600, high_s=3600)
    return decide_workload(
        [
            candidate("slow", 10, "0.1"),
            candidate("quick", 100, "2", one_off=hour, source="replayed", data_wait_share=0.125),
            candidate("guess", 200, "2.02", spread=1.5, source="estimated"),
            candidate("here", 50, None, can_be_chosen=False, reason="this <machine>"),
            without_number("old", "excluded", "retired </script><b>", reason_source="AWS"),
        ],
        terms(deadline_h=200.0, budget_usd=50, job_samples=3_600_000),
    )


@pytest.fixture(scope="module")
def text(decision: Decision) -> str:
    return page.html([decision], ["make decide", "prices of yesterday"], [CHECKED], ["fits line"])


@pytest.fixture(scope="module")
def read(text: str) -> Reader:
    return Reader(text)


def test_the_answer_stands_first_with_verdict_bill_time_and_baseline(read, decision):
    assert decision.chosen == "slow"
    start = read.text[: read.text.index("Time against cost")]
    assert decision.sentence in start
    assert "likely to be the best" in start
    assert "Bill 10.0 USD, whole job Time 100 hours Speed-up 1 times slow Saving 0 % of slow's bill" in start


def test_no_line_ends_between_a_number_and_its_per_cent(text, read, decision):
    assert "10\u00a0% over; see <code>50\u00a0%</code>, a % b" in page.html(
        [decision.model_copy(update={"warnings": ("10 % over; see `50 %`, a % b",)})], []
    )
    assert not [words for words in read.words if re.search(r"\d %", words)]
    assert "90&nbsp;% intervals" in text


def test_commands_in_warnings_are_code(decision):
    text = page.html([decision.model_copy(update={"warnings": ("old < new; `make ui` shows it",)})], [])
    assert "<li>old &lt; new; <code>make ui</code> shows it" in text


def test_each_candidate_has_its_hand_computed_numbers(read):
    # quick: 3.6e6 / 100 per second = 10 h, and 1 h before that; 11 h at 2 USD. guess: 5 h at 2.02 USD.
    assert "quick replayed 100 11.0 22.0 9.09" in read.text
    assert re.search(r"guess estimated ~200 133 to 300 ~5\.00 3\.3\d to 7\.[45]\d ~10\.1 ", read.text)
    assert "here measured 50.0 20.0" in read.text
    assert "this <machine>" in read.text


def test_what_waits_for_data_has_a_column_that_sorts(read, text):
    assert "best waits for data, % why" in read.text
    assert '<td data-key="12.5">12.5</td>' in text


def test_estimates_carry_a_tilde_and_timed_numbers_do_not(read):
    assert "~10.1" in read.text
    assert "~11.0 " not in read.text
    assert "~22.0 " not in read.text


def test_the_bill_is_split_by_time(read):
    # quick: 1 of 11 h is set-up: 2 of 22 USD, 9.1 %.
    assert "quick 1.00 2.00 USD 10.0 20.00 USD 9.1 %" in read.text


def test_the_share_of_the_one_off_part_is_as_sure_as_its_hours(read):
    # guess has no one-off part: 0 of its ~5 h. quick was timed: 1 h of 11.
    assert re.search(r"guess ~0 ~0 USD ~5\.00 ~10\.10 USD ~0\.0 %", read.text)
    assert re.search(r"quick 1\.00 2\.00 USD 10\.0 20\.00 USD 9\.1 %", read.text)


def test_what_would_change_it_and_what_to_measure_next_are_there(read, decision):
    assert decision.sensitivity
    for change in decision.sensitivity:
        assert change.sentence in read.text
    assert decision.measure_next
    assert "guess for ~0.100 USD: removes ~" in read.text


def test_exclusions_prices_checks_and_commands_are_there(read):
    assert "old, excluded: retired </script><b> (AWS)" in read.text
    assert "slow 0.1 0.100000 2026-07-20 price list (us-east-1, on-demand)" in read.text
    assert "yoco-det on slow: measured 100.0 samples/s, ~120.0 estimated without it (+20 %), inside" in read.text
    assert "From subsets to the job fits line" in read.text
    assert "How to reproduce make decide prices of yesterday" in read.text


def test_the_page_loads_nothing_from_anywhere(read, text):
    addresses = [
        value
        for _, attributes in read.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "poster") and value
    ]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses), addresses
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    [policy] = [one["content"] for tag, one in read.elements if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_the_script_names_no_address_but_those_that_only_name_things(text):
    names = {"http://www.w3.org", "https://vega.github.io", "https://github.com"}  # name spaces, schemas, messages
    assert {found[0] for found in re.finditer(r"https?://[\w.-]+", text)} <= names


def test_what_a_reason_says_cannot_end_a_script(text):
    assert text.count("</script>") == 4
    assert "</script><b>" not in text


def test_every_chart_has_a_text_alternative(read):
    plots = [one for _, one in read.elements if one.get("role") == "img"]
    assert [plot["id"] for plot in plots] == ["chart-0", "job-0", "price-0", "parts-0", "checks"]
    named = {one["id"] for _, one in read.elements if "id" in one}
    for plot in plots:
        assert {plot["aria-labelledby"], plot["aria-describedby"]} <= named
    words = "slow is chosen. On the Pareto front, fastest first: guess ~5.00 h, ~10.10 USD; slow 100 h, 10.00 USD."
    assert words in read.text
    assert "Not drawn, without a price: here." in read.text
    assert "Excluded: old (reasons below)." in read.text


def test_every_control_has_a_name(read):
    labelled = {one["for"] for tag, one in read.elements if tag == "label"}
    for tag, one in read.elements:
        if tag in ("input", "select"):
            assert one.get("aria-label") or one["id"] in labelled
    ids = [one["id"] for _, one in read.elements if "id" in one]
    assert len(ids) == len(set(ids))


def test_the_sliders_get_the_medians(decision):
    live = page.live(decision)
    assert [row["instance"] for row in live["rows"]] == ["slow", "guess", "quick"]
    quick = live["rows"][2]
    assert quick["one_off_h"] == 1
    assert quick["hours_per_sample"] * 3_600_000 == pytest.approx(10)
    assert quick["hourly_usd"] == 2
    assert live["job_field"] == "job.images"
    json.dumps(live, allow_nan=False)


def test_the_chart_tells_sources_apart_by_shape_and_by_fill(decision):
    marks = next(layer for layer in chart.layers()["layer"] if "shape" in layer["encoding"])["encoding"]
    assert len(set(marks["shape"]["scale"]["range"])) == 4
    fills = dict(zip(marks["fill"]["scale"]["domain"], marks["fill"]["scale"]["range"], strict=True))
    assert {name for name, fill in fills.items() if fill == "var(--paper)"} == {"estimated", "extrapolated"}
    assert [point["instance"] for point in chart.points(decision)] == ["guess", "quick", "slow"]
    assert chart.limits(decision)["deadline"] == [{"hours": 200.0, "text": "deadline 200 h"}]


def test_the_picture_names_the_answer_and_has_real_colours(decision):
    picture = chart.svg([decision])
    for word in ("yoco-det: slow (provisional)", "deadline 200 h", "budget 50.00 USD", "guess"):
        assert word in picture
    assert "var(" not in picture
    assert palette.LIGHT["chosen"] in picture


def test_without_any_number_there_is_a_page_and_a_picture_that_say_so():
    nothing = decide_workload([without_number("old", "excluded", "retired")], terms(baseline="old"))
    read = Reader(page.html([nothing], []))
    assert "No candidate has a number." in read.text
    assert "there is nothing to draw" in read.text
    assert "there is nothing to draw" in chart.svg([nothing])


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_wcag_does():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_in_both_themes(theme):
    for ground in (theme["paper"], theme["card"]):
        for name in ("ink", "muted", "link", "limit"):
            assert contrast(theme[name], ground) >= 4.5, name
        for name in (*chart.SOURCES, "chosen", "front"):
            assert contrast(theme[name], ground) >= 3, name
    for name in (*palette.SERIES, "chosen", "muted"):
        assert contrast(theme[name], theme["paper"]) >= 4.5, f"names stand on {name} in the colour of the paper"


def test_both_themes_name_the_same_colours():
    assert palette.LIGHT.keys() == palette.DARK.keys()
    assert palette.resolve("var(--ink)", palette.DARK) == palette.DARK["ink"]
