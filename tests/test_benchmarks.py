"""`python -m benchmarks`: the common table."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import benchmark_modules

table, results = benchmark_modules.load("__main__"), benchmark_modules.load("results")


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
