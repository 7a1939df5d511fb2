"""Pages, tables and the file. Run: pytest tests/test_selection_report.py"""

import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from selection_cases import DAY, candidate, terms, without_number
from yocobench.selection import documentation, page, report, tables, wording
from yocobench.selection.checked import Checked, Rates
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Advice, DecisionDocument, dump, load
from yocobench.selection.model import Background


@pytest.fixture
def decision():
    return decide_workload(
        [
            candidate("slow", 100, "0.10"),
            candidate("guess", 1000, "1.20", spread=1.5, source="estimated", measure_bill_usd=Decimal("0.01")),
            candidate("local", 200, None, can_be_chosen=False),
            without_number("inf1", "excluded", "cannot train", reason_source="user guide", reason_as_of=DAY),
        ],
        terms(deadline_h=20),
    )


def test_the_file_comes_back_as_it_was_written(decision):
    assert load(dump((decision,))) == (decision,)


def test_energy_has_a_column_only_where_some_machine_meters_it(decision):
    assert "kJ" not in report.markdown((decision,), [])
    metered = decide_workload(
        [candidate("slow", 100, "0.10"), candidate("gpu", 90, "0.10", energy_j_per_million_samples=25_000.0)], terms()
    )
    lines = [line for line in report.markdown((metered,), []).splitlines() if line.startswith("| ")]
    header, gpu, slow = (next(line for line in lines if line.strip("| *").startswith(name)) for name in NAMES)
    assert header.split(" | ")[-2] == "kJ per million images"
    assert gpu.split(" | ")[-2] == "25.0"
    assert slow.split(" | ")[-2] == ""


def test_waiting_for_data_has_a_column_where_it_was_measured(decision):
    assert "waits for data" not in report.markdown((decision,), [])
    rows = [candidate("slow", 100, "0.10"), candidate("gpu", 90, "0.10", data_wait_share=0.125)]
    waiting = decide_workload(rows, terms())
    lines = [line for line in report.markdown((waiting,), []).splitlines() if line.startswith("| ")]
    shown = {line.strip("| *").split(" ")[0].strip("*"): line.split(" | ")[-2] for line in lines}
    assert (shown["instance"], shown["gpu"], shown["slow"]) == ("waits for data, %", "12.5", "")
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(tables.terminal([waiting]))
    assert "waits for data, %" in console.export_text(clear=False)
    assert "12.5" in console.export_text()


NAMES = ("instance", "gpu", "slow")


def test_money_is_written_as_decimal_strings_under_a_named_schema(decision):
    document = json.loads(dump((decision,)))
    assert document["schema"] == "yocobench.decision/2"
    assert document["decisions"][0]["rows"][0]["cost_usd"] == "1.000000"


def test_the_schema_can_be_exported():
    assert set(DecisionDocument.model_json_schema(by_alias=True)["properties"]) == {"schema", "decisions"}


def test_a_file_of_another_schema_is_refused():
    with pytest.raises(ValueError, match=r"decision.json: schema: .*run `dvc repro`"):
        load('{"schema": "yocobench.decision/0", "decisions": []}')


def test_a_file_cut_in_half_is_refused(decision):
    with pytest.raises(ValueError, match="not whole JSON"):
        load(dump((decision,))[:100])


def test_the_documentation_is_true():
    page = Path(__file__).parents[1] / "docs" / "decision.md"
    assert page.read_text() == documentation.page(), (
        "run: python -m yocobench.selection.documentation > docs/decision.md"
    )


def test_every_field_of_the_file_is_described():
    definitions = DecisionDocument.model_json_schema(by_alias=True)["$defs"]
    bare = [
        f"{model}.{name}"
        for model, schema in definitions.items()
        for name, field in schema["properties"].items()
        if "description" not in field
    ]
    assert bare == []


def test_the_page_has_the_sentence_first_then_the_table(decision):
    page = report.markdown([decision], ["dvc repro"])
    assert page.index("## yoco-det") < page.index(decision.sentence) < page.index("| instance |")
    assert "### What would change it" in page
    assert page.endswith("```\ndvc repro\n```\n")


def test_estimates_carry_a_tilde_and_measurements_do_not(decision):
    cells = {row.instance: report.cells(row, decision) for row in decision.rows}
    assert cells["guess"][2].startswith("~1.00 (")
    assert cells["slow"][1] == "measured"
    assert cells["slow"][2] == "10.0"
    assert cells["local"][3] == ""


def test_advice_is_an_estimate_in_every_number():
    known = Advice(instance="guess", bill_usd="0.05", regret_removed_usd=0.379, regret_removed_per_usd=7.58)
    assert report.advice(known) == "guess for ~0.0500 USD: removes ~0.379 USD of expected regret, ~7.58 per dollar"
    blank = Advice(instance="blank", bill_usd="0.05", regret_removed_usd=None, regret_removed_per_usd=None)
    assert report.advice(blank).startswith("blank for ~0.0500 USD: it has no number")


def test_the_page_states_exclusions_with_source_and_date(decision):
    assert "- inf1, excluded: cannot train (user guide, as of 2026-07-20)" in report.markdown([decision], [])


def test_the_page_shows_how_estimates_and_smaller_subsets_turned_out(decision):
    checked = Checked("a", "here", None, "its code is gone")
    page = report.markdown([decision], ["dvc repro"], [checked], ["b: 3.0% off"])
    line = "a on here: not checked: its code is gone"
    assert f"## Estimates against measurements\n\n- {line}\n\n## From subsets to the job\n\n- b: 3.0% off\n" in page
    assert "## From subsets" not in report.markdown([decision], ["dvc repro"])


def test_the_page_says_when_no_measurement_pays():
    page = report.markdown([decide_workload([candidate("slow", 100, "0.10")], terms())], [])
    assert "No measurement would save more on this job than it costs." in page


def test_where_nothing_fits_the_page_does_not_claim_that_no_measurement_pays():
    rows = [
        candidate("slow", 100, "0.10"),  # 10 h
        candidate("guess", 1000, "1.20", spread=1.5, source="estimated"),  # 1 h (0.667 to 1.5)
    ]
    close, far = (decide_workload(rows, terms(deadline_h=hours)) for hours in (0.8, 0.5))
    might = "Nothing can be chosen as far as is known; a measurement of guess might show otherwise."
    never = "Nothing can be chosen, and no measurement is likely to show otherwise."
    for one, told in ((close, might), (far, never)):
        assert report.markdown([one], []).count(f"### Measure next\n\n{told}\n") == 1
        assert f"<p>{told}</p>" in page.html([one], [])


def test_the_page_is_at_most_nine_columns_wide(decision):
    lines = report.markdown([decision], []).splitlines()
    assert max(line.count(" | ") + 1 for line in lines if line.startswith("|")) <= 9


def test_the_pages_say_of_which_job_model_data_region_and_day_the_answer_is():
    told = Background(model="width 0.35", data="data: mine", region="us-east-1", stale_prices=("slow",))
    one = decide_workload([candidate("slow", 100, "0.10")], terms(deadline_h=72.0), told)
    block, page = report.readme_block([one]), report.markdown([one], [])
    assert "| yoco-det | 3.60 million images | measured | **slow** | 10.0 | 1.00 | 1 | 100 % |" in block
    assert "- **yoco-det** (width 0.35; data: mine): slow is the cheapest within 72 h" in block
    assert "Paid on-demand in us-east-1, prices of 2026-07-20 (stale)." in block
    asked = "Asked: 3.60 million images, cheapest, within 72 h, on-demand in us-east-1, prices of 2026-07-20 (stale)."
    assert f"{asked} Trained: width 0.35; data: mine." in page
    untold = decide_workload([candidate("slow", 100, "0.10")], terms())
    assert "Paid on-demand, prices of 2026-07-20. ~ marks" in report.readme_block([untold])


def test_cost_can_be_checked_from_hours_and_the_hourly_bill():
    # 10 h at 0.10 + 0.02 USD/h are 1.20 USD.
    one = decide_workload([candidate("slow", 100, "0.10", storage_usd_per_hour=Decimal("0.02"))], terms())
    assert "| **slow** | measured | 10.0 | 0.1 + 0.0200 | 1.20 | 1 | 1 | 100 %, front |" in report.markdown([one], [])


def test_every_verdict_is_defined_where_it_is_read(decision):
    for word in ("measured", "provisional", "too close", "infeasible"):
        assert f"{word}, " in report.VERDICTS
    assert report.VERDICTS in report.markdown([decision], [])
    assert report.VERDICTS in report.readme_block([decision])


def test_an_estimate_outside_its_interval_is_a_warning_and_one_inside_is_none():
    missed = Checked("yoco-det", "local", Rates(100, 145, 110, 200), "this host", "image")
    assert missed.warning.startswith("checked on local, the estimate was +45 % off, outside its 90 % interval")
    assert "measured 100.0 images/s, ~145.0 estimated" in missed.line
    assert Checked("yoco-det", "local", Rates(120, 145, 110, 200), "this host").warning == ""
    assert Checked("yoco-det", "local", None, "gone").warning == ""


def test_long_percentages_are_grouped():
    assert wording.percent(16.19) == "1,619 %"


def test_a_number_that_was_asked_for_has_no_digits_that_nobody_gave():
    assert [wording.given(value) for value in (72.0, 1.5, 0.25, 1000)] == ["72", "1.50", "0.250", "1,000"]


def test_the_readme_block_replaces_itself(decision):
    block = report.readme_block([decision])
    old = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.replace_block(old, block)
    assert once == f"before\n{block}\nafter\n"
    assert report.replace_block(once, block) == once


@pytest.mark.parametrize(
    "readme", ["none", report.BEGIN, f"{report.END}{report.BEGIN}", 2 * (report.BEGIN + report.END)]
)
def test_a_readme_without_one_pair_of_markers_is_refused(readme):
    with pytest.raises(ValueError, match="needs exactly one"):
        report.replace_block(readme, "block")


def test_the_terminal_table_has_every_candidate(decision):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(tables.terminal([decision]))
    text = console.export_text()
    assert all(name in text for name in ("slow", "guess", "local", "inf1", "Provisional"))


def test_the_terminal_says_what_was_asked(decision):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tables.terminal([decision]))
    said = "Asked: 3.60 million images, cheapest, within 20 h, on-demand, prices of 2026-07-20."
    assert said in console.export_text()


def test_the_readme_block_has_a_line_where_nothing_meets_the_limits():
    none = decide_workload([candidate("slow", 100, "0.10")], terms(deadline_h=1.0))
    assert "| yoco-det | 3.60 million images | infeasible | none |  |  |  |  |" in report.readme_block([none])


def test_the_terminal_says_what_to_keep_in_mind(decision):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tables.terminal([decision.model_copy(update={"warnings": ("local: others took 81 % of the CPU",)})]))
    assert "Mind: local: others took 81 % of the CPU" in console.export_text()


def test_metrics_are_small_and_flat(decision):
    values = tables.metrics([decision])["yoco-det"]
    assert (values["verdict"], values["chosen"], values["cost_usd"], values["hours"]) == (
        "provisional",
        "slow",
        1.0,
        10.0,
    )


def test_plots_have_a_line_per_number_and_leave_the_unknown_empty(decision):
    lines = tables.plots_csv([decision]).splitlines()
    assert lines[0] == "workload,instance,source,hours,hours_low,hours_high,cost_usd,cost_low_usd,cost_high_usd"
    assert lines[1] == "yoco-det,slow,measured,10.0,10.0,10.0,1.000000,1.000000,1.000000"
    assert lines[3] == "yoco-det,local,measured,5.0,5.0,5.0,,,"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (72.0, "72.0"),
        (1, "1.00"),
        (99.96, "100"),
        (3.5555, "3.56"),
        (0.00417, "0.00417"),
        (1234.5, "1,234"),
        (0.00001, "1.0e-05"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 %"), (0.004, "under 1 %"), (0.5, "50 %"), (0.9999, "over 99 %"), (1.0, "100 %")]
)
def test_probabilities_are_not_rounded_to_certainty(value, text):
    assert wording.probability(value) == text
    open_ends = {0.0: "under 1 %", 1.0: "over 99 %"}
    assert wording.probability(value, is_open=True) == open_ends.get(value, text)


def test_long_job_lengths_are_words():
    assert wording.samples(7.2e6, "image") == "7.20 million images"
    assert wording.samples(1e9, "token") == "1 billion tokens"
    assert wording.samples(343_123, "image") == "343,000 images"
    assert wording.samples(999_999_999, "token") == "1 billion tokens"
    assert wording.samples(999_999, "image") == "1 million images"
    assert wording.samples(1, "image") == "1 image"


def test_long_lists_end_in_a_count():
    assert wording.listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 others"
    assert wording.listed(["a", "b"]) == "a and b"
    assert wording.listed(["a"]) == "a"
