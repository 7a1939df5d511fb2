"""Cells that share this machine, measured in turn."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

import examples
from test_train import add_toy
from yocobench import config, launch, receipt, train
from yocobench.bench.measurement import Measurement
from yocobench.launchers import turns
from yocobench.schema import Config


def cell(name: str, repeats: int = 2):
    spec = examples.spec()
    protocol = spec.protocol.model_copy(update={"repeats": repeats})
    return spec.model_copy(update={"workload": spec.workload.model_copy(update={"name": name}), "protocol": protocol})


class Bench:
    """Measures at once, and remembers in which order; `ends`: what becomes of a repeat that does not end well."""

    def __init__(self, **ends) -> None:
        self.ends, self.taken, self.micro = ends, [], []

    def __call__(self, spec, number) -> Measurement:
        name = f"{spec.workload.name}{number}"
        self.taken.append(name)
        self.micro.append(spec.micro_batch_size)
        end = self.ends.get(name, "ok")
        if isinstance(end, Exception):
            raise end
        one = examples.repeat(number, outcome=end, reason="" if end == "ok" else "because", micro_batch_size=2)
        return turns.measured([one], (), None, {"torch": "2"})


def test_repeats_are_taken_in_turn_and_each_cell_is_whole_at_the_end(tmp_path):
    bench, cells = Bench(), [cell("a"), cell("b", repeats=3)]
    assert turns.take(cells, bench, tmp_path, []) is False
    assert bench.taken == ["a0", "b0", "a1", "b1", "b2"]
    assert bench.micro == [4, 4, 2, 2, 2]  # what the first repeat found to fit is not looked for again
    first, second = (turns.whole(one, tmp_path) for one in cells)
    assert [one.repeat for one in first.repeats] == [0, 1]
    assert [one.repeat for one in second.repeats] == [0, 1, 2]
    assert (first.outcome, first.source, first.versions) == ("ok", "measured", {"torch": "2"})
    assert turns.take(cells, bench, tmp_path, []) is False  # nothing is measured twice
    assert len(bench.taken) == 5


def test_a_cell_on_its_own_is_left_to_its_stage(tmp_path):
    bench = Bench()
    assert turns.take([cell("a")], bench, tmp_path, []) is False
    assert bench.taken == []


def test_what_ended_one_repeat_ends_the_cell_and_a_mistake_is_left_to_its_stage(tmp_path, capsys):
    bench = Bench(a0="out_of_memory", b1=ValueError("not a model"))
    cells = [cell("a"), cell("b"), cell("c")]
    assert turns.take(cells, bench, tmp_path, []) is False
    assert bench.taken == ["a0", "b0", "c0", "b1", "c1"]
    assert turns.whole(cells[0], tmp_path).outcome == "out_of_memory"
    assert turns.whole(cells[1], tmp_path) is None
    assert capsys.readouterr().err == "b-smoke-local: not a model; left to its own stage\n"


def test_a_stop_keeps_what_was_done_and_the_next_time_goes_on_from_there(tmp_path):
    stop, cells = [], [cell("a"), cell("b")]
    bench = Bench(a1="interrupted")

    def stopped(spec, number):
        if (spec.workload.name, number) == ("a", 1):
            stop.append(15)
        return bench(spec, number)

    assert turns.take(cells, stopped, tmp_path, stop) is True
    assert bench.taken == ["a0", "b0", "a1"]
    assert turns.whole(cells[0], tmp_path) is None
    again = Bench()
    assert turns.take(cells, again, tmp_path, []) is False
    assert again.taken == ["a1", "b1"]
    assert [one.outcome for one in turns.whole(cells[0], tmp_path).repeats] == ["ok", "ok"]


def test_repeats_kept_in_a_damaged_file_are_measured_again(tmp_path, capsys):
    bench, cells = Bench(), [cell("a"), cell("b")]
    turns.take(cells, bench, tmp_path, [])
    path = turns.path_of(cells[1], tmp_path)
    path.write_text(path.read_text()[:100])
    assert turns.whole(cells[1], tmp_path) is None
    said = f"mlruns/turns/b-smoke-local-{cells[1].key}.json: not whole, removed; its repeats are measured again\n"
    assert capsys.readouterr().err == said
    assert turns.whole(cells[0], tmp_path) is not None


@pytest.mark.slow
def test_the_launch_stage_takes_turns_and_the_train_stages_record_them(tracked: Path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("one", "two"):
        add_toy(tracked, name)
    (tracked / "constraints.txt").touch()
    params = yaml.safe_load((tracked / "params.yaml").read_text())
    params |= {"workloads": ["one", "two"], "instances": ["local", "g4dn.xlarge"]}
    params["protocol"] |= {"repeats": 2, "max_steps": 4, "min_steps": 3, "warmup_steps": 1}
    (tracked / "params.yaml").write_text(yaml.safe_dump(params))

    def asked(*words: str) -> Config:
        with initialize_config_dir(version_base=None, config_dir=str(tracked / "conf")):
            return config.load(compose("config", overrides=["launcher=local", *words]))

    assert launch.main(asked()) == 0
    assert "2 cells share this machine: their repeats are taken in turn" in capsys.readouterr().out
    kept = sorted((tracked / turns.FOLDER).iterdir())
    assert [path.name.split("-local-")[0] for path in kept] == ["one-smoke", "two-smoke"]
    started = {}
    for name in ("one", "two"):
        path = f"results/receipts/{name}/smoke/local.json"
        assert train.main(asked(f"workload={name}", "instance=local", f"receipt={path}")) == 0
        assert "repeat 1 of 2" not in capsys.readouterr().err  # nothing was measured again
        found = receipt.read(tracked / path)
        assert (found.measurement.outcome, found.run_id is None) == ("ok", False)
        started |= {f"{name}{one.repeat}": one.started_at for one in found.measurement.repeats}
    assert started["one0"] <= started["two0"] <= started["one1"] <= started["two1"]
    assert list((tracked / turns.FOLDER).iterdir()) == []  # recorded: not given a second time
    assert launch.main(asked()) == 0
    assert "share this machine" not in capsys.readouterr().out
