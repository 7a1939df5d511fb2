"""What is recorded of a repeat that could not write its own result."""

import pytest

from test_local_launcher import measure, spec, toys_importable  # noqa: F401 (a fixture)
from yocobench.bench import fit
from yocobench.launchers import endings


def test_a_thread_that_finds_no_memory_for_its_stack_asks_for_fewer_items():
    said = "libgomp: Thread creation failed: Resource temporarily unavailable"
    found = endings.without_result(
        1, f"a warning\n{said}\nsomething at exit", 0, "2026-11-30T00:00:00+00:00", endings.Told(), spec(), False, False
    )
    assert found.outcome == "out_of_memory"
    assert found.reason.endswith(f"(ulimit -v, ulimit -u): {said}")
    assert fit.ran_out_at_once(found)


def test_batches_that_meet_the_end_of_what_they_read_are_the_users_mistake():
    with pytest.raises(ValueError, match=r"^conf/workload/toy.yaml: batches\(\) of toys.Toy ended; it must go on"):
        measure(spec(fault="stop iteration", at=0))


def test_code_that_ends_the_process_is_the_users_mistake():
    with pytest.raises(ValueError, match=r"^conf/workload/toy.yaml: code of toys.Toy ended the process"):
        measure(spec(fault="exit", at=0))
