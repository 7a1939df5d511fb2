"""As torch_xla.core.xla_model, as far as bench/accelerators/neuron.py calls it."""

import os
from collections import Counter

import torch
import torch._lazy
import torch._lazy.ts_backend

torch._lazy.ts_backend.init()
calls = Counter()
LIMIT_BYTES = 16 * 2**30


def xla_device():
    return torch.device("lazy")


def mark_step():
    calls["mark_step"] += 1
    torch._lazy.mark_step()


def wait_device_ops():
    torch._lazy.wait_device_ops()


def reduce_gradients(optimizer, pin_layout=True):
    assert not pin_layout  # beside an all_reduce of torch.distributed the graph would not compile
    calls["reduce_gradients"] += 1


def get_memory_info(device):
    if not os.environ.get("STAND_IN_TELLS_MEMORY", "1"):
        raise RuntimeError("Bad StatusOr access: UNIMPLEMENTED: GetAllocatorStats is not supported")
    return {"bytes_used": 2**20, "bytes_limit": LIMIT_BYTES, "peak_bytes_used": 2**21}
