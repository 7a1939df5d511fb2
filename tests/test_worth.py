"""Before a launch: what cannot win is not started, and the rest goes best value first."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import commands
import examples
from selection_cases import candidate, without_number
from selection_cases import terms as asked_terms
from yocobench import config, launch, pricelist, receipt, worth
from yocobench.candidates import terms
from yocobench.files import write_atomic
from yocobench.plan import PlannedCell
from yocobench.schema import Config
from yocobench.selection import decision as layout
from yocobench.selection.decide import decide_workload
from yocobench.selection.decision import Decision
from yocobench.selection.measure_next import cannot_win, launch_order

REPOSITORY = Path(__file__).parents[1]


# --- by the decision alone --------------------------------------------------------------------------------------


@pytest.fixture
def decision() -> Decision:
    """1,000 hours on `slow` for 100 USD; `guess` may cost half or twice of that, `hopeless` at best 10 times."""
    return decide_workload(
        [
            candidate("slow", 1, "0.10"),
            candidate("guess", 1, "0.10", spread=2, source="estimated", measure_bill_usd=Decimal("0.01")),
            candidate("dear", 1, "0.101", spread=1.1, source="estimated", measure_bill_usd=Decimal(90)),
            candidate("hopeless", 1, "2", spread=2, source="estimated"),
            candidate("local", 1, None, can_be_chosen=False),
            without_number("blank", "unmeasured", "no facts", measure_bill_usd=Decimal(1)),
        ],
        asked_terms(),
    )


def test_launches_go_by_what_is_advised_then_by_what_could_still_win(decision):
    assert [one.instance for one in decision.measure_next] == ["guess", "blank"]
    assert launch_order(decision) == ("guess", "blank", "dear")


def test_only_what_is_proven_cannot_win(decision):
    proven = {name: cannot_win(decision, name) for name in ("slow", "guess", "dear", "hopeless", "blank", "unheard-of")}
    assert [name for name, proof in proven.items() if proof] == ["hopeless"]
    assert cannot_win(decision, "local")  # nobody can choose it


# --- by the decision on file ------------------------------------------------------------------------------------


def composed(*overrides: str) -> Config:
    with initialize_config_dir(version_base=None, config_dir=str(Path.cwd() / "conf")):
        return config.load(compose("config", overrides=list(overrides)))


def cell(instance: str) -> PlannedCell:
    return PlannedCell(spec=examples.spec(instance), exclusion=None)


@pytest.fixture
def on_file(tracked: Path) -> Path:
    """A project whose decision has g5.xlarge at a hundredth of the speed of c6i.8xlarge, at today's prices."""
    (tracked / "data").mkdir()
    (tracked / pricelist.SNAPSHOT).write_bytes((REPOSITORY / pricelist.SNAPSHOT).read_bytes())
    keep(tracked)
    return tracked


def keep(project: Path) -> None:
    cfg = composed()
    snapshot = pricelist.load(project / pricelist.SNAPSHOT)
    speeds = {"c6i.8xlarge": 100_000.0, "g5.xlarge": 1000.0, "m5a.large": 10.0, "g4dn.xlarge": 90_000.0}
    candidates = []
    for name, speed in speeds.items():
        price = snapshot.find(name, cfg.region, cfg.usage_class)
        assert price is not None
        source, spread = ("measured", 1.0) if name == "c6i.8xlarge" else ("estimated", 1.1 if speed < 9e4 else 9.0)
        text = str(price.price_usd_per_hour)
        candidates.append(candidate(name, speed, text, spread, source, workload="yoco-lm", measure_bill_usd=Decimal(0)))
    made = decide_workload(candidates, terms(cfg, config.workload("yoco-lm")))
    write_atomic(project / worth.DECISION, layout.dump((made,)))


def test_a_cell_that_cannot_win_is_not_worth_a_launch(on_file):
    cfg = composed()
    known = worth.decisions(cfg, on_file)
    why = worth.why_not(cell("g5.xlarge"), cfg, known)
    assert why.startswith("cannot win by all that is known: ~")
    assert "force=true" in why
    assert worth.why_not(cell("g4dn.xlarge"), cfg, known) == ""
    assert worth.why_not(cell("p4d.24xlarge"), cfg, known) == ""  # nothing is known of it


def test_the_baseline_is_launched_all_the_same_and_so_is_what_is_forced(on_file):
    cfg, forced = composed(), composed("force=true")
    known = worth.decisions(cfg, on_file)
    assert cannot_win(known["yoco-lm"], "m5a.large")
    assert worth.why_not(cell("m5a.large"), cfg, known) == ""
    assert worth.why_not(cell("g5.xlarge"), forced, known) == ""


def neuron_cell() -> PlannedCell:
    return PlannedCell(spec=examples.spec("trn1.2xlarge").model_copy(update={"kind": "neuron"}), exclusion=None)


def test_a_trainium_cell_that_would_time_out_while_it_compiles_is_not_started(on_file, capsys):
    times = ["assume.neuron_compile_s=1200", "assume.spread=2"]
    short = composed(*times, "protocol.timeout_s=900")
    given = [neuron_cell(), cell("g4dn.xlarge")]
    assert [one.spec.instance for one in launch.worthwhile(given, short, worth.decisions(short, on_file), print)] == [
        "g4dn.xlarge"
    ]
    assert capsys.readouterr().out == (
        "yoco-lm-smoke-trn1.2xlarge: not started, protocol.timeout_s (900) would end it while it compiles, which is "
        "assumed to take 1200 s (assume.neuron_compile_s): raise protocol.timeout_s in params.yaml to 3300\n"
    )  # 900 + 2 x 1200
    assert "to 3600" in worth.why_not(neuron_cell(), composed(*times, "protocol.timeout_s=1200"), {})  # no longer
    assert worth.why_not(neuron_cell(), composed(*times, "protocol.timeout_s=1201"), {}) == ""
    for forced in ("force=true", "baseline=trn1.2xlarge"):
        assert worth.why_not(neuron_cell(), composed(*times, "protocol.timeout_s=900", forced), {})
    assert worth.why_not(cell("g4dn.xlarge"), short, {}) == ""


def test_cells_go_in_the_order_of_the_decision_and_others_behind(on_file):
    known = worth.decisions(composed(), on_file)
    given = [cell(name) for name in ("p4d.24xlarge", "m5a.large", "g4dn.xlarge")]
    ordered = [one.spec.instance for one in worth.in_order(given, known)]
    assert ordered == ["g4dn.xlarge", "p4d.24xlarge", "m5a.large"]
    assert worth.in_order(given, {}) == given


def test_the_launch_stage_starts_them_in_that_order_and_says_what_it_leaves(on_file, capsys):
    given = [cell(name) for name in ("m5a.large", "g5.xlarge", "g4dn.xlarge")]
    started = launch.worthwhile(given, composed(), worth.decisions(composed(), on_file), print)
    assert [one.spec.instance for one in started] == ["g4dn.xlarge", "m5a.large"]
    assert capsys.readouterr().out.startswith("yoco-lm-smoke-g5.xlarge: not started, cannot win by all that is known")


@pytest.mark.parametrize(
    "override", ["objective=fastest", "job.tokens=1e6", "job.budget_usd=1", "restrict.cpu_only=true"]
)
def test_a_decision_on_another_question_proves_nothing(on_file, override):
    assert worth.decisions(composed(override), on_file) == {}


def test_a_decision_at_other_prices_proves_nothing(on_file):
    file = on_file / pricelist.SNAPSHOT
    price = pricelist.load(file).find("g5.xlarge", "us-east-1", "on-demand")
    assert price is not None
    file.write_text(file.read_text().replace(f'"{price.price_usd_per_hour}"', '"0.0001"'))
    assert worth.decisions(composed(), on_file) == {}


def test_no_decision_or_a_damaged_one_stops_no_launch(on_file, capsys):
    file = on_file / worth.DECISION
    file.write_text(file.read_text()[:100])
    assert worth.decisions(composed(), on_file) == {}
    assert "launching without an order: results/decision.json: not whole JSON" in capsys.readouterr().err
    file.unlink()
    assert worth.decisions(composed(), on_file) == {}


def test_train_leaves_an_unmeasured_receipt_and_asks_no_cloud(on_file):
    (on_file / "conf/workload/yoco-lm.yaml").write_text(
        "name: yoco-lm\n_target_: toys.Toy\ndata: null\nsample_unit: token\nglobal_batch_size: 8\nmicro_batch_size: 8\n"
    )
    done = commands.run("train", "workload=yoco-lm", "instance=g5.xlarge", "launcher=ec2", "receipt=r.json")
    assert done.returncode == 0, done.stderr
    measurement = receipt.read(on_file / "r.json").measurement
    assert (measurement.outcome, measurement.repeats) == ("unmeasured", ())
    assert measurement.reason.startswith("cannot win by all that is known")
