"""Trainium's step on torch's own lazy backend, through a stand-in for torch_xla; on the real one where it is asked for.

    YOCOBENCH_TORCH_XLA=1 PJRT_DEVICE=CPU pytest tests/test_neuron.py        # in an environment with torch_xla

In processes of their own: a lazy backend, once started, stays in its process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from test_local_launcher import spec
from yocobench.bench.accelerators import neuron
from yocobench.launchers.local import LocalLauncher

HERE = Path(__file__).parent
REAL = os.environ.get("YOCOBENCH_TORCH_XLA") == "1"
PATHS = [str(HERE)] if REAL else [str(HERE), str(HERE / "stand_in")]
real = pytest.mark.skipif(not REAL, reason="needs torch_xla: set YOCOBENCH_TORCH_XLA=1 where it is installed")
lazy = pytest.mark.skipif(REAL, reason="counts what the stand-in counts")

STEPS = """
import json, sys, torch
import yocobench.bench.trainer as trainer
from pathlib import Path
from yocobench.schema import CellSpec
cell = CellSpec.model_validate_json(sys.stdin.read())
built, first = trainer.first_step(cell, Path.cwd(), 1, trace := trainer.Trace(), __import__("time").perf_counter)
seen = []
for _ in range(6):
    loss = built.step()[2]
    seen.append(look() if (look := globals().get("look")) else None)
    trace.losses.append(float(loss))
print(json.dumps({"losses": trace.losses, "facts": trace.facts, "seen": seen, "device": str(built.device.device)}))
"""
LOOK = """
import torch._lazy.metrics as counters
from torch_xla.core import xla_model
def look():
    compiled, cached = (counters.counter_value(f"{name}Compile") or 0 for name in ("Uncached", "Cached"))
    fetched = {n: counters.counter_value(n) for n in counters.counter_names() if n.startswith("aten::")}
    return {**xla_model.calls, "compiled": compiled, "cached": cached, "fetched": fetched}
"""


def cell(kind="neuron", **args):
    one = spec(micro=4, protocol={"repeats": 1, "warmup_steps": 1}, **args)
    workload = one.workload.model_copy(update={"compile": "auto" if kind == "neuron" else False})
    return one.model_copy(update={"kind": kind, "workload": workload})


def answer(code, given="", **environment):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(PATHS), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def steps(kind="neuron", code=STEPS):
    lazily = kind == "neuron" and not REAL
    # Two processes: the stand-in counts that gradients are averaged.
    more = {"WORLD_SIZE": "2"} if lazily else {}
    return answer((LOOK if lazily else "") + code, cell(kind).model_dump_json(by_alias=True), **more)


@pytest.fixture(scope="module")
def traced():
    return steps()


@pytest.mark.slow
def test_the_losses_are_those_of_a_cpu(traced):
    expected = steps("cpu")["losses"]
    # The CPU's first step was one, the lazy device's were two (the second compiles too).
    assert traced["losses"][:5] == pytest.approx(expected[1:], rel=1e-5)
    assert traced["device"] == ("xla:0" if REAL else "lazy")


@lazy
def test_a_step_is_marked_once_and_compiled_in_the_first_two_only(traced):
    seen = traced["seen"]
    assert [one["mark_step"] for one in seen] == [3, 4, 5, 6, 7, 8]  # two steps before them
    assert [one["reduce_gradients"] for one in seen] == [3, 4, 5, 6, 7, 8]
    assert len({one["compiled"] for one in seen}) == 1
    assert seen[0]["compiled"] > 0
    assert traced["facts"]["compile_s"] == 2.0 * seen[0]["compiled"]  # the stand-in's seconds
    assert traced["facts"]["compiled"] is False  # torch.compile has no part in it


@lazy
def test_nothing_of_ours_is_read_on_the_host_within_a_step(traced):
    # torch's own lazy backend lacks the operator lerp, which torch_xla has; AdamW calls it once for each parameter.
    per_step = [
        {name: after["fetched"][name] - before["fetched"].get(name, 0) for name in after["fetched"]}
        for before, after in zip(traced["seen"], traced["seen"][1:], strict=False)
    ]
    assert {name for step in per_step for name, count in step.items() if count} == {
        "aten::lerp.Scalar", "aten::_local_scalar_dense",
    }  # fmt: skip
    assert all(step["aten::_local_scalar_dense"] == 1 for step in per_step)  # this test's own, of the loss


@pytest.mark.slow
@lazy
def test_what_an_evaluation_compiles_is_no_part_of_the_first_step(traced):
    code = STEPS.replace("Path.cwd(), 1,", "Path.cwd(), 0,").replace(
        "cell =",
        "trainer.evaluate = lambda built, root: {'sum': float((torch.ones(3, device=built.device.device) + 1).sum())}\n"
        "cell =",
    )
    found = steps(code=code)
    assert found["seen"][0]["compiled"] > traced["seen"][0]["compiled"]
    assert found["facts"]["compile_s"] == traced["facts"]["compile_s"]


@pytest.mark.slow
@lazy
@pytest.mark.parametrize(("told", "peak", "free"), [("1", 2**21, 2**34 - 2**20), ("", None, None)])
def test_a_repeat_runs_from_end_to_end_on_the_neuron_device(monkeypatch, told, peak, free):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PATHS))
    monkeypatch.setenv("STAND_IN_TELLS_MEMORY", told)
    found = LocalLauncher()._measure(cell(), Path.cwd(), None, lambda progress: None).repeats[0]
    assert found.outcome == "ok", found.reason
    assert len(found.losses) == 6
    assert (found.peak_memory_bytes, found.available_memory_bytes) == (peak, free)
    assert found.compile_s > 0


@real
def test_a_repeat_runs_on_real_torch_xla(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PATHS))
    found = LocalLauncher()._measure(cell(), Path.cwd(), None, lambda progress: None).repeats[0]
    assert found.outcome == "ok", found.reason
    assert found.compile_s > 0


MODELS = """
import json, torch
from yocobench.bench.accelerators.base import map_tensors
from yocobench.bench.accelerators.neuron import Device
from yocobench.bench.workloads.yoco_det import YocoDet
from yocobench.bench.workloads.yoco_lm import YocoLM
device = Device().device
torch.manual_seed(0)
targets = torch.zeros(2, 4, 5)
targets[0, 0] = torch.tensor([4.0, 6.0, 20.0, 26.0, 3.0])
images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
lm, det = YocoLM(sequence_length=32, chunk=16, vocab_size=64), YocoDet(width=0.25, image_size_px=32, max_boxes=4)
losses = []
for workload, batch in ((lm, torch.randint(0, 64, (2, 33))), (det, (images, targets, torch.tensor([1, 0])))):
    model = workload.build()
    here = float(workload.loss(model, batch))
    there = workload.loss(model.to(device), map_tensors(batch, lambda tensor: tensor.to(device)))
    losses.append((here, float(there)))
print(json.dumps(losses))
"""


@real  # torch's own lazy backend makes some of their tensors on the host
def test_the_shipped_models_lose_there_what_they_lose_on_a_cpu():
    for here, there in answer(MODELS):
        assert there == pytest.approx(here, rel=1e-4)


@pytest.mark.parametrize(("traced", "order"), [(True, ["mean", "step"]), (False, ["step", "mean"])])
def test_the_mean_loss_is_in_the_graph_of_a_step_that_is_traced(traced, order):
    import torch

    from yocobench.bench.trainer import Trainer

    done = []
    device = SimpleNamespace(
        reduces_gradients=traced,
        to_device=lambda batch: batch,
        autocast=lambda precision: nullcontext(),
        backward=lambda loss, precision: None,
        step=lambda optimizer, model: done.append("step"),
        synchronize=lambda: None,
    )
    group = SimpleNamespace(lead=lambda word: None, meet=lambda: None, mean=lambda loss: done.append("mean") or loss)
    asked = SimpleNamespace(precision="fp32")
    built = Trainer(
        asked, None, None, device, None, torch.Tensor.sum, None, iter([torch.ones(1)] * 2), 1, lambda: 0.0, group
    )
    assert built.step()[2] == 1.0
    assert done == order
    built.step(alone=True)
    assert done == [*order, "step"]


def test_processes_that_torch_xla_knows_nothing_of_do_not_train(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    alone = object.__new__(neuron.XlaDevice)
    alone._runtime = SimpleNamespace(world_size=lambda: 1)
    with pytest.raises(ValueError, match=r"2 processes were started, torch_xla knows of 1 .* workload.processes=1"):
        alone.prepare(None)


def test_an_error_of_the_memory_count_is_not_swallowed():
    def fail(device):
        raise RuntimeError("INTERNAL: device lost")

    broken = object.__new__(neuron.XlaDevice)
    broken._xm, broken.device = SimpleNamespace(get_memory_info=fail), "xla:0"
    with pytest.raises(RuntimeError, match="device lost"):
        broken.peak_memory_bytes()


def test_clipping_is_what_torch_does():
    import torch
    from torch import nn

    def model():
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        (100 * layer(torch.ones(1, 3)).sum()).backward()
        return layer

    ours, theirs = model(), model()
    neuron.clip(ours)
    nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    small = nn.Linear(1, 1)
    small.weight.grad, small.bias.grad = torch.tensor([[0.3]]), torch.tensor([0.4])  # norm 0.5: as it is
    neuron.clip(small)
    assert small.weight.grad.item() == pytest.approx(0.3)


def test_without_any_neuron_back_end_the_page_that_helps_is_named(monkeypatch):
    monkeypatch.setattr(neuron.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"neither torch_xla nor device 'neuron'; .* docs/accelerators.md"):
        neuron.Device()


def test_the_native_back_end_is_taken_where_torch_knows_it(monkeypatch):
    monkeypatch.setattr(neuron.torch._C, "_get_privateuse1_backend_name", lambda: "neuron")
    monkeypatch.setattr(neuron.torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(neuron.torch, "device", lambda kind, index: f"{kind}:{index}")
    monkeypatch.setenv("LOCAL_RANK", "1")
    found = neuron.Device()
    assert isinstance(found, neuron.NativeDevice)
    assert found.device == "neuron:1"
    assert (found.group_backend, found.compile_backend) == ("neuron", "neuron")
