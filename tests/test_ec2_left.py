"""What a killed client leaves is collected, or at least told of, whatever its cell is worth by then."""

import datetime as dt
import shutil
import signal
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import HURRY, World, ec2_world, git_checkout, s3_bucket, wait_for  # noqa: F401
from test_ec2_again import left
from test_ec2_launch_stage import study
from test_ec2_ledger import entry
from yocobench import config, launch, receipt, train, worth
from yocobench.aws.ledger import Ledger, now
from yocobench.launchers import ec2
from yocobench.schema import Config

RECEIPT = "results/receipts/toy/smoke/m5a.large.json"


def composed(world: World, *words: str, **changes: object) -> Config:
    """What the stages are called with."""
    args = {**HURRY, "allow_dirty": True, **changes}
    settings = [f"launcher.{key}={str(value).lower()}" for key, value in args.items()]
    cell = ["workload=toy", "subset=smoke", "instance=m5a.large", "launcher=ec2"]
    with initialize_config_dir(version_base=None, config_dir=str(world.root / "conf")):
        return config.load(compose("config", overrides=[*cell, *settings, *words]))


@pytest.fixture
def killed(world: World, store_template: Path) -> World:
    """A study of one cell, whose client died of SIGKILL while the box trained; the box goes on."""
    shutil.copy(store_template, world.root / "mlruns/mlflow.db")
    study(world, "m5a.large")
    kill(world)
    return world


def kill(world: World) -> None:
    (slow := world.boxes.folder / "slow").touch()
    assert wait_for(world.client("m5a.large", "while the box trains")) == -signal.SIGKILL
    slow.unlink()


@pytest.mark.slow
def test_the_launch_stage_follows_the_box_of_a_cell_that_cannot_win_any_more(
    killed: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(worth, "why_not", lambda *_: "cannot win")
    assert launch.main(composed(killed)) == 0
    told = capfd.readouterr().out
    assert "launch ec2: 0 cell(s) to measure, 4 at once\n" in told
    assert "launch ec2: 1 cell(s) whose client was killed, to collect\n" in told
    assert "not started" not in told
    assert "reap" not in told
    assert killed.boxes.alive() == []
    assert [one.state for one in killed.ledger.entries()] == ["ended"]  # its receipt waits
    assert train.main(composed(killed, f"receipt={RECEIPT}")) == 0
    assert left(killed, "m5a.large").outcome == "ok"
    assert [one.state for one in killed.ledger.entries()] == ["closed"]
    assert killed.launches() == 1


@pytest.mark.slow
@pytest.mark.parametrize("confirm", [True, False])
def test_the_same_cell_run_again_collects_its_box_though_it_cannot_win(
    killed: World, monkeypatch: pytest.MonkeyPatch, confirm: bool
):
    monkeypatch.setattr(worth, "why_not", lambda *_: "cannot win")
    assert train.main(composed(killed, "receipt=one.json", confirm=confirm)) == 0
    assert receipt.read(killed.root / "one.json").measurement.outcome == "ok"
    assert [one.state for one in killed.ledger.entries()] == ["closed"]
    assert killed.launches() == 1


@pytest.mark.slow
@pytest.mark.parametrize("confirm", [True, False])
def test_a_box_that_force_started_over_a_receipt_is_collected_without_force(killed: World, confirm: bool):
    """`launch` follows it where boxes run side by side, `train` where each cell asks."""
    assert train.main(composed(killed, f"receipt={RECEIPT}")) == 0
    first = left(killed, "m5a.large").extra["run_id"]
    receipt.set_aside(killed.root)  # stage plan, of `dvc repro` with force=true
    (killed.root / RECEIPT).unlink()  # dvc
    kill(killed)
    assert launch.main(composed(killed, confirm=confirm)) == 0
    assert train.main(composed(killed, f"receipt={RECEIPT}", confirm=confirm)) == 0
    assert left(killed, "m5a.large").outcome == "ok"
    assert left(killed, "m5a.large").extra["run_id"] != first
    assert [one.state for one in killed.ledger.entries()] == ["closed", "closed"]
    assert killed.launches() == 2


@pytest.mark.slow
def test_where_the_box_is_gone_nothing_new_is_started_for_a_cell_that_cannot_win(
    world: World, store_template: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The client died after it had asked, and AWS had started nothing."""
    shutil.copy(store_template, world.root / "mlruns/mlflow.db")
    study(world, "m5a.large")
    assert wait_for(world.client("m5a.large", "before asking for the box")) == -signal.SIGKILL
    (known,) = world.ledger.entries()
    asked = known.with_(state="asked", asked_at=now() - dt.timedelta(minutes=5))
    with monkeypatch.context() as hopeless:
        hopeless.setattr(worth, "why_not", lambda *_: "cannot win")
        world.ledger.put(asked)
        assert launch.main(composed(world)) == 0
        assert "toy-smoke-m5a.large: its earlier box is gone, and left nothing" in capfd.readouterr().err
        assert [one.state for one in world.ledger.entries()] == ["closed"]
        world.ledger.put(asked)
        assert train.main(composed(world, f"receipt={RECEIPT}")) == 0
        assert (left(world, "m5a.large").outcome, left(world, "m5a.large").reason) == ("unmeasured", "cannot win")
        assert world.aws.actions()["ec2:RunInstances"] == 0
    world.ledger.put(asked)
    assert launch.main(composed(world)) == 0  # worth a box: it gets one
    assert [one.state for one in world.ledger.entries()] == ["closed", "ended"]
    assert world.launches() == 1
    assert world.run("m5a.large", allow_dirty=True).outcome == "ok"


@pytest.mark.slow
def test_a_box_that_no_cell_of_the_study_collects_is_told_of_under_every_launcher(
    killed: World, capfd: pytest.CaptureFixture[str]
):
    study(killed, "local")
    (known,) = killed.ledger.entries()
    line = f"toy-smoke-m5a.large: box {known.instance_id} (us-east-1) still runs, or nobody saw its end: python -m "
    for launcher in ("ec2", "local"):
        with initialize_config_dir(version_base=None, config_dir=str(killed.root / "conf")):
            cfg = config.load(compose("config", overrides=["workload=toy", f"launcher={launcher}"]))
        assert launch.main(cfg) == 0
        assert f"{line}yocobench.reap --all\n" in capfd.readouterr().out
    killed.run("m5a.large")


def test_only_what_a_dead_client_left_open_and_nobody_collects_is_told_of(tmp_path: Path):
    ledger = Ledger(tmp_path)
    for state in ("intended", "asked", "running", "ended", "closed"):
        ledger.put(entry(state, state=state, cell_key=state * 2, label=state))
    ledger.put(entry("followed", state="running", cell_key="ffff"))
    ledger.put(entry("collected", state="running", cell_key="cccc"))
    with ledger.cell("ffff"):
        told = list(launch.strays(tmp_path, {"cccc"}))
    assert told == [
        "asked: box asked (us-east-1) still runs, or nobody saw its end: python -m yocobench.reap --all",
        "running: box running (us-east-1) still runs, or nobody saw its end: python -m yocobench.reap --all",
    ]
    (ledger.folder / "a.json").write_text("{")
    assert "a.json: not a ledger entry" in next(launch.strays(tmp_path, set()))
    assert list(launch.strays(tmp_path / "nothing", set())) == []


@pytest.mark.parametrize(
    ("state", "waits", "is_left"),
    [
        ("intended", False, False),
        ("asked", True, True),
        ("running", True, True),
        ("ended", True, False),
        ("closed", False, False),
    ],
)
def test_what_waits_to_be_collected(world: World, state: str, waits: bool, is_left: bool):
    spec, _ = world.cell("m5a.large")
    launcher = ec2.Ec2Launcher(**{**config.entry("launcher", "ec2").args, **HURRY})
    world.ledger.put(entry("a", state=state, cell_key=spec.key))
    assert (launcher.waits(spec, world.root), launcher.left(spec, world.root)) == (waits, is_left)
    with world.ledger.cell(spec.key):  # a living client's box is its own
        assert launcher.waits(spec, world.root) is (state == "ended")
        assert not launcher.left(spec, world.root)
