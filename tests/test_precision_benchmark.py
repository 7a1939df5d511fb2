"""The sums of benchmarks/precision.py, by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import benchmark_modules

precision = benchmark_modules.load("precision")
REFERENCE = np.array([[4.0, 2.0], [6.0, 4.0]])


def test_the_mean_over_the_seeds_counts_not_one_seed():
    # parts' means are 5 and 3; off by +0.4 and -0.4 in one seed each they cancel, off by 0.15 of 3 they are 5 %
    apart, alike = np.array([[0.4, 0.0], [-0.4, 0.0]]), np.array([0.0, 0.15])
    assert precision.deviation(REFERENCE + apart, REFERENCE) == pytest.approx(0.0)
    assert precision.deviation(REFERENCE + alike, REFERENCE) == pytest.approx(0.05)


def test_no_precision_is_held_to_less_than_a_rounding_of_fp32_does():
    off = REFERENCE * 1.05
    calm = precision.row("toy", "bf16", off, REFERENCE, REFERENCE[None])
    assert (calm.met, calm.target) == (False, "within 2.00%")
    # the seeds' curves are 4 to 6 and 2 to 4
    wild = precision.row("toy", "bf16", off, REFERENCE, REFERENCE * np.array([0.99, 0.94])[:, None, None])
    assert (wild.met, wild.target) == (True, "within 6.00%")
    assert "a rounding of its weights 6.00%, two seeds 50.0% apart" in wild.against


def test_a_nudge_is_at_most_one_rounding():
    model = nn.Linear(64, 64)
    before = model.weight.detach().clone()
    precision.nudge(model, seed=0)
    change = (model.weight.detach() / before - 1).abs()
    assert 0 < change.max() <= 2 * torch.finfo(torch.float32).eps
