"""Find the fastest configuration of a workload on this machine: short trials, proposed by Optuna, within a time cap.

    python -m yocobench.tune workload=yoco-lm subset=smoke instance=local tune.max_s=600

It varies micro-batch, compilation, CPU threads and loader workers. The default is tried first, an earlier winner
second. Each trial is a fresh process started by the launcher, and an MLflow run (level `trial`, which no decision
reads). At the end the default and the best are measured twice more, alternating, because the best of many is partly
luck and a host drifts. Only if the best is faster, beyond both intervals, than the default before and after it, is it
written to conf/tuned/ (tuned.py), whose settings the next `dvc repro` uses. Ctrl-C keeps what was found so far.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console

from yocobench import config, progress, recording, tuned
from yocobench.bench import hardware
from yocobench.bench.measurement import Detected, Measurement
from yocobench.bench.statistics import summarize
from yocobench.estimate.memory import splits
from yocobench.launchers import build_launcher
from yocobench.launchers.local import LocalLauncher
from yocobench.launchers.signals import INTERRUPTED_STATUS, held
from yocobench.plan import PlannedCell, plan_cell
from yocobench.progress import Reporter
from yocobench.receipt import STANDALONE, Receipt
from yocobench.schema import CellSpec, Config, Protocol
from yocobench.tuned import Rate, Settings, Tuned

SEEN_ENOUGH = 20
"""Proposals in a row that were measured already: the space is as good as exhausted."""
CONFIRMATIONS = 4
"""Runs at the end: default, best, default, best."""
FEWEST_STEPS = 5

Space = dict[str, list[Any]]
Measure = Callable[[Settings], tuple[CellSpec, Measurement]]


@dataclass
class Search:
    """Trials so far, in order. `rates` holds those that ended ok."""

    space: Space
    seed: int
    max_s: float
    clock: Callable[[], float] = time.monotonic
    rates: dict[Settings, Rate] = field(default_factory=dict)
    tried: dict[Settings, str] = field(default_factory=dict)
    interrupted: bool = False

    def run(self, measure: Measure, say: Callable[[str], None], earlier: Settings | None = None) -> None:
        """Until the time is used up but for the confirmations, the space is exhausted, or Ctrl-C.

        `earlier`: what comes right after the default.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
        default = {name: values[0] for name, values in self.space.items()}
        study.enqueue_trial(default)
        if earlier is not None:
            # Null may be a default (`num_workers: null`): a value left out here would be drawn at random.
            study.enqueue_trial({name: getattr(earlier, name) for name in self.space})
        size = 1
        for values in self.space.values():
            size *= len(values)
        started, longest, known = self.clock(), 0.0, 0
        while len(self.tried) < size and known < SEEN_ENOUGH and not self.interrupted:
            left = self.max_s - (self.clock() - started)
            if self.tried and left < longest * (1 + CONFIRMATIONS):
                return
            trial = study.ask()
            chosen = Settings(**{name: trial.suggest_categorical(name, v) for name, v in self.space.items()})
            known = known + 1 if chosen in self.tried else 0
            if chosen not in self.tried:
                before = self.clock()
                self.take(chosen, measure, say)
                longest = max(longest, self.clock() - before)
            rate = self.rates.get(chosen)
            if rate is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, rate.samples_per_second)

    def take(self, chosen: Settings, measure: Measure, say: Callable[[str], None]) -> Rate | None:
        """Measure one configuration; null, with its outcome kept in `tried`, when it did not end ok."""
        try:
            _, found = measure(chosen)
        except KeyboardInterrupt:
            self.interrupted = True
            return None
        self.interrupted |= found.outcome == "interrupted"
        rate = rate_of(found)
        self.tried[chosen] = found.outcome
        if rate is None:
            say(f"trial {len(self.tried)}: {words(chosen)}: {found.outcome}: {found.reason}")
            return None
        self.rates[chosen] = rate
        say(f"trial {len(self.tried)}: {words(chosen)}: {rate.samples_per_second:,.1f} samples/s")
        return rate


def rate_of(found: Measurement) -> Rate | None:
    """Of a run that ended ok."""
    seen = summarize(found)
    if found.outcome != "ok" or seen.samples_per_second is None:
        return None
    low, high = seen.samples_per_second_low, seen.samples_per_second_high
    return Rate(samples_per_second=seen.samples_per_second, low=low or 0.0, high=high or float("inf"))


def words(chosen: Settings) -> str:
    """`micro_batch_size 4, threads 2`."""
    return ", ".join(f"{key} {value}" for key, value in chosen.model_dump(exclude_none=True).items()) or "default"


def space_of(planned: PlannedCell, detected: Detected) -> Space:
    """The values of each setting, the default's first. A setting with a single value is left out.

    Micro-batches from the planned one downwards, which fits in memory, and as far as 1/16 of it; threads only where a
    CPU trains; loader workers only for a workload that takes `args.num_workers`.
    """
    from yocobench.bench import compiling

    spec, physical = planned.spec, max(1, detected.physical_cores // planned.spec.processes)
    logical = max(1, detected.vcpus // spec.processes)
    space: Space = {"micro_batch_size": splits(spec.micro_batch_size)[:5]}
    if compiling.obstacle(spec.kind) is None and spec.kind != "neuron" and not spec.sharded:
        first = spec.workload.compile is not False
        space["compile"] = [first, not first]
    if spec.kind == "cpu":
        threads = spec.workload.threads or physical
        space["threads"] = [threads, *sorted({max(1, physical // 2), physical, logical} - {threads})]
    if "num_workers" in spec.workload.args:
        own = spec.workload.args["num_workers"]
        doublings = {0, 1, logical} | {2**n for n in range(1, 10) if 2**n < logical}
        space["num_workers"] = [own, *sorted(doublings - {own})]
    return {name: values for name, values in space.items() if len(values) > 1}


def within(space: Space, earlier: Tuned | None) -> Settings | None:
    """An earlier winner as a trial of this space; null: there is none, or a value of it is not tried any more."""
    if earlier is None:
        return None
    kept = {name: getattr(earlier.settings, name) for name in space}
    full = {name: space[name][0] if value is None else value for name, value in kept.items()}
    gone = set(earlier.settings.model_dump(exclude_none=True)) - set(space)
    return None if gone or any(full[name] not in space[name] for name in space) else Settings(**full)


def short(protocol: Protocol, trial_s: float) -> Protocol:
    """The study's protocol for one trial: a single repeat, so many timed seconds and seconds of warm-up at most."""
    warmup_s = None if protocol.max_warmup_s is None else min(protocol.max_warmup_s, trial_s)
    fewest = min(protocol.min_steps, FEWEST_STEPS)
    return protocol.model_copy(
        update={"repeats": 1, "min_steps": fewest, "max_measure_s": trial_s, "max_warmup_s": warmup_s}
    )


def faster(best: Rate, default: Rate) -> bool:
    """Beyond both intervals."""
    return best.low > default.high


def main(cfg: Config) -> int:
    """Tune one cell."""
    root, console, detected = config.root(), progress.console(), hardware.detect()
    launcher = _launcher(cfg, detected)
    trial_cfg = cfg.model_copy(update={"protocol": short(cfg.protocol, cfg.tune.trial_s)})
    planned = plan_cell(trial_cfg, cfg.workload, cfg.subset, cfg.instance, detected, root, as_tuned=False)
    if planned.exclusion is not None:
        raise ValueError(f"{planned.spec.label}: {planned.exclusion.reason}")
    tag = f"tune-{dt.datetime.now(dt.UTC):%Y-%m-%dT%H-%M-%S}"

    def measure(chosen: Settings) -> tuple[CellSpec, Measurement]:
        workload = chosen.on(cfg.workload)
        spec = plan_cell(trial_cfg, workload, cfg.subset, cfg.instance, detected, root, as_tuned=False).spec
        with held():
            with Reporter(spec.label, workload.sample_unit, console) as report:
                found = launcher.run(spec, cfg.instance, root, report)
            try:
                _keep(spec, found, trial_cfg, tag, root, console)
            except KeyboardInterrupt:  # while it was logged: it was measured all the same
                search.interrupted = True
        return spec, found

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    search = Search(space_of(planned, detected), cfg.tune.seed, cfg.tune.max_s)
    host = detected.host_id if cfg.instance.detect else None
    earlier = within(search.space, tuned.find(cfg.workload, cfg.instance.name, host, root))
    try:
        search.run(measure, say, earlier)
    except KeyboardInterrupt:  # between two trials
        search.interrupted = True
    verdict = _judge(search, measure, say)
    path = tuned.path_of(cfg.workload.name, cfg.instance.name, root)
    if verdict is None and (search.interrupted or not search.rates):
        say(f"{len(search.tried)} trial(s) settled nothing: what was in force before stays")
    elif verdict is None:
        say(f"the default stays: nothing was faster beyond its interval in {len(search.tried)} trial(s)")
        if earlier in search.tried:  # measured once more, it is none any more; without that, it stays
            path.unlink(missing_ok=True)
    else:
        best, (best_rate, default_rate) = verdict
        kept = Tuned(
            settings=best,
            workload=cfg.workload.model_dump(mode="json", by_alias=True),
            host_id=host,
            machine=detected.accelerator_name or detected.cpu_model,
            best=best_rate,
            default=default_rate,
            trials=len(search.tried),
            protocol=trial_cfg.protocol,
            code_md5=planned.spec.code_md5,
            tuned_at=dt.datetime.now(dt.UTC).date(),
        )
        tuned.write(kept, path)
        say(f"{words(best)}: {kept.note}; written to {path.relative_to(root)}, which `dvc repro` measures by")
    return INTERRUPTED_STATUS if search.interrupted and "DVC_STAGE" in os.environ else 0


def _launcher(cfg: Config, detected: Detected) -> LocalLauncher:
    """What runs the trials. Raises ValueError where the cell is not this machine's."""
    launcher = build_launcher(cfg.launcher)
    if not isinstance(launcher, LocalLauncher):
        raise ValueError(
            f"launcher={cfg.launcher.name}: tuning runs on the machine itself. Run it with launcher=local on a box of "
            f"the type, commit conf/tuned/{cfg.workload.name}/{cfg.instance.name}.yaml, and every launch uses it"
        )
    refused = hardware.mismatch(detected, cfg.instance)
    if refused is not None:
        raise ValueError(refused)
    return launcher


def _judge(search: Search, measure: Measure, say: Callable[[str], None]) -> tuple[Settings, tuple[Rate, Rate]] | None:
    """The best and its rate beside the default's, if it wins; both measured anew, in turn, unless Ctrl-C came."""
    default = next(iter(search.tried), None)
    if default is None or not search.rates:
        return None
    best = max(search.rates, key=lambda one: search.rates[one].samples_per_second)
    if best == default or default not in search.rates:  # or it could not run at all
        return None
    rates = search.rates[best], search.rates[default]
    if search.interrupted or not faster(*rates):
        return (best, rates) if faster(*rates) else None
    say("twice more, the default and the best in turn:")
    again: list[Rate] = []
    for one in (default, best) * (CONFIRMATIONS // 2):
        rate = search.take(one, measure, say)
        if rate is None:
            return None
        again.append(rate)
    wins = all(faster(*((b, a) if i % 2 == 0 else (a, b))) for i, (a, b) in enumerate(itertools.pairwise(again)))
    return (best, (_pooled(again[1::2]), _pooled(again[::2]))) if wins else None


def _pooled(rates: list[Rate]) -> Rate:
    """The mean, in an interval that holds all of theirs."""
    mean = statistics.fmean(one.samples_per_second for one in rates)
    return Rate(samples_per_second=mean, low=min(one.low for one in rates), high=max(one.high for one in rates))


def _keep(spec: CellSpec, found: Measurement, cfg: Config, tag: str, root: Path, console: Console) -> None:
    """A trial's receipt and MLflow run."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    origin = recording.provenance(root, cfg.launcher.name, tag).model_copy(update={"purpose": "tune"})
    record = Receipt(
        cell_key=spec.key,
        spec=spec,
        provenance=origin,
        measurement=found,
        recorded_at=now,
        burstable=cfg.instance.burst is not None,
    )
    path = root / STANDALONE / tag / f"{now.replace(':', '-')}.json"
    recording.keep(record, path, root, console, {})


if __name__ == "__main__":
    sys.exit(config.stage(main)())
