"""Sweeps under Hydra's other launchers: cells side by side on this machine, on a cluster's nodes, on a Ray cluster.

The real plugins run; submitit_local stands for Slurm (the same plugin and the same pickled job, without a queue), and
Ray is started on this machine where it is installed.
"""

import importlib.util
from pathlib import Path

import pytest

from test_train import add_toy, study, train  # noqa: F401
from yocobench import receipt
from yocobench.tracking import open_store

RAY = ("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false")


def outcomes(project: Path, *words: str, **env: str) -> dict[str, str]:
    """Sweep these workloads; what became of each, by its receipt. Every one must be in MLflow, in the same sweep."""
    done = train("-m", "instance=local", *words, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [receipt.read(path) for path in sorted((project / "mlruns/receipts").glob("*.json"))]
    assert len({one.provenance.sweep for one in found}) == 1
    assert None not in {one.provenance.sweep for one in found}
    store = open_store(project)
    assert all(store.client.get_run(one.run_id).data.tags["level"] == "cell" for one in found)
    return {one.spec.workload.name: one.measurement.outcome for one in found}


@pytest.mark.slow
def test_two_cells_run_at_once_and_the_one_that_fails_stops_not_the_other(study: Path):  # noqa: F811
    add_toy(study, "broken", fault="out of memory", at=2)
    found = outcomes(study, "workload=broken,toy", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert found == {"broken": "out_of_memory", "toy": "ok"}


@pytest.mark.slow
def test_submitit_runs_the_same_command(study: Path):  # noqa: F811
    words = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")
    assert outcomes(study, "workload=toy", *words) == {"toy": "ok"}
    assert list(study.glob("mlruns/sweeps/*/.submitit/*/*_result.pkl")), "submitit ran nothing"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'")
def test_ray_runs_the_same_command(study: Path):  # noqa: F811
    add_toy(study, "broken", fault="out of memory", at=2)
    found = outcomes(study, "workload=broken,toy", *RAY, RAY_USAGE_STATS_ENABLED="0")
    assert found == {"broken": "out_of_memory", "toy": "ok"}
