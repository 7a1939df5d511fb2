"""What a running cell shows where there is no terminal, and in which words."""

from __future__ import annotations

import io

from rich.console import Console

from yocobench import progress as shown
from yocobench.launchers.base import Progress
from yocobench.progress import Reporter


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
    report = Reporter("cell", "image", Console(file=io.StringIO()))
    assert report.describe(Progress("boot", 0, 3)) == "repeat 1 of 3, boot"
    full = Progress("measure", 2, 3, step=5, fraction=0.5, samples_per_second=1234.6, remaining_s=12.4)
    assert report.describe(full) == "repeat 3 of 3, measure, 1,235 images/s, 12 s left in this repeat at most"


def test_nothing_is_shown_before_the_first_report():
    assert lines() == []
