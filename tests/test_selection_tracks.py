"""The terminal's chart, character by character."""

from __future__ import annotations

import io

from rich.console import Console

from selection_cases import candidate, terms, without_number
from yocobench.selection import tables, tracks
from yocobench.selection.decide import decide_workload
from yocobench.selection.tracks import Axis, Track


def test_an_interval_lies_on_a_logarithmic_axis_with_its_limit():
    # Of 1 to 10000, 10 is a quarter of the way, 100 half, 1000 three quarters: characters 3, 6 and 9 of 0 to 12.
    axis = Axis(1, 10_000, 10_000)
    assert Track(10, 100, 1000, True, axis).drawn(13, False) == "   ───●───  :"
    assert Track(10, 100, 1000, False, axis).drawn(13, True) == "   ---o---  :"


def test_a_limit_beyond_the_axis_is_not_drawn_and_a_single_value_stands_in_the_middle():
    assert Track(10, 10, 10, True, Axis(10, 10, 99)).drawn(5, False) == "  ●  "


def test_the_terminal_shows_time_and_cost_of_everyone_with_a_bill():
    # slow: 100 h, 10 USD; fast: 10 h, 20 USD. The axes run from 10 to 100 h and from 10 to 20 USD.
    case = [candidate("slow", 10, "0.1"), candidate("fast", 100, "2"), candidate("here", 5, None, can_be_chosen=False)]
    decision = decide_workload([*case, without_number("old", "excluded", "retired")], terms())
    out = io.StringIO()
    Console(file=out, width=120).print(tables.terminal([decision]))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["time,", "10.0", "to", "100", "h", "cost,", "10.0", "to", "20.0", "USD"] in lines
    assert ["slow", "●", "●"] in lines
    assert ["fast", "●", "●"] in lines
    assert tracks.chart(decide_workload([without_number("old", "excluded", "retired")], terms())) is None
