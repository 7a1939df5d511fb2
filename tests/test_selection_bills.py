"""On-demand, spot, reserved and Savings Plan side by side, by hand. Run: pytest tests/test_selection_bills.py"""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from rich.console import Console

from selection_cases import candidate, price, terms
from yocobench.selection import page, paying, report, tables
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision, dump, load
from yocobench.selection.model import Tariff

# 3.6 million images at 1000 per second: 1 h on-demand, 1.25 h on spot.
TARIFFS = (
    Tariff(paid="on-demand", price=price("1.00")),
    Tariff(paid="spot", price=price("0.40", "spot")),
    Tariff(
        paid="reserved", price=price("0.60"), promise="1 year, standard, No Upfront", promise_usd=Decimal("5256")
    ),
)  # fmt: skip


@pytest.fixture
def decision() -> Decision:
    known = candidate("slow", 1000, "1.00", tariffs=TARIFFS, storage_usd_per_hour=Decimal("0.10"))
    guess = candidate("guess", 500, "1.00", source="estimated", tariffs=TARIFFS[:1])
    return decide_workload([known, guess], terms(interruption_overhead=0.25))


def test_each_way_to_pay_has_its_bill_and_the_unknown_one_is_null(decision):
    row = decision.row("slow")
    assert row is not None
    assert row.bills is not None
    on_demand, spot, reserved = row.bills.on_demand, row.bills.spot, row.bills.reserved
    assert on_demand is not None
    assert spot is not None
    assert reserved is not None
    assert (on_demand.hours, on_demand.cost_usd) == (1.0, Decimal("1.1"))
    assert on_demand.cost_usd == row.cost_usd
    assert (spot.hours, spot.cost_usd) == (1.25, Decimal("0.625"))  # 1.25 h at 0.40 and 0.10 of storage
    assert (reserved.hours, reserved.cost_usd) == (1.0, Decimal("0.7"))
    assert (reserved.promise_usd, reserved.pays_from_busy_share) == (Decimal(5256), 0.6)
    assert row.bills.savings_plan is None


def test_the_table_has_a_column_for_each_way_and_says_what_is_unknown(decision):
    assert paying.table(decision) == [
        ("slow", "1.10", "0.625", "0.700", "unknown"),
        ("guess", "~2.00", "unknown", "unknown", "unknown"),
    ]
    missing, spot, reserved = paying.notes(decision)
    assert missing.startswith("Prices not on file for the region: Savings Plan. With AWS")
    assert "25 % of the training is done again" in spot
    assert reserved == (
        "slow reserved, 1 year, standard, No Upfront: the job's share of 5,256.00 USD, owed in all, used or not; "
        "pays where 60 % of the hours are busy."
    )


def test_the_pages_and_the_terminal_show_them(decision):
    line = "| slow | 1.10 | 0.625 | 0.700 | unknown |"
    assert f"### On-demand, spot and reserved\n\n{paying_header()}\n" in (text := report.markdown([decision], []))
    assert line in text
    assert "<h3>On-demand, spot and reserved</h3>" in page.html([decision], [])
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(tables.terminal([decision]))
    rows = [" ".join(row.replace("│", " ").split()) for row in console.export_text().splitlines()]
    assert "slow 1.10 0.625 0.700 unknown" in rows


def paying_header() -> str:
    return "| instance | on-demand, USD | spot, USD | reserved, USD | Savings Plan, USD |"


def test_a_machine_that_nobody_rents_does_not_say_which_prices_are_missing():
    here = candidate("local", 1000, None, can_be_chosen=False)
    assert paying.notes(decide_workload([here], terms())) == []
    priced = candidate("slow", 1000, "1.00", tariffs=TARIFFS)
    assert paying.notes(decide_workload([here, priced], terms())) == paying.notes(decide_workload([priced], terms()))


def test_where_nothing_else_is_priced_the_terminal_says_how_to_learn_it():
    one = decide_workload([candidate("slow", 1000, "1.00", tariffs=TARIFFS[:1])], terms())
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(tables.terminal([one]))
    text = console.export_text()
    assert "Prices not on file for the region: spot, reserved and Savings Plan." in text
    assert "the same bill on-demand" not in text


def test_a_file_of_schema_1_is_read_as_knowing_no_other_way():
    old = dump((decide_workload([candidate("slow", 1000, "1.00")], terms()),))
    written = old.replace("decision/2", "decision/1")
    [read] = load(written)
    assert read.chosen == "slow"
    assert paying.table(read) == []
