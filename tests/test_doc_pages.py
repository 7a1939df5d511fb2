"""The short pages under docs/: the example model of your-model.md is one, and pages stay short."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from conftest import REPOSITORY
from yocobench.bench.workloads import build_workload
from yocobench.bench.workloads.base import Workload
from yocobench.schema import WorkloadConfig
from yocobench.tracking.records import RecordedRepeat

PAGES = (
    "accelerators",
    "tune",
    "your-model",
    "your-data",
    "new-instance",
    "sweeps",
    "mlflow",
    "mlflow-server",
    "dvc-remote",
)
LONGEST_PAGE = 60


def page(name: str) -> str:
    return (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_in_a_minute(name):
    assert len(page(name).splitlines()) <= LONGEST_PAGE


def test_the_model_that_the_page_shows_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    [module], [text] = blocks(page("your-model"), "python"), blocks(page("your-model"), "yaml")
    (tmp_path / "ourteam").mkdir()
    (tmp_path / "ourteam" / "models.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    workload = build_workload(WorkloadConfig.model_validate(yaml.safe_load(text)))
    assert isinstance(workload, Workload)
    model, batch = workload.build(), next(workload.batches(None, None, 32, 0))
    optimizer = workload.optimizer(model)
    losses = []
    for _ in range(30):
        loss = workload.loss(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert [tensor.shape for tensor in workload.example_batch(4)] == [(4, 8), (4, 1)]
    sys.modules.pop("ourteam.models", None)


def test_the_metrics_that_the_page_names_are_logged():
    named = set(re.findall(r"`([a-z_]+)`", page("mlflow").partition("Columns worth showing")[2].partition("\n\n")[0]))
    fields = set(RecordedRepeat.model_fields)
    tags = {"instance", "source", "outcome", "reason", "dataset_md5"}
    ends = {"samples_per_second_low", "samples_per_second_high", "heldout_loss", "step_time_s", "loss"}
    assert {"samples_per_second", "peak_memory_bytes", "data_wait_share"} <= named & fields
    assert named - fields - tags - ends == set()
