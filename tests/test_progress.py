"""What a running cell shows where there is no terminal, and in which words."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest
from rich.console import Console

from yocobench import progress as shown
from yocobench.progress import Reporter, Screen
from yocobench.telling import BoxState, Progress


def lines(*reports: Progress, terminal: bool = False) -> list[str]:
    out = io.StringIO()
    with Reporter("toy-smoke-local", "token", Console(file=out, force_terminal=terminal, width=60)) as report:
        for one in reports:
            report(one)
    return out.getvalue().splitlines()


def test_without_a_terminal_each_phase_of_each_repeat_is_one_line():
    seen = lines(
        Progress("setup", 0, 2),
        *(Progress("warm-up", 0, 2, step=step) for step in range(3)),
        *(Progress("measure", 0, 2, step=step) for step in range(100)),
        Progress("setup", 1, 2),
        Progress("measure", 1, 2),
    )
    assert seen == [
        "toy-smoke-local: repeat 1 of 2, setup",
        "toy-smoke-local: repeat 1 of 2, warm-up",
        "toy-smoke-local: repeat 1 of 2, measure",
        "toy-smoke-local: repeat 2 of 2, setup",
        "toy-smoke-local: repeat 2 of 2, measure",
    ]


def test_a_long_phase_speaks_again_after_a_while(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    report = Reporter("cell", "token", Console(file=out, force_terminal=False))
    for now[0] in (100.0, 114.0, 115.0, 129.0, 130.0):
        report(Progress("measure", 0, 1, samples_per_second=now[0]))
    assert [line.split(", ")[-1] for line in out.getvalue().splitlines()] == [
        "100 tokens/s",
        "115 tokens/s",
        "130 tokens/s",
    ]


def test_a_long_line_is_not_folded():
    [line] = lines(Progress("waiting for a box to give a sign of life", 0, 3, samples_per_second=1.0, remaining_s=2.0))
    assert len(line) > 60


def test_a_terminal_gets_a_bar_and_no_lines():
    seen = "\n".join(lines(Progress("setup", 0, 2), Progress("measure", 1, 2, fraction=0.5), terminal=True))
    assert "toy-smoke-local: repeat" not in seen
    assert "75%" in seen  # one repeat of two and half of the other


def test_a_report_in_words_has_the_rate_in_its_unit_and_the_time_left_where_known():
    assert Progress("boot", 0, 3).text("image") == "repeat 1 of 3, boot"
    full = Progress("measure", 2, 3, step=5, fraction=0.5, samples_per_second=1234.6, remaining_s=12.4)
    assert full.text("image") == "repeat 3 of 3, measure, 1,235 images/s, 12 s left in this repeat at most"


def test_nothing_is_shown_before_the_first_report():
    assert lines() == []


BOX = BoxState(zone="us-east-1c", alive_s=93.4, usd=0.0128, worst_usd=0.06)


def test_money_stands_behind_what_a_box_tells():
    assert Progress("boot", 0, 3, box=BOX).text("image") == "repeat 1 of 3, boot, 0.013 of at most 0.06 USD"


def test_a_terminal_shows_one_row_a_box_and_their_sum_and_lines_above():
    out = io.StringIO()
    with Screen(Console(file=out, force_terminal=True, width=120)) as screen:
        screen.show("toy-smoke-a", "image", Progress("measure", 0, 1, samples_per_second=1234.5, box=BOX))
        screen.show("toy-smoke-b", "image", Progress("asking for a box", 0, 1))
        screen.say("a line that stays [as it is]")
        rows = [[cell.strip() for cell in column.cells] for column in screen.table().columns]
        screen.gone("toy-smoke-a")
        left = list(screen.table().columns[0].cells)
    assert rows == [
        ["toy-smoke-a", "toy-smoke-b", "all"],
        ["us-east-1c", "", ""],
        ["measure", "asking for a box", ""],
        ["1,234 images/s", "", ""],
        ["93", "", ""],
        ["0.013", "", "0.013"],
        ["0.06", "", "0.06"],
    ]
    assert left == ["toy-smoke-b", "all"]
    assert "a line that stays [as it is]" in out.getvalue()
    assert "toy-smoke-b" in out.getvalue()


def test_without_a_terminal_boxes_take_turns_line_by_line():
    out = io.StringIO()
    with Screen(Console(file=out, force_terminal=False)) as screen:
        for name in ("a", "b", "a"):
            screen.show(name, "image", Progress("measure", 0, 1))
    assert out.getvalue().splitlines() == ["a: repeat 1 of 1, measure", "b: repeat 1 of 1, measure"]


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_a_listener_that_is_gone_ends_no_measurement(monkeypatch, number):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(number, os.strerror(number))

        def flush(self):
            self.write("")

    monkeypatch.setattr(sys, "stderr", Gone())
    with Reporter("toy-smoke-local", "token") as report, Screen() as screen:
        report(Progress("setup", 0, 2))
        screen.say("a line")
    shown.console().print("measured")
