"""results/decision.html in headless Chromium: quiet, alone, sortable, its sliders decide as decide_workload does."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest
from PIL import Image

import browser as chromium
from selection_cases import candidate, terms, without_number
from yocobench.selection import page
from yocobench.selection.checked import Checked, Rates
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.model import Candidate, OneOff
from yocobench.selection.page import chart
from yocobench.selection.wording import number

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (chromium.CHROMIUM.exists() and chromium.DRIVER.exists()), reason=chromium.MISSING),
]
WIDTHS_PX = (1100, 390)
SET = """
const form = document.getElementById("whatif-0");
for (const [name, value] of Object.entries(arguments[0])) {
  const field = form.querySelector(`[data-term="${name}"]`);
  field.value = value;
  field.dispatchEvent(new Event("input", {bubbles: true}));
}
return {...form.dataset, says: form.querySelector("output").textContent,
        order: [...form.querySelectorAll("li")].map((li) => li.textContent.split(":")[0])};
"""


CHECKED = Checked("yoco-det", "slow", Rates(10, 12, 6, 24), "this host")


def case() -> list[Candidate]:
    set_up = OneOff(total_s=1800, low_s=1000, high_s=4000)
    return [
        candidate("slow", 10, "0.1"),
        candidate("quick", 100, "2", one_off=set_up, source="replayed"),
        candidate("quicker", 300, "7.5", one_off=set_up, source="estimated", spread=1.5),
        candidate("guess", 200, "2.02", source="estimated", spread=1.5, storage_usd_per_hour=Decimal("0.010959")),
        candidate("twin", 200, "2.02", source="extrapolated", storage_usd_per_hour=Decimal("0.010959")),
        candidate("here", 50, None, can_be_chosen=False, reason="this machine"),
        without_number("old", "excluded", "retired"),
    ]


def decided(**more: Any) -> Decision:
    return decide_workload(case(), terms(**({"deadline_h": 200.0, "budget_usd": Decimal(50)} | more)))


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    place = tmp_path_factory.mktemp("page") / "decision.html"
    place.write_text(page.html([decided()], ["make decide"], [CHECKED]), encoding="utf-8")
    with chromium.browser() as opened:
        opened.address = place.as_uri()
        yield opened


@pytest.fixture
def shown(window: chromium.Browser) -> chromium.Browser:
    window.look(WIDTHS_PX[0], "light")
    window.open(window.address)
    return window


def test_nothing_is_asked_for_and_the_console_is_quiet(window):
    window.look(WIDTHS_PX[0], "light")
    window.complaints(), window.requests()
    window.open(window.address)
    assert window.requests() == [window.address]
    assert window.complaints() == []


SETTINGS = [
    {"samples": 3_600_000, "deadline": 200.0, "budget": Decimal(50), "objective": "cheapest"},
    {"samples": 3_600_000, "deadline": 8.0, "budget": None, "objective": "cheapest"},
    {"samples": 72_000_000, "deadline": None, "budget": Decimal("390.5"), "objective": "fastest"},
    {"samples": 50, "deadline": None, "budget": None, "objective": "balanced"},
    {"samples": 3_600_000_000, "deadline": None, "budget": None, "objective": "fastest"},
    {"samples": 500, "deadline": None, "budget": None, "objective": "cheapest"},
    {"samples": 1e9, "deadline": 2.0, "budget": Decimal(1), "objective": "balanced"},
]


@pytest.mark.parametrize("asked", SETTINGS, ids=str)
def test_the_sliders_give_the_answer_that_python_gives(shown, asked):
    python = decided(
        job_samples=asked["samples"],
        deadline_h=asked["deadline"],
        budget_usd=asked["budget"],
        objective=asked["objective"],
    )
    there = shown.run(SET, {name: "" if value is None else str(value) for name, value in asked.items()})
    assert there["order"] == [row.instance for row in python.rows if row.can_be_chosen]
    assert there["chosen"] == (python.chosen or "")
    if python.chosen is None:
        assert python.nearest_miss is not None
        assert f"{python.nearest_miss.instance} comes closest" in there["says"]
        return
    row = python.row(python.chosen)
    assert row is not None
    assert float(there["hours"]) == pytest.approx(row.hours, rel=1e-12)
    assert float(there["cost"]) == pytest.approx(float(row.cost_usd or 0), rel=1e-6, abs=1e-6)


def test_the_settings_cover_several_answers():
    answers = {
        decided(
            **{
                "job_samples": a["samples"],
                "deadline_h": a["deadline"],
                "budget_usd": a["budget"],
                "objective": a["objective"],
            }
        ).chosen
        for a in SETTINGS
    }
    assert answers == {"slow", "guess", "quicker", None}
    assert None in answers


def test_a_slider_moves_its_field_the_chart_and_the_command(shown):
    moved = shown.run("""
        const form = document.getElementById("whatif-0"), slider = form.querySelector('[data-slides="samples"]');
        const before = document.querySelector("#chart-0 svg").innerHTML;
        slider.value = 1000;
        slider.dispatchEvent(new Event("input", {bubbles: true}));
        return [form.querySelector('[data-term="samples"]').value, form.querySelector("code").textContent, before];
    """)
    assert moved[0] == "3600000000"
    assert moved[1].startswith("python -m yocobench.compare objective=cheapest job.images=3600000000 job.deadline")
    shown.devtools("Runtime.evaluate", expression="new Promise((done) => setTimeout(done, 300))", awaitPromise=True)
    assert shown.run('return document.querySelector("#chart-0 svg").innerHTML') != moved[2]
    assert shown.run('document.querySelector("[data-reset]").click(); return arguments.length') == 0
    assert shown.run('return document.getElementById("whatif-0").dataset.chosen') == "slow"
    assert shown.complaints() == []


def test_a_column_sorts_by_number_with_the_unknown_last(shown):
    order = """
        const table = document.querySelector("table");
        [...table.querySelectorAll("thead button")].find((b) => b.textContent === "cost, USD").click();
        return [...table.tBodies[0].rows].map((row) => row.cells[1].textContent.split(" ")[0]);
    """
    assert shown.run(order) == ["slow", "guess", "twin", "quick", "quicker", "here"]
    assert shown.run(order) == ["quicker", "quick", "guess", "twin", "slow", "here"]
    assert shown.run('return document.querySelector("th[aria-sort]").ariaSort') == "descending"


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_its_window_in_both_themes(window, width_px, theme):
    window.look(width_px, theme)
    window.open(window.address)
    assert window.run("return document.documentElement.scrollWidth") == width_px
    chart_px = window.run('return document.querySelector("#chart-0 svg").getBoundingClientRect().width')
    assert 250 < chart_px <= width_px
    picture = Image.open(io.BytesIO(window.screenshot())).convert("L")
    assert picture.width == width_px
    assert (picture.getpixel((2, 2)) < 60) == (theme == "dark")


def test_the_reasons_are_in_sight_on_a_laptop(window):
    window.look(1280, "light")
    window.open(window.address)
    hidden_px = 'const box = document.querySelector(".scroll"); return box.scrollWidth - box.clientWidth'
    assert window.run(hidden_px) == 0


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_every_chart_is_drawn_within_its_window(window, width_px):
    window.look(width_px, "light")
    window.open(window.address)
    widths = window.run("""
        const width = (one) => one.querySelector("svg").getBoundingClientRect().width;
        return Object.fromEntries([...document.querySelectorAll("[role=img]")].map((one) => [one.id, width(one)]));
    """)
    assert set(widths) == {"chart-0", "job-0", "price-0", "parts-0", "checks"}
    assert all(250 < width <= width_px for width in widths.values()), widths
    names = window.run('return [...document.querySelectorAll("#job-0 text")].map((text) => text.textContent)')
    assert {"slow", "as asked", "length of the job, images"} <= set(names)
    assert window.complaints() == []


def test_the_button_changes_the_theme_and_paper_is_always_light(shown):
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert shown.run(ground) == "rgb(255, 255, 255)"
    assert shown.run('document.getElementById("theme").click(); ' + ground) == "rgb(20, 23, 27)"
    shown.look(WIDTHS_PX[0], "dark", "print")
    assert shown.run(ground) == "rgb(255, 255, 255)"


def test_what_an_estimate_misses_a_limit_by_is_an_estimate(shown):
    say = """
        const row = { instance: "x", source: arguments[0], one_off_h: 0, hours_per_sample: 1, hourly_usd: 1 };
        const terms = { samples: 6, deadline: 5, budget: Infinity, cost_weight: 1 };
        return sentence(decide({ rows: [row] }, terms), terms, "");
    """  # 6 h of 5 h
    said = "Nothing fits within 5 h. x comes closest, "
    assert shown.run(say, "estimated") == f"{said}~20\u00a0% over: ~6.00 h, ~6.00 USD."
    assert shown.run(say, "measured") == f"{said}20\u00a0% over: 6.00 h, 6.00 USD."


def test_labels_and_limits_stand_where_python_puts_them(shown):
    say = """
        const data = JSON.parse(document.getElementById("data").textContent)[0];
        const bare = data.spec.datasets.points.map(({ dx, dy, align, ...rest }) => rest);
        const drawn = limits(data, bare, { deadline: arguments[0], budget: arguments[1] });
        return { points: place(bare, drawn, data.labels, 640, 360), ...drawn };
    """
    assert shown.run(say, 200.0, 50.0) == json.loads(json.dumps(chart.data(decided())))
    for deadline, budget in ((8.0, 3.0), (1e6, 1e-3), (None, None)):
        found = shown.run(say, deadline, budget)
        asked = {"deadline_h": deadline, "budget_usd": None if budget is None else Decimal(str(budget))}
        expected = chart.data(decided(**asked))
        assert all(found[name] == expected[name] for name in ("deadline", "budget", "beyond"))


def test_numbers_read_as_in_python(shown):
    for value, text in ((0.9724, "0.972"), (7.0, "7.00"), (0, "0"), (1.5, "1.50"), (12345.6, "12,346"), (99.97, "100")):
        assert shown.run("return number(arguments[0])", value) == number(value) == text


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(window, theme, width_px):
    """axe-core checks names, roles and contrast as drawn; the wheel axe-core-python carries it (extra `dev`)."""
    window.look(width_px, theme)
    window.open(window.address)
    window.run(resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = window.devtools("Runtime.evaluate", expression="axe.run()", awaitPromise=True, returnByValue=True)
    result = found["result"]["value"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in result["violations"]] == []
    assert {"color-contrast", "label", "svg-img-alt", "button-name"} & {one["id"] for one in result["passes"]}
