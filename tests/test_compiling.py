"""torch.compile around any workload's loss: when, what is told, and what happens when it fails."""

import os
import shutil
import weakref
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from filelock import FileLock
from torch import Tensor, nn

from test_local_launcher import spec
from toys import Toy
from yocobench.bench import compiling, hardware
from yocobench.bench.accelerators import cpu
from yocobench.bench.compiling import Loss
from yocobench.bench.trainer import Trace, first_step
from yocobench.schema import CellSpec


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return 2 * gradient


class OwnBackward(Toy):
    """With a backward pass of its own, as the Yocos have."""

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return Doubled.apply(super().loss(model, batch))


class Chatty(Toy):
    """Branches on a number that only a run knows: that is no one graph."""

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        found = super().loss(model, batch)
        return found * 2 if found > 1e9 else found


def counting_clock():
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    return clock


def compiled(cell: CellSpec, setting: bool | str, **changes: str) -> CellSpec:
    workload = cell.workload.model_copy(update={"compile": setting, **changes})
    return cell.model_copy(update={"workload": workload})


def loss_of(warnings: list[str], root: Path) -> Loss:
    loss = Loss(Toy().loss, warnings, counting_clock())
    loss.compile(root, backend="eager")
    return loss


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    torch.compiler.reset()
    yield
    torch.compiler.reset()


# --- whether ----------------------------------------------------------------------------------------------------


def test_a_cpu_without_a_compiler_runs_eagerly_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    warnings: list[str] = []
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    assert compiling.is_possible("auto", "cpu", warnings) is False
    assert warnings == [
        "torch.compile was left out, steps ran eagerly: no C++ compiler (no-such-compiler is not found; install g++)"
    ]


def test_where_it_is_off_nothing_is_said(monkeypatch: pytest.MonkeyPatch):
    warnings: list[str] = []
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiling.is_possible(False, "cpu", warnings) is False
    assert compiling.is_possible("auto", "neuron", warnings) is False
    assert warnings == []


def test_a_compiler_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "sh")  # any program: only its presence is looked at
    assert compiling.is_possible("auto", "cpu", []) is True


@pytest.mark.parametrize(
    ("installed", "capability", "reason"),
    [
        (True, (7, 0), None),
        (True, (9, 0), None),
        (False, (9, 0), "no Triton (pip install triton)"),
        (True, (6, 1), "Triton knows no GPU of compute capability 6.1"),
    ],
)
def test_a_gpu_needs_triton_and_compute_capability_seven(installed: bool, capability: tuple, reason: str | None):
    assert compiling.triton_obstacle(installed, capability) == reason


# --- the compiled loss ------------------------------------------------------------------------------------------


def test_the_compiled_loss_is_the_loss_and_its_compilation_is_timed_apart(tmp_path: Path):
    warnings: list[str] = []
    loss, model, batch = loss_of(warnings, tmp_path), nn.Linear(8, 8), torch.randn(4, 8)
    for _ in range(3):
        torch.testing.assert_close(loss(model, batch), Toy().loss(model, batch))
    assert (loss.compiled, loss.num_compilations, loss.compile_s) == (True, 1, 1.0)  # one tick of the clock
    assert warnings == []


def test_shapes_that_keep_changing_end_in_eager_steps_and_one_warning(tmp_path: Path):
    warnings: list[str] = []
    loss, model = loss_of(warnings, tmp_path), nn.Linear(8, 8)
    for rows in range(2, 14):
        batch = torch.randn(rows, 8)
        torch.testing.assert_close(loss(model, batch), Toy().loss(model, batch))
    assert loss.compiled is False
    assert warnings == [
        "torch.compile failed, steps ran eagerly: the shapes change from batch to batch, or a number in the code does"
    ]


def test_a_model_that_does_not_compile_is_measured_eagerly(tmp_path: Path):
    cell = compiled(spec(), "auto", target=f"{__name__}.Chatty")
    trace = Trace()
    trainer, loss = first_step(cell, tmp_path, 0, trace, counting_clock())
    assert torch.isfinite(loss)
    assert trainer.loss.compiled is False
    assert trace.facts["compiled"] is False
    assert "compile_s" not in trace.facts
    (said,) = trace.warnings
    assert said.startswith("torch.compile failed, steps ran eagerly: Unsupported: Data-dependent branching: ")


def test_the_reason_names_what_the_compiler_raised():
    error = RuntimeError("backend='inductor' raised:\nCppCompileError: C++ compile error\n\nCommand:\ng++ a.cpp")
    assert compiling.reason_of(error) == ("RuntimeError: backend='inductor' raised: CppCompileError: C++ compile error")


class Alone(Chatty):
    """Knows whether a model that it built before is still there."""

    built: weakref.ref[nn.Module] | None = None
    alone: ClassVar[list[bool]] = []

    def build(self) -> nn.Module:
        model = super().build()
        self.alone.append(Alone.built is None or Alone.built() is None)
        Alone.built = weakref.ref(model)
        return model


def test_what_did_not_compile_is_gone_before_it_is_built_anew(tmp_path: Path):
    first_step(compiled(spec(), "auto", target=f"{__name__}.Alone"), tmp_path, 0, Trace(), counting_clock())
    assert Alone.alone == [True, True]


@pytest.mark.parametrize(("mode", "options"), [(None, {"some": 1}), ("reduce-overhead", None)])
def test_the_device_names_the_compiler_and_its_options_or_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str | None, options: dict | None
):
    monkeypatch.setattr(cpu.Device, "compile_backend", "aot_eager")
    monkeypatch.setattr(cpu.Device, "compile_options", {"some": 1})
    monkeypatch.setattr(cpu.Device, "compile_mode", lambda *_: mode)
    asked = []
    monkeypatch.setattr(torch, "compile", lambda loss, **options: asked.append(options) or loss)
    trainer, _ = first_step(compiled(spec(), True), tmp_path, 0, Trace(), counting_clock())
    assert trainer.loss.compiled
    assert asked == [{"fullgraph": True, "dynamic": False, "backend": "aot_eager", "mode": mode, "options": options}]


def test_inductor_knows_the_options_of_a_cpu():
    torch.compile(torch.neg, options=dict(cpu.Device.compile_options))  # refuses what it does not know:
    with pytest.raises(RuntimeError, match="no_such_threshold"):
        torch.compile(torch.neg, options={"no_such_threshold": 8})


def test_a_gpu_that_torch_does_not_see_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cell = compiled(spec(), "auto").model_copy(update={"kind": "cuda"})
    with pytest.raises(ValueError, match=r"sees no CUDA device; check nvidia-smi and the torch build"):
        first_step(cell, tmp_path, 0, Trace(), counting_clock())


def test_an_error_of_the_model_itself_is_raised_as_it_is(tmp_path: Path):
    cell = compiled(spec(fault="bug", at=0), "auto")
    with pytest.raises(ZeroDivisionError, match="a bug in the workload"):
        first_step(cell, tmp_path, 0, Trace(), counting_clock())


@pytest.mark.slow
@pytest.mark.parametrize(("chosen", "kept"), [(None, False), ("/somewhere/of/mine", True)])
def test_torchs_own_default_is_not_taken_for_the_users_choice(
    chosen: str | None, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compiling, "_chosen_cache", chosen)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/torchinductor_of_torch")  # as import torch._dynamo leaves it
    loss_of([], tmp_path)
    ours = str(tmp_path.resolve() / compiling.CACHE / hardware.host_id())
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (chosen if kept else ours)


@pytest.mark.slow
def test_compiled_code_stays_in_the_projects_cache_for_the_next_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Three seconds to import: not for every worker that collects this file.
    from torch._dynamo.utils import counters
    from torch._inductor import config as inductor

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    cell, trace = compiled(spec(), True, target=f"{__name__}.OwnBackward"), Trace()
    hits = []
    with inductor.patch(cpp_cache_precompile_headers=False):  # they pay off over many kernels only
        for _ in range(2):
            torch.compiler.reset()
            counters.clear()
            trainer, _ = first_step(cell, tmp_path, 0, trace, counting_clock())
            hits.append(counters["aot_autograd"]["autograd_cache_hit"])
    assert (trace.warnings, trainer.loss.compiled) == ([], True)
    assert trace.facts["compile_s"] > 0
    libraries = list((tmp_path / compiling.CACHE / hardware.host_id()).glob("*/*.so"))
    assert libraries
    assert not any(compiling.is_unfinished(library) for library in libraries)
    assert hits == [0, 1]


# --- what a killed process leaves in the cache ------------------------------------------------------------------


@pytest.fixture
def library() -> Path:
    """A shared library, as a linker left it."""
    return next(Path(torch.__file__).parent.glob("_C.*.so"))


def test_a_library_that_was_not_written_to_its_end_is_removed_from_the_cache(tmp_path: Path, library: Path):
    cache = tmp_path / compiling.CACHE / hardware.host_id()
    whole, half, header, empty = (cache / f"ab/{name}.main.so" for name in ("whole", "half", "header", "empty"))
    whole.parent.mkdir(parents=True)
    shutil.copy(library, whole)
    half.write_bytes(library.read_bytes()[:4096])
    header.write_bytes(library.read_bytes()[:50])
    empty.touch()
    loss_of([], tmp_path)
    assert list(cache.glob("*/*.so")) == [whole]


def test_a_library_that_another_process_is_writing_stays(tmp_path: Path):
    written = tmp_path / "ab/key.main.so"
    written.parent.mkdir()
    written.touch()
    (tmp_path / "locks").mkdir()
    with FileLock(tmp_path / "locks/key.lock"):
        compiling.discard_unfinished(tmp_path)
        assert written.exists()
    compiling.discard_unfinished(tmp_path)
    assert not written.exists()
