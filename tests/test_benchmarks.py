"""`python -m benchmarks`: the common table."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import benchmark_modules

table, results = benchmark_modules.load("__main__"), benchmark_modules.load("results")
memory = benchmark_modules.load("memory")


def test_a_benchmark_that_cannot_run_is_a_line_and_the_others_still_run(monkeypatch, capsys):
    def refused():
        raise ValueError("data/text/manifest.json does not exist")

    row = results.Result("what", "12 images/s", "10 images/s", 1.2, "at least 1.0", True)
    monkeypatch.setitem(sys.modules, "benchmarks.memory", SimpleNamespace(results=refused))
    monkeypatch.setitem(sys.modules, "benchmarks.loader", SimpleNamespace(results=lambda: [row]))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "memory", "loader"])
    assert table.main() == 2
    told = capsys.readouterr()
    assert "memory: data/text/manifest.json does not exist\n" in told.err
    assert "12 images/s" in told.out
    monkeypatch.setattr(sys, "argv", ["benchmarks", "loader"])
    assert table.main() == 0


def test_predicted_memory_is_held_against_the_median_run():
    """1,648 MiB against 1,610: 2.4 % more; against the lowest of the three it would be 18.9 %."""
    found = memory.row("yoco-det", 1648 * 2**20, [1386 * 2**20, 1695 * 2**20, 1610 * 2**20])
    assert (round(found.ratio, 3), found.met) == (1.024, True)
    assert found.against == "1,610 MiB measured (1,386 to 1,695)"
    assert memory.row("yoco-det", 1780 * 2**20, [1610 * 2**20] * 3).met is False  # 10.6 %
