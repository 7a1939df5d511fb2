"""Traces of the project's own workloads agree with their closed FLOP formulas."""

import pytest

from yocobench import config
from yocobench.bench.workloads import build_workload
from yocobench.estimate.trace import trace_workload


@pytest.mark.parametrize(("name", "tolerance"), [("yoco-det", 0.001), ("yoco-lm", 0.02), ("transformer", 0.02)])
def test_traced_flops_equal_the_closed_formula(name, tolerance):
    """Language models: the trace counts the chunked form's small extra products, 1 % at the two-core size."""
    workload = build_workload(config.workload(name))
    items = 4
    traced = trace_workload(workload, items, low_precision=False)
    formula = workload.flops_per_sample() * items * workload.samples_per_item()
    assert traced.flops == pytest.approx(formula, rel=tolerance)


def test_memory_grows_with_the_batch_and_the_parameters_are_those_of_the_model():
    workload = build_workload(config.workload("yoco-det"))
    # Not of a few images: beside the batch, Winograd's combinations of the weights take 25 MB.
    small, large = (trace_workload(workload, items, low_precision=False) for items in (64, 128))
    assert small.num_parameters == sum(p.numel() for p in workload.build().parameters())
    assert large.peak_activation_bytes == pytest.approx(2 * small.peak_activation_bytes, rel=0.1)
    assert small.optimizer_state_bytes == 2 * small.gradient_bytes
