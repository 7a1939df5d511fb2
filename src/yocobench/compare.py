"""Stage `compare`: query MLflow, estimate what was not measured, price everything, decide, report.

    python -m yocobench.compare                                   # as `dvc repro` does
    python -m yocobench.compare objective=fastest job.deadline_h=12 job.tokens=1e9      # what-if: printed, not kept
    python -m yocobench.compare -m objective=cheapest,fastest job.deadline_h=12,72      # scenarios side by side
    python -m yocobench.compare --json | tail -n 1                # for scripts: one line in the format of decision.json

Trains nothing. Runs are found by cell key, so those of a Hydra sweep or of a colleague on the same store count.
Receipts that the store lacks are logged first, so a fresh clone compares too. Runs at each `dvc repro`.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from yocobench import config, estimates, gathering, pricelist, reproduce, sweep
from yocobench.background import background
from yocobench.files import write_atomic
from yocobench.schema import Config
from yocobench.selection import decision as layout
from yocobench.selection import page, report, tables
from yocobench.selection.checked import Checked
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.page import chart
from yocobench.tracking import Store, open_store

RESULTS = Path("results")


def main(cfg: Config) -> None:
    """Decide for every workload of the study and write results/."""
    root = config.root()
    changed = [one for one in HydraConfig.get().overrides.task if not one.startswith("output=")]
    snapshot, known = pricelist.load(root / pricelist.SNAPSHOT), estimates.calibration(root)
    gathered = gathering.gather(cfg, root, snapshot, known, what_if=bool(changed))
    checks, today = estimates.checks(root, known), dt.datetime.now(dt.UTC).date()
    decisions = tuple(
        decide_workload(
            one.candidates,
            one.terms,
            background(cfg, config.workload(name), snapshot, checks, today, known.host if one.guesses_cpus else None),
        )
        for name, one in zip(cfg.workloads, gathered, strict=True)
    )
    if sweep.running():
        sweep.record_scenario(layout.line(decisions))  # shown side by side when all are done
        if cfg.output == "json":
            print(layout.line(decisions))
        return
    if not changed:  # before it is shown: whoever reads may have gone (`| head`)
        fits = [fit.line(one.terms.job_samples) for one in gathered for fit in one.fits]
        _keep(root, decisions, reproduce.lines(cfg, snapshot, root, known.host), checks, fits)
    console = Console() if sys.stdout.isatty() else Console(width=tables.PLAIN_COLUMNS)
    console.print(tables.terminal(decisions))
    if changed:
        print(f"What if {', '.join(changed)}: shown, not kept. To keep it, change params.yaml and type dvc repro")
    else:
        print("Look at results/decision.html; in a terminal: results/decision.md; runs: make ui")
    if cfg.output == "json":
        print(layout.line(decisions))


def _keep(
    root: Path,
    decisions: tuple[Decision, ...],
    commands: list[str],
    checks: list[Checked],
    fits: list[str],
) -> None:
    """Write the pages and log them. `commands`: how to reproduce; `checks` of the estimates, `fits` of the subsets."""
    pages = {
        "decision.html": page.html(decisions, commands, checks, fits),
        "decision.md": report.markdown(decisions, commands, checks, fits),
        "decision.svg": chart.svg(decisions),
    }
    _write(root, decisions, pages)
    _log(open_store(root), root, decisions)


def _write(root: Path, decisions: tuple[Decision, ...], pages: dict[str, str]) -> None:
    write_atomic(root / RESULTS / "decision.json", layout.dump(decisions))
    for name, text in pages.items():
        write_atomic(root / RESULTS / name, text)
    write_atomic(root / RESULTS / "metrics.json", json.dumps(tables.metrics(decisions), indent=1) + "\n")
    write_atomic(root / RESULTS / "plots.csv", tables.plots_csv(decisions))
    readme = root / "README.md"
    if readme.is_file():
        old = readme.read_text(encoding="utf-8")
        new = report.replace_block(old, report.readme_block(decisions))
        if new != old:
            write_atomic(readme, new)


def _log(store: Store, root: Path, decisions: tuple[Decision, ...]) -> None:
    pages = [
        root / RESULTS / name for name in ("decision.html", "decision.json", "decision.md", "decision.svg", "plots.csv")
    ]
    figures = tables.metrics(decisions)
    for one in decisions:
        known = {name: value for name, value in figures[one.workload].items() if isinstance(value, float)}
        tags = {"verdict": one.verdict, "objective": one.asked.objective}
        chosen = {"chosen": one.chosen or "none"}
        run_id = store.log_decision(one.model_dump(mode="json"), pages, one.workload, known, tags | chosen)
        sure = {} if one.probability_best is None else {"probability_best": f"{one.probability_best:.2f}"}
        store.register(one.workload, run_id, one.chosen, tags | sure)
    store.describe("\n\n".join(f"**{one.workload}**: {one.sentence}" for one in decisions))


if __name__ == "__main__":
    sys.argv = ["output=json" if word == "--json" else word for word in sys.argv]
    config.stage(main)()
