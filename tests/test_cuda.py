"""What the CUDA device decides, without a GPU: graphs, and steps in fp16 that may be left out."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from yocobench.bench.accelerators import cuda
from yocobench.bench.accelerators.cuda import Device, compile_mode, runs_on, scaled_step
from yocobench.bench.parallel import shard
from yocobench.bench.workloads.yoco_lm import YocoLM


@pytest.mark.parametrize(
    ("flops", "passes", "mode"),
    [
        (0.9e12, 1, "reduce-overhead"),
        (1.1e12, 1, None),
        (0.9e12, 2, None),  # the second pass of a graph writes over the gradients of the first
        (None, 1, None),
    ],
)
def test_graphs_are_for_small_models_without_accumulation(flops: float | None, passes: int, mode: str | None):
    assert compile_mode(flops, passes) == mode


def test_the_default_study_is_small_and_a_real_job_is_not():
    tiny, large = YocoLM(size="tiny", sequence_length=256), YocoLM(size="160m")
    assert compile_mode(tiny.flops_per_sample() * 256 * 4, 1) == "reduce-overhead"
    assert compile_mode(large.flops_per_sample() * 1024 * 8, 1) is None


@pytest.fixture
def fitted():
    """A weight of 1 and its fused optimiser: SGD with rate 0.5, gradients scaled by 8."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    return model, torch.optim.SGD(model.parameters(), lr=0.5, fused=True), scaler


def test_a_scaled_step_is_the_plain_one(fitted):
    model, optimizer, scaler = fitted
    scaler.scale(model(torch.full((1, 1), 0.5)).sum()).backward()
    norm = scaled_step(scaler, optimizer, model)
    assert norm.item() == pytest.approx(0.5)  # not 4: unscaled before it is clipped
    assert model.weight.item() == pytest.approx(0.75)  # 1 - 0.5 x 0.5
    assert model.weight.grad is None


def test_a_gradient_that_overflows_leaves_the_step_out_and_shows_in_the_norm(fitted):
    model, optimizer, scaler = fitted
    scaler.scale(model(torch.full((1, 1), torch.inf)).sum()).backward()
    norm = scaled_step(scaler, optimizer, model)
    assert not norm.isfinite()
    assert model.weight.item() == 1.0
    assert scaler.get_scale() == 4.0


def test_the_norm_of_a_sharded_model_is_a_plain_number():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = shard(nn.Linear(2, 1, bias=False), torch.device("cpu"), 1)
        nn.init.ones_(model.weight)
        optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.5), torch.amp.GradScaler("cpu", init_scale=8.0)
        scaler.scale(model(torch.tensor([[0.3, 0.4]])).sum()).backward()
        norm = scaled_step(scaler, optimizer, model)
        assert type(norm) is torch.Tensor
        assert norm.item() == pytest.approx(0.5)
        torch.testing.assert_close(model.weight.full_tensor(), torch.tensor([[0.85, 0.8]]))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), True),
        (RuntimeError("NCCL error: unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_memory_that_is_gone_has_several_words(error: Exception, out: bool):
    assert Device.is_out_of_memory(object.__new__(Device), error) is out


CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
"""What torch 2.13 is built for by default: not for a V100."""


@pytest.mark.parametrize(
    ("architecture", "capability", "runs"),
    [
        ("sm_75", (7, 5), True),
        ("sm_75", (7, 0), False),  # not on the older chip of the same generation
        ("sm_80", (8, 9), True),
        ("sm_80", (9, 0), False),  # machine code is no other generation's
        ("sm_90a", (9, 0), True),
        ("compute_80", (12, 0), True),
        ("compute_120", (9, 0), False),
    ],
)
def test_code_runs_on_its_own_generation_and_what_is_compiled_anew_on_any_later(architecture, capability, runs):
    assert runs_on(architecture, capability) is runs


@pytest.fixture
def a_gpu(monkeypatch):
    """Make torch tell of a GPU that is not here."""

    def make(name, capability, architectures):
        told = {
            "is_available": lambda: True,
            "get_device_capability": lambda device: capability,
            "get_device_name": lambda device: name,
            "get_arch_list": lambda: architectures,
        }
        for what, answer in told.items():
            monkeypatch.setattr(cuda.torch.cuda, what, answer)

    return make


def test_a_v100_is_refused_before_it_trains_by_a_torch_that_has_no_code_for_it(a_gpu):
    a_gpu("Tesla V100-SXM2-16GB", (7, 0), CUDA_13)
    with pytest.raises(ValueError, match=r"no code for a Tesla V100-SXM2-16GB \(compute capability 7.0\).* CUDA 12.6"):
        Device()


@pytest.mark.parametrize("capability", [(7, 5), (8, 6), (8, 9), (9, 0), (12, 0), (12, 1)])
def test_all_later_chips_open(a_gpu, capability):
    a_gpu("a GPU", capability, CUDA_13)
    assert Device().device == torch.device("cuda", 0)


def test_a_build_for_amd_is_left_to_torch(a_gpu):
    a_gpu("AMD Instinct MI250X", (9, 0), ["gfx90a", "gfx942"])  # no compute capabilities there
    assert Device().device == torch.device("cuda", 0)
