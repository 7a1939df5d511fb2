"""What the detector's benchmark holds to its target, by hand."""

from __future__ import annotations

import pytest

from benchmark_modules import load

detector = load("detector")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_with_and_without_bf16_the_last_compiled_mode_has_a_target(precision):
    modes = [mode for mode in detector.MODES if precision == "bf16" or "fp32" in mode]
    rows = detector.judged({mode: 10.0 + 5 * number for number, mode in enumerate(modes)})
    assert [row.what for row in rows] == modes[1:]
    assert rows[-1].what == f"ours compiled {precision}"
    # Against 10 images/s of the untuned model: the last of seven modes has 40, of the four in fp32 25.
    assert modes[0] == "torch default fp32"
    assert (rows[-1].ratio, rows[-1].met) == ((4.0, True) if precision == "bf16" else (2.5, True))
    assert {row.met for row in rows[:-1]} == {None}
    assert detector.judged({"torch": 10.0, "ours": 20.0})[-1].met is True
    assert detector.judged({"torch": 10.0, "ours": 19.9})[-1].met is False
