"""The seam for models: a workload from a package outside the source tree, found by `_target_`."""

import re
import signal
import sys
from pathlib import Path

import pytest
import torch
import yaml

from yocobench import plan
from yocobench.bench.workloads import build_workload
from yocobench.bench.workloads.base import Workload
from yocobench.estimate import traces
from yocobench.schema import WorkloadConfig

MODULE = '''
import torch
from torch import nn
from yocobench.bench.workloads.base import Workload

class Line(Workload):
    """Fits y = 3 x."""

    def __init__(self, width: int, noise: float = 0.0):
        self.width, self.noise, self.learning_rate = width, noise, 0.1

    def build(self):
        return nn.Linear(self.width, 1)

    def loss(self, model, batch):
        x, y = batch
        return ((model(x) - y) ** 2).mean()

    def batches(self, data, num_items, batch_size, seed):
        generator = torch.Generator().manual_seed(seed)
        while True:
            x = torch.randn(batch_size, self.width, generator=generator)
            yield x, 3 * x.sum(1, keepdim=True)

    def example_batch(self, batch_size):
        return torch.zeros(batch_size, self.width), torch.zeros(batch_size, 1)

    def samples_per_item(self):
        return 1

class Empty(Line):
    samples = 0

    def samples_per_item(self):
        return self.samples

class Wordy(Empty):
    samples = "one"

class Peeking(Line):
    """Its loss depends on a value."""

    def loss(self, model, batch):
        error = super().loss(model, batch)
        return error if error.item() > 1 else 2 * error

class Half(Workload):
    def build(self):
        return nn.Identity()

NOT_A_WORKLOAD = 7
'''
WRONG = """
from torch import nn
from ourteam_models.line import Line

class Stub(Line):
    def loss(self, model, batch):
        raise NotImplementedError

class Nothing(Line):
    def build(self):
        self.model = nn.Linear(1, 1)

class Number(Line):
    def loss(self, model, batch):
        return 1.0

class Leaving(Line):
    def build(self):
        raise SystemExit(3)

class Hanging(Line):
    def build(self):
        import time
        while True:
            try:
                time.sleep(3600)
            except Exception:
                pass

class Wrong(Line):
    def __init__(self, width):
        int("x")
"""
YAML = """
name: line
_target_: ourteam_models.line.Line
data: null
sample_unit: sample
global_batch_size: 8
compile: false
args:
  width: 2
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "ourteam_models"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "line.py").write_text(MODULE)
    (folder / "needy.py").write_text("import a_library_that_nobody_has\n")
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "typo.py").write_text("class Line(:\n")
    (folder / "renamed.py").write_text("from torch import nnn\n")
    (folder / "wrong.py").write_text(WRONG)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("ourteam_models")]:
        del sys.modules[name]


def config(**changes: object) -> WorkloadConfig:
    return WorkloadConfig.model_validate({**yaml.safe_load(YAML), **changes})


@pytest.mark.usefixtures("package")
def test_a_workload_from_another_package_is_built_and_trains():
    torch.manual_seed(0)
    workload = build_workload(config())
    assert isinstance(workload, Workload)
    model = workload.build()
    optimizer = workload.optimizer(model)
    batches = workload.batches(None, None, 8, seed=0)
    for _ in range(200):
        loss = workload.loss(model, next(batches))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1
    assert workload.evaluate(model, None) == {}
    assert workload.flops_per_sample() is None


def test_a_package_that_is_not_importable_says_how_to_make_it_so():
    with pytest.raises(ValueError, match=r"conf/workload/line.yaml.*no module 'ourteam_models'.*PYTHONPATH"):
        build_workload(config())


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ourteam_models.lime.Line", r"no module 'ourteam_models.lime'"),
        (
            "ourteam_models.line.Lime",
            r"ourteam_models.line has no 'Lime'. Workloads in it: Empty, Line, Peeking, Wordy$",
        ),
        ("ourteam_models.line.NOT_A_WORKLOAD", r"is not a Workload; derive it from yocobench.bench.workloads.base"),
        ("ourteam_models.line.Half", r"does not define batches, example_batch, loss, samples_per_item"),
        ("ourteam_models.needy.Line", r"needs the module 'a_library_that_nobody_has', which is not installed"),
        ("Line", r"must be package.module.ClassName"),
    ],
)
def test_a_target_that_cannot_be_used_names_the_file_and_what_is_wrong(target: str, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        build_workload(config(_target_=target))
    assert str(caught.value).startswith("conf/workload/line.yaml: _target_ ")


@pytest.mark.usefixtures("package")
def test_arguments_that_the_class_does_not_take_are_listed_against_those_it_does():
    with pytest.raises(ValueError, match=r"unexpected keyword argument 'widht'.*Accepted by .*Line: width: .*noise: "):
        build_workload(config(args={"width": 2, "widht": 2}))
    with pytest.raises(ValueError, match=r"missing a required argument: 'width'"):
        build_workload(config(args={}))


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(("name", "got"), [("Empty", "0"), ("Wordy", "'one'")])
def test_items_without_samples_are_refused_before_anything_runs(name: str, got: str):
    said = rf"^conf/workload/line.yaml: samples_per_item\(\) of ourteam_models.line.{name} must be .* \(got {got}\)$"
    with pytest.raises(ValueError, match=said):
        build_workload(config(_target_=f"ourteam_models.line.{name}"))


@pytest.mark.usefixtures("package", "project")
def test_a_model_that_cannot_be_traced_names_its_file():
    with pytest.raises(ValueError, match=r"^conf/workload/line.yaml: Linear cannot be traced on the meta device: "):
        traces.trace(config(_target_="ourteam_models.line.Peeking"), 2, low_precision=False)


@pytest.mark.usefixtures("package", "project")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Stub", "Linear cannot be traced on the meta device: NotImplementedError"),
        ("Nothing", "build() gives NoneType; it must give a torch.nn.Module"),
        ("Number", "loss() gives float; it must give a tensor, the micro-batch's mean loss"),
        ("Leaving", "its code ends the process: sys.exit 3"),
        ("Wrong", "building ourteam_models.wrong.Wrong: ValueError: invalid literal for int() with base 10: 'x'"),
    ],
)
def test_what_a_class_does_wrong_is_one_line_that_names_its_file(name: str, words: str):
    with pytest.raises(ValueError, match=rf"^conf/workload/line.yaml: {re.escape(words)}$"):
        traces.trace(config(_target_=f"ourteam_models.wrong.{name}"), 2, low_precision=False)


@pytest.mark.usefixtures("package", "project")
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("typo", r"SyntaxError: invalid syntax \(typo.py, line 1\)"),
        ("renamed", r"ImportError: cannot import name 'nnn' from 'torch' .*"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line_that_names_its_file(module: str, words: str):
    needed = f"importing what ourteam_models.{module}.Line needs"
    with pytest.raises(ValueError, match=rf"^conf/workload/line.yaml: {needed}: {words}$"):
        traces.trace(config(_target_=f"ourteam_models.{module}.Line"), 2, low_precision=False)


@pytest.mark.usefixtures("package", "project")
def test_a_model_that_is_never_built_is_ended_with_the_place_where_it_hung(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(traces, "LIMIT_S", 0.5)
    said = r"wrong.Hanging was not built and traced after 0.5 s; its code was at .*wrong.py:\d+, in build$"
    with pytest.raises(ValueError, match=said):
        traces.trace(config(_target_="ourteam_models.wrong.Hanging"), 2, low_precision=False)
    stated = config(_target_="ourteam_models.wrong.Hanging", micro_batch_size=2)
    with pytest.raises(ValueError, match=said):  # not tried again for each cell, with nobody told
        plan._memory_need(stated, "fp32")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.usefixtures("project")
def test_a_class_without_its_package_is_asked_for_by_its_whole_name():
    with pytest.raises(ValueError, match=r"_target_ 'Line': must be package.module.ClassName, there is no module"):
        traces.trace(config(_target_="Line"), 2, low_precision=False)


@pytest.mark.usefixtures("package")
def test_a_bug_in_the_users_module_keeps_its_own_error():
    with pytest.raises(ZeroDivisionError):
        build_workload(config(_target_="ourteam_models.broken.Line"))
