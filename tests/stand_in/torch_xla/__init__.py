"""Stands in for torch_xla where none can be installed: the same calls on torch's own lazy backend, marks counted.

Lazy tensors behave as torch_xla's do: nothing is computed before a step is marked or a value is read, each traced
graph is compiled once, and what the back end has no operator for is fetched to the host.
"""
