"""A candidate whose measurement failed: which failures are the type's own, and which may pass."""

from __future__ import annotations

import pytest

from test_candidates import ESTIMATE, made, outcome, repeat

pytestmark = pytest.mark.usefixtures("project")


@pytest.mark.parametrize("name", ["unavailable", "killed"])
def test_a_box_that_was_not_to_be_had_leaves_the_estimate_and_says_why_it_is_one(name):
    found = made(outcomes=(outcome(name, "over quota"), outcome("unmeasured")))
    assert (found.status, found.rate, found.can_be_chosen) == ("estimated", ESTIMATE, True)
    assert found.warnings == (
        f"the last attempt to measure it ended {name} (2026-01-02T03:04:05+00:00): over quota; the next `dvc repro` "
        "with `launch: ec2` tries it anew",
    )
    none = made(outcomes=(outcome(name, "over quota"),), estimate=(None, "no calibration"))
    assert (none.status, none.reason, none.warnings) == ("unmeasured", "no calibration", found.warnings)
    assert made("m5a.large", repeat(100), outcomes=(outcome(name),)).warnings == ()


def test_a_training_that_was_killed_is_a_failure_of_the_type_whatever_came_after():
    ended = (outcome("killed", "signal 9", num_repeats=1), outcome("unavailable", "no capacity"))
    found = made(outcomes=ended)
    assert (found.status, found.rate, found.reason, found.warnings) == ("failed", None, "killed: signal 9", ())
