"""Stage `train`: one cell. Compose, check eligibility, launch, measure, write the receipt, log to MLflow.

    python -m yocobench.train workload=yoco-lm subset=smoke instance=local
    python -m yocobench.train -m 'instance=glob(*)' subset=smoke          # a sweep: one run in MLflow, cells below

Whatever happens to a run is an outcome in its receipt, with exit status 0. A cell of the study that was measured before
and cannot be measured now keeps its receipt. Exit status 2: a mistake in the input, explained in one line. Under `dvc
repro`, Ctrl-C gives 130, so that DVC stops there and measures the cell next time (in a sweep: stops.py), and a cell
that could not run is logged by the stage `compare`.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path

from rich.console import Console

from yocobench import config, pricelist, progress, receipt, recording, remarks, sweep, tuned
from yocobench.bench import hardware
from yocobench.bench.measurement import Measurement, Source
from yocobench.bench.peak import peak_flops_per_second
from yocobench.bench.stability import stability
from yocobench.bench.statistics import occupied_s, summarize
from yocobench.launchers import build_launcher
from yocobench.launchers.base import Launcher
from yocobench.launchers.signals import INTERRUPTED_STATUS, held
from yocobench.paths import relative
from yocobench.plan import PlannedCell, detected_chip, plan_cell
from yocobench.progress import Reporter
from yocobench.receipt import Receipt
from yocobench.schema import Config


def main(cfg: Config) -> int:
    """Measure one cell and record it."""
    root, console = config.root(), progress.console()
    planned = plan_cell(cfg, cfg.workload, cfg.subset, cfg.instance, hardware.detect(), root)
    launcher = build_launcher(cfg.launcher)
    earlier = receipt.aside(planned.spec, root) if cfg.receipt else None
    tuned_as = _tuned(cfg, root)  # what may fail comes before the measurement, which would be lost with it
    with held():
        measurement = _measure(cfg, planned, launcher, root, console, earlier)
        if measurement.outcome == "unmeasured" and earlier is not None and cfg.receipt:
            receipt.write(earlier, root / cfg.receipt)  # as it was: `compare` logs what the store lacks
            launcher.recorded()
            said = f"{describe(earlier.measurement, cfg.workload.sample_unit)}, kept from {earlier.recorded_at}"
            console.print(f"{planned.spec.label}: {said}; now: {measurement.reason}", highlight=False, soft_wrap=True)
            return 0
        record, unpriced = _record(cfg, planned, measurement, launcher, root, console, tuned_as)
    if unpriced:
        console.print(f"  {unpriced}", highlight=False, soft_wrap=True)
    console.print(
        f"{planned.spec.label}: {describe(measurement, cfg.workload.sample_unit)}", highlight=False, soft_wrap=True
    )
    for said in (*unsteady(record), *remarks.noted([one.warnings for one in measurement.repeats])):
        console.print(f"  {said}", highlight=False, soft_wrap=True)
    # DVC itself ignores Ctrl-C while a command runs: only a failure stops it and leaves the cell to be measured again.
    return INTERRUPTED_STATUS if measurement.outcome == "interrupted" and "DVC_STAGE" in os.environ else 0


def _record(
    cfg: Config,
    planned: PlannedCell,
    measurement: Measurement,
    launcher: Launcher,
    root: Path,
    console: Console,
    tuned_as: str | None,
) -> tuple[Receipt, str]:
    """Its receipt, written and logged, and why it was not priced."""
    record = Receipt(
        cell_key=planned.spec.key,
        spec=planned.spec,
        provenance=recording.provenance(root, cfg.launcher.name, sweep.name()).model_copy(update={"tuned": tuned_as}),
        measurement=measurement,
        burstable=cfg.instance.burst is not None,
        recorded_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
    path = root / cfg.receipt if cfg.receipt else receipt.standalone(record, root)
    found, unpriced = figures(cfg, measurement)
    if "DVC_STAGE" in os.environ and measurement.outcome in ("excluded", "unmeasured") and not found:
        receipt.write(record, path)  # nothing ran: `compare` logs it, and imports MLflow once for all such cells
        launcher.recorded()
    else:
        # Before it is logged: a stage killed then runs again, and the same repeats must not count under two receipts.
        recording.keep(record, path, root, console, found, launcher.recorded)
    return record, unpriced


def _wasted(planned: PlannedCell, cfg: Config, root: Path, earlier: Receipt | None) -> str:
    """Why money for this cell would be wasted; empty: it would not. `earlier`: its own receipt of another day."""
    if earlier is not None and not cfg.force:
        return "measured already; without receipt=, or with force=true, the same command measures again"
    from yocobench import worth  # half of this command's start, and only where a launch costs money

    return worth.why_not(planned, cfg, worth.decisions(cfg, root))


def _tuned(cfg: Config, root: Path) -> str | None:
    host = hardware.detect().host_id if cfg.instance.detect else None
    found = tuned.find(cfg.workload, cfg.instance.name, host, root)
    return found.note if found else None


def _measure(
    cfg: Config, planned: PlannedCell, launcher: Launcher, root: Path, console: Console, earlier: Receipt | None
) -> Measurement:
    """What is paid for already is collected, wanted or not; a launch is made only where it is not wasted."""
    if planned.exclusion is not None:
        reason = f"{planned.exclusion.reason} ({planned.exclusion.source}, {planned.exclusion.as_of})"
        source: Source = "replayed" if cfg.launcher.name == "replay" else "measured"
        return Measurement(outcome=planned.exclusion.outcome, reason=reason, source=source, detected=None)
    costs = not launcher.is_free and not cfg.instance.detect
    if costs and launcher.waits(planned.spec, root):
        with Reporter(planned.spec.label, cfg.workload.sample_unit, console) as report:
            found = launcher.collect(planned.spec, cfg.instance, root, report)
        if found is not None:
            return found
    if costs and (wasted := _wasted(planned, cfg, root, earlier)):
        return Measurement(outcome="unmeasured", reason=wasted, source="measured", detected=None)
    with Reporter(planned.spec.label, cfg.workload.sample_unit, console) as report:
        return launcher.run(planned.spec, cfg.instance, root, report)


def figures(cfg: Config, measurement: Measurement) -> tuple[dict[str, float], str]:
    """Metrics that follow from facts outside the measurement: mfu, and cost_usd of having measured (where priced).

    With why it was not priced; empty: it was, or there is nothing to price. No price list may cost a measurement.
    """
    found: dict[str, float] = {}
    rate, good = summarize(measurement).flops_per_second, [r for r in measurement.repeats if r.precision]
    if rate is not None and good and good[0].precision:
        seen = measurement.detected if cfg.instance.detect else None
        chip = detected_chip(seen) if seen else cfg.instance.chip
        peak = peak_flops_per_second(chip, cfg.instance.hardware, good[0].precision, _accelerators(cfg, measurement))
        if peak is not None:
            found["mfu"] = rate / peak
    if "cost_usd" in measurement.extra:  # a launcher that saw the bill knows better
        known = ("billed_s", "cost_usd", "planned_worst_usd")
        return found | {name: measurement.extra[name] for name in known if name in measurement.extra}, ""
    if cfg.instance.detect or not good:
        return found, ""
    try:
        price = pricelist.load(config.root() / pricelist.SNAPSHOT).find(cfg.instance.name, cfg.region, cfg.usage_class)
    except (ValueError, OSError) as error:
        return found, f"not priced: {relative(error)}"
    if price is not None:
        spent_s = sum(measurement.phases_s.values()) + sum(occupied_s(repeat) for repeat in good)
        found["billed_s"] = spent_s
        found["cost_usd"] = float(price.price_usd_per_hour) * spent_s / 3600
    return found, ""


def _accelerators(cfg: Config, measurement: Measurement) -> float:
    """How many trained: one for each process, of which several share a Neuron chip."""
    processes = next((r.processes for r in measurement.repeats if r.processes), 1)
    shape = cfg.instance.hardware or measurement.detected
    cores = shape.neuron_cores if shape else None
    return processes * shape.accelerator_count / cores if shape and cores else processes


def describe(measurement: Measurement, unit: str) -> str:
    """One line for the terminal."""
    summary = summarize(measurement)
    if summary.samples_per_second is None:
        return f"{measurement.outcome}: {measurement.reason}"
    text = f"{measurement.source} {summary.samples_per_second:,.1f} {unit}s/s"
    text += f" [{summary.samples_per_second_low:,.1f}, {summary.samples_per_second_high:,.1f}]"
    text += f" over {summary.repeats_ok} repeat(s)"
    if measurement.outcome == "ok":
        return f"{text}; {measurement.reason}" if measurement.reason else text
    return f"{text}; then {measurement.outcome}: {measurement.reason}"


def unsteady(record: Receipt) -> list[str]:
    """For each repeat whose steps were not steady, how and why, and what to do."""
    target, repeats = record.spec.protocol.target_relative_half_width, record.measurement.repeats
    found = [(r.repeat, stability(r.step_times_s, r.activity, target, record.burstable)) for r in repeats]
    return [
        f"repeat {number} was {one.verdict}: {reason}"
        for number, one in found
        if one is not None
        for reason in one.reasons
    ]


if __name__ == "__main__":
    sys.exit(config.stage(main)())
