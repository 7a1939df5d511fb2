"""Pictures for docs/mlflow.md, taken from MLflow's own UI in headless Chromium.

    python tests/screenshots.py            # writes docs/images/*.png

Logs this repository's receipts and its decision into a store of its own, starts `mlflow server` on it, and looks. Needs
Chromium and its driver, and the datasets (dvc repro dataset).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

import browser as chromium
from mlflow_server import server

REPOSITORY = Path(__file__).parents[1]
IMAGES = REPOSITORY / "docs" / "images"
COLOURS = 64
"""A picture of tables needs no more, and stays well below 200 kB."""


@contextmanager
def logged() -> Iterator[Path]:
    """A copy of the repository with the receipts and the decision logged; its store."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "study"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(REPOSITORY), str(root)], check=True)
        for part in ("src", "conf", "params.yaml"):  # as they are here, committed or not
            shutil.rmtree(root / part, ignore_errors=True) if (root / part).is_dir() else None
            copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy
            copy(REPOSITORY / part, root / part)
        for kind in ("text", "images"):
            (root / "data" / kind).symlink_to(REPOSITORY / "data" / kind)
        calibration = Path("mlruns", "calibration")  # else this host is timed anew, and the answer is another
        if (REPOSITORY / calibration).is_dir():
            shutil.copytree(REPOSITORY / calibration, root / calibration)
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        subprocess.run([sys.executable, "-m", "yocobench.compare"], cwd=root, env=environment, check=True)
        yield root / "mlruns" / "mlflow.db"


def save(picture: bytes, name: str) -> None:
    """With few colours, so that it is small."""
    path = IMAGES / f"{name}.png"
    path.write_bytes(picture)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path.relative_to(REPOSITORY)}: {path.stat().st_size / 1000:.0f} kB")


WIDTH_PX, HEIGHT_PX = 1500, 640
TIDY = """
const click = (found) => found && found.click();
const named = (selector, word) => [...document.querySelectorAll(selector)].find((one) => one.innerText.trim() === word);
click(named("button, label, [role=radio]", "Model training"));
click(document.querySelector('[aria-label="Close assistant"], [aria-label="Close"]'));
return [...document.querySelectorAll("button")].map((one) => one.ariaLabel || one.innerText);
"""
SETTLED = """
const done = arguments[0], wanted = arguments[1], deadline = Date.now() + 25000;
const look = () => {
  const text = document.body.innerText;
  if (wanted.every((word) => text.includes(word))) return setTimeout(() => done(""), 1500);
  if (Date.now() > deadline) return done(text.slice(0, 2000));
  setTimeout(look, 200);
};
look();
"""


def shoot(window: chromium.Browser, url: str, name: str, *wanted: str) -> None:
    """Once all these words are there."""
    window.go(url)
    missing = window.wait(SETTLED.replace("arguments[1]", repr(list(wanted))))
    assert not missing, f"{name}: {wanted} did not all appear in: {missing}"
    save(window.screenshot(beyond=False), name)


def main() -> None:
    """All pictures."""
    from mlflow import MlflowClient

    IMAGES.mkdir(exist_ok=True)
    with logged() as database, server("--backend-store-uri", f"sqlite:///{database}") as address:
        client = MlflowClient(f"sqlite:///{database}")
        [experiment] = client.search_experiments(filter_string="name = 'yocobench'")
        runs = client.search_runs([experiment.experiment_id], "tags.level = 'decision' AND tags.workload = 'yoco-lm'")
        decision = runs[0].info.run_id
        cells = client.search_runs([experiment.experiment_id], "tags.level = 'repeat' AND tags.workload = 'yoco-lm'")
        compared = "[" + ",".join(f'"{run.info.run_id}"' for run in cells[:3]) + "]"
        place = f"{address}/#/experiments/{experiment.experiment_id}"
        with chromium.browser() as window:
            window.look(WIDTH_PX, "light", height_px=HEIGHT_PX)
            window.go(f"{place}/runs")
            window.wait(SETTLED.replace("arguments[1]", "['Training runs', 'Created']"))
            print(window.run(TIDY))
            shoot(window, f"{place}/runs?viewStateShareKey=answer", "mlflow-answer", "yoco-lm: ", "chosen")
            shoot(window, f"{place}/runs?viewStateShareKey=cells", "mlflow-cells", "yoco-lm-smoke-local")
            report = f"{place}/runs/{decision}/artifacts/decision.svg"
            shoot(window, report, "mlflow-report", "decision.svg")
            asked = {
                "runs": compared,
                "metric": '"step_time_s"',
                "experiments": f'["{experiment.experiment_id}"]',
                "plot_metric_keys": '["step_time_s"]',
                "plot_layout": '{"autosize":true}',
                "x_axis": "step",
                "y_axis_scale": "linear",
                "line_smoothness": "1",
                "show_point": "false",
                "deselected_curves": "[]",
                "last_linear_y_axis": "[]",
            }
            compare = f"{address}/#/metric?{urllib.parse.urlencode(asked, quote_via=urllib.parse.quote)}"
            shoot(window, compare, "mlflow-compare", "step_time_s", "X-axis")
            shoot(window, f"{address}/#/models/yocobench-yoco-lm", "mlflow-chosen", "chosen")


if __name__ == "__main__":
    main()
