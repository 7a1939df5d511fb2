"""What bounds an estimate, and what is assumed, is told where the answer is read.

Run: pytest tests/test_selection_bound.py
"""

from selection_cases import candidate, rate, terms
from yocobench.selection import page, report, wording
from yocobench.selection.decide import decide_workload
from yocobench.selection.model import OneOff


def loading(name, usd, bound_by=wording.DECODING, **more):
    known = rate(1000, 2.0, "estimated").model_copy(update={"bound_by": bound_by})
    return candidate(name, 1000, usd, source="estimated", **({"rate": known} | more))


def test_the_page_says_what_bounds_an_estimate_and_warns_where_that_is_the_boxes_cpu():
    found = decide_workload([loading("a", "1.00"), loading("b", "1.10"), candidate("slow", 1, "1.00")], terms())
    assert report.cells(found.row("a"), found)[1] == "estimated, bound by decoding images on the CPU"
    assert report.cells(found.row("slow"), found)[1] == "measured"
    said = "all that could still win are bound by decoding images on the CPU: the CPUs of these types are compared"
    assert f"- {said}, not their accelerators" in report.markdown([found], [])
    assert "bound by decoding images on the CPU</span>" in page.html([found], [])
    mixed = decide_workload([loading("a", "1.00"), loading("b", "1.10", "arithmetic")], terms(baseline="a"))
    assert mixed.warnings == ()


def test_the_legend_says_that_boot_and_set_up_are_assumed_unless_they_were_measured():
    known = decide_workload([candidate("slow", 1, "1.00")], terms())
    assert "assumed" not in report.markdown([known], [])
    start = OneOff(total_s=420, low_s=300, high_s=600, assumed_s=300)
    guess = decide_workload([loading("a", "1.00", one_off=start)], terms())
    told = "Of the one-off part, boot and set-up are assumed, not measured: 300 s (params.yaml)."
    for text in (report.markdown([guess], []), report.readme_block([guess]), page.html([guess], [])):
        assert told in text
        assert f"{told} So is compiling, on types that were not run." in text
    run = decide_workload([candidate("slow", 1, "1.00", one_off=start)], terms())
    assert told in report.markdown([run], [])
    assert "compiling" not in report.markdown([run], [])
