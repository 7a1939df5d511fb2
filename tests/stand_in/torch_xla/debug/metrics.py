"""As torch_xla.debug.metrics: (samples, sum in ns, latest samples) of a metric, or None before its first sample."""

import torch._lazy.metrics

SECONDS_PER_COMPILE = 2.0


def metric_data(name):
    assert name == "CompileTime"
    compiled = torch._lazy.metrics.counter_value("UncachedCompile") or 0
    return (compiled, compiled * SECONDS_PER_COMPILE * 1e9, []) if compiled else None
