"""What tuning tries, when it stops, what wins, and that the plan then measures by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from test_train import add_toy, study  # noqa: F401 (fixture)
from yocobench import config, plan, tune, tuned
from yocobench.bench import hardware
from yocobench.bench.measurement import Measurement, RepeatResult
from yocobench.tracking import open_store, query
from yocobench.tune import Search
from yocobench.tuned import Rate, Settings

SPACE = {"micro_batch_size": [8, 4, 2], "threads": [2, 1]}


def run_at(rate: float) -> Measurement:
    """Ten steps of one second each, `rate` samples in each."""
    repeat = RepeatResult(
        repeat=0, outcome="ok", started_at="2026-11-23T00:00:00+00:00", samples_per_step=int(rate),
        step_times_s=(1.0,) * 10, data_wait_s=(0.0,) * 10,
    )  # fmt: skip
    return Measurement(outcome="ok", source="measured", detected=None, repeats=(repeat,))


FAILED = Measurement(outcome="out_of_memory", reason="full", source="measured", detected=None)


class World:
    """Rates by configuration, ten seconds a trial."""

    def __init__(self, interrupt_at=None):
        self.now, self.asked, self.interrupt_at = 0.0, [], interrupt_at

    def measure(self, chosen):
        self.now += 10
        self.asked.append(chosen)
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        if chosen.micro_batch_size == 8 and chosen.threads == 1:
            return None, FAILED
        return None, run_at(100 * chosen.threads + (50 if chosen.micro_batch_size == 4 else 0))

    def search(self, max_s=1e6, seed=0):
        found = Search(SPACE, seed, max_s, clock=lambda: self.now)
        found.run(self.measure, lambda line: None)
        return found


def test_the_default_comes_first_and_each_configuration_is_measured_once():
    world = World()
    found = world.search()
    assert world.asked[0] == Settings(micro_batch_size=8, threads=2)
    assert len(world.asked) == len(set(world.asked)) <= 6
    assert max(found.rates.values(), key=lambda rate: rate.samples_per_second).samples_per_second == 250
    assert found.tried.get(Settings(micro_batch_size=8, threads=1), "out_of_memory") == "out_of_memory"
    assert Settings(micro_batch_size=8, threads=1) not in found.rates


def test_the_seed_fixes_the_order():
    first, again = World(), World()
    first.search(seed=3)
    again.search(seed=3)
    assert first.asked == again.asked


def test_no_trial_starts_that_would_leave_no_time_for_the_confirmations():
    world = World()
    world.search(max_s=70)  # a third trial leaves 40 s: four confirmations of 10 s
    assert len(world.asked) == 3


def test_ctrl_c_keeps_what_was_found():
    world = World(interrupt_at=3)
    found = world.search()
    assert found.interrupted
    assert len(found.tried) == 2


def rate(middle, half):
    return Rate(samples_per_second=middle, low=middle - half, high=middle + half)


@pytest.mark.parametrize(("best", "default", "wins"), [(120, 100, True), (105, 100, False), (90, 100, False)])
def test_only_what_is_faster_beyond_both_intervals_wins(best, default, wins):
    assert tune.faster(rate(best, 4), rate(default, 4)) is wins


def composed(*overrides):
    with initialize_config_dir(version_base=None, config_dir=str(Path("conf").absolute())):
        return config.load(compose(config_name="config", overrides=list(overrides)))


def planned(*overrides):
    cfg = composed("workload=waiting", "instance=local", *overrides)
    return plan.plan_cell(cfg, cfg.workload, cfg.subset, cfg.instance, hardware.detect(), Path.cwd()).spec


@pytest.mark.slow
def test_the_winner_is_what_the_cell_is_measured_by(study, monkeypatch, capsys):  # noqa: F811
    add_toy(study, "waiting", sleep_s=0.6, num_workers=0)  # or 0.06 s: far beyond what a busy host adds
    monkeypatch.setattr(tune, "space_of", lambda planned, detected: {"num_workers": [0, 9]})
    before = planned()
    fast = ["protocol.min_steps=5", "protocol.max_steps=12", "protocol.warmup_steps=1", "tune.trial_s=1"]
    assert tune.main(composed("workload=waiting", "instance=local", *fast)) == 0
    path = study / "conf/tuned/waiting/local.yaml"
    text = yaml.safe_load(path.read_text())
    assert text["settings"] == {"num_workers": 9}
    assert text["trials"] == 2
    assert text["best"]["samples_per_second"] > 2 * text["default"]["samples_per_second"]

    after = planned()
    assert after.workload.args["num_workers"] == 9
    assert after.key != before.key
    # Settled otherwise on the command line, or another machine: as it says.
    assert planned("workload.args.num_workers=1").workload.args["num_workers"] == 1
    assert tuned.find(composed("workload=waiting").workload, "local", "another host", study) is None

    store = open_store(study)
    runs = query.runs(store, "tags.purpose = 'tune'")
    assert {run.data.tags["level"] for run in runs} == {"trial", "trial-repeat"}
    assert len(runs) == 2 * (2 + 4)  # two trials, and both twice more
    assert len({run.data.tags["sweep"] for run in runs}) == 1
    keys = [run.data.tags["cell_key"] for run in runs]
    assert set(map(len, store.fetch_repeats(keys).values())) == {0}  # no decision counts them


@pytest.mark.parametrize(
    ("interrupted", "tried", "stays"),
    [(True, (2, 1), True), (False, (2,), True), (False, (), True), (False, (2, 1), False)],
    ids=["Ctrl-C", "no time but for the default", "nothing ran", "measured and lost"],
)
def test_an_earlier_winner_goes_only_where_it_was_measured_and_lost(study, monkeypatch, interrupted, tried, stays):  # noqa: F811
    def run(search, measure, say, earlier):
        assert earlier == Settings(threads=1)
        search.interrupted = interrupted
        search.tried = {Settings(threads=n): "ok" for n in tried}
        search.rates = {Settings(threads=n): rate(100, 1) for n in tried}

    monkeypatch.setattr(Search, "run", run)
    monkeypatch.setattr(tune, "space_of", lambda planned, detected: {"threads": [2, 1]})
    path = study / "conf/tuned/toy/local.yaml"
    tuned.write(winner(Settings(threads=1)), path)
    tune.main(composed("workload=toy", "instance=local"))
    assert path.exists() is stays


def test_ctrl_c_while_a_trial_is_logged_keeps_its_rate(study, monkeypatch):  # noqa: F811
    searches = []

    def run(search, measure, say, earlier):
        searches.append(search)
        search.take(Settings(threads=2), measure, say)

    def keep(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "run", run)
    monkeypatch.setattr(tune, "_keep", keep)
    monkeypatch.setattr("yocobench.launchers.local.LocalLauncher.run", lambda *_: run_at(100))
    tune.main(composed("workload=toy", "instance=local"))
    assert searches[0].interrupted
    assert searches[0].rates[Settings(threads=2)].samples_per_second == 100


def winner(settings):
    cfg = composed("workload=toy")
    return tuned.Tuned(
        settings=settings, workload=cfg.workload.model_dump(mode="json", by_alias=True),
        host_id=hardware.detect().host_id, machine="this one", best=rate(120, 1), default=rate(100, 1), trials=3,
        protocol=cfg.protocol, code_md5="c0de", tuned_at="2026-11-23",
    )  # fmt: skip


@pytest.mark.usefixtures("study")
def test_an_earlier_winner_is_the_second_trial_if_its_values_are_still_tried():
    assert tune.within(SPACE, winner(Settings(threads=1))) == Settings(micro_batch_size=8, threads=1)
    assert tune.within(SPACE, winner(Settings(threads=3))) is None
    assert tune.within(SPACE, winner(Settings(threads=1, compile=False))) is None
    assert tune.within(SPACE, None) is None
    world = World()
    found = Search(SPACE, 0, 60, clock=lambda: world.now)
    found.run(world.measure, lambda line: None, Settings(micro_batch_size=4, threads=1))
    assert world.asked == [Settings(micro_batch_size=8, threads=2), Settings(micro_batch_size=4, threads=1)]


@pytest.mark.parametrize("seed", range(4))
def test_an_earlier_winner_is_the_second_trial_also_where_a_default_is_null(seed):
    space = {"micro_batch_size": [16, 8, 4], "num_workers": [None, 0, 1, 2, 4]}
    asked = []

    def measure(chosen):
        asked.append(chosen)
        return None, run_at(100)

    found = Search(space, seed, 60, clock=lambda: 10.0 * len(asked))  # a third trial leaves no time
    found.run(measure, lambda line: None, Settings(micro_batch_size=8))
    assert asked == [Settings(micro_batch_size=16), Settings(micro_batch_size=8)]


@pytest.mark.parametrize(
    ("anew", "wins"),
    [((100, 120, 101, 121), True), ((100, 120, 130, 150), False), ((100, 120, 101, 101), False)],
    ids=["steady", "the host got faster meanwhile", "once only"],
)
def test_the_best_has_to_beat_the_default_before_and_after_it(anew, wins):
    default, best = Settings(threads=2), Settings(threads=1)
    search = Search({"threads": [2, 1]}, 0, 1e6)
    search.tried, search.rates = {default: "ok", best: "ok"}, {default: rate(100, 0), best: rate(150, 0)}
    left, asked = list(anew), []

    def measure(chosen):
        asked.append(chosen)
        return None, run_at(left.pop(0))

    found = tune._judge(search, measure, lambda line: None)
    assert asked == [default, best, default, best]
    assert (found is not None) is wins
    if found is not None:
        assert found[0] == best
        assert [one.samples_per_second for one in found[1]] == [120.5, 100.5]


def test_a_launcher_that_is_not_here_is_refused_with_what_to_do(study):  # noqa: F811
    with pytest.raises(ValueError, match=r"launcher=replay: .* commit conf/tuned/toy/local.yaml"):
        tune.main(composed("workload=toy", "launcher=replay"))


def test_a_damaged_file_is_named(study):  # noqa: F811
    path = study / "conf/tuned/toy/local.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("settings: {threads: many}\n")
    with pytest.raises(
        ValueError, match=r"^conf/tuned/toy/local.yaml: not what tuning writes \(settings.threads: [^\n]*\); delete"
    ):
        tuned.read(path)
