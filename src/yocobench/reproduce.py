"""How to come to the same answer: commands, the code's commit, the datasets' md5, the age of the prices."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from yocobench import config, git, plan, pricelist
from yocobench.estimate.calibration import HostRates
from yocobench.schema import Config

CODE = ("src", "conf", "params.yaml", "dvc.yaml", "constraints.txt", "data/prices.json")
"""What an answer follows from besides the receipts: commits of results alone do not change it."""


def lines(cfg: Config, snapshot: pricelist.PriceList, root: Path, host: HostRates | None = None) -> list[str]:
    """Commands and facts that lead to this answer. `host`: the micro-benchmark that its estimates lean on."""
    today = dt.datetime.now(dt.UTC).date()
    return [
        *_commit(root),
        "make decide    # or, without training anything again: python -m yocobench.compare",
        *_datasets(cfg, root),
        pricelist.age(snapshot, cfg, today),
        *_host(host),
        f"region {cfg.region}, {cfg.usage_class}; objective {cfg.objective}; runs by launcher {cfg.launch}",
    ]


def _host(host: HostRates | None) -> list[str]:
    """What git does not hold, and another checkout measures anew."""
    if host is None:
        return []
    return [
        f"micro-benchmark of this host of {host.measured_at[:10]} (mlruns/calibration, not in git): estimates of CPU",
        "types, and speed-ups and cost ratios over an estimated baseline, rest on it too; measured anew by another",
        "checkout, it moves them by some per cent, on a busy host by nearly half",
    ]


def _commit(root: Path) -> list[str]:
    """The last commit that changed anything an answer follows from; nothing outside of a git checkout."""
    commit = git.ask(root, "log", "-1", "--format=%h", "--", *CODE)
    if not commit:
        return []
    changed = git.ask(root, "status", "--porcelain", "--untracked-files=no", "--", *CODE)
    return [f"git checkout {commit}{'    # and changes that are not committed' if changed else ''}"]


def _datasets(cfg: Config, root: Path) -> list[str]:
    """What the runs trained on, once for each dataset and subset."""
    asked = [(config.workload(name), subset) for name in cfg.workloads for subset in config.subsets(cfg.subsets)]
    found = [(workload.data, subset.name, plan.data_slice(workload, subset, root).md5) for workload, subset in asked]
    return [f"dataset {kind}, subset {name}: md5 {md5}" for kind, name, md5 in dict.fromkeys(found) if md5]
