"""What is not started twice: a box that may not be listed yet, and one whose end is still to be recorded."""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from aws_stand_in import aws_account  # noqa: F401
from ec2_guest import TESTS
from ec2_world import BUCKET, HURRY, World, ec2_world, git_checkout, s3_bucket, wait_for  # noqa: F401
from test_ec2_launch_stage import study
from yocobench import config, receipt, train, worth
from yocobench.aws import boxes, ending
from yocobench.bench.measurement import Measurement
from yocobench.launchers import ec2, ec2_box

NOBODY = """<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>none</requestId><reservationSet/></DescribeInstancesResponse>"""


@pytest.mark.slow
def test_a_box_of_the_third_zone_is_waited_for_however_long_the_walk_there_took(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Asked 80 s, 40 s and 0 s ago; EC2 may take 60 s to list the box, and does not list it at the first look."""
    world.aws.fail("ec2:RunInstances", "InsufficientInstanceCapacity", status=500, zones=["us-east-1a", "us-east-1b"])
    monkeypatch.setattr(ending, "SETTLE_S", 60.0)
    now, request, ago_s = ec2_box.now, boxes._request, [80]

    def walk(*args: Any) -> dict[str, Any]:
        ago_s[:] = [{"us-east-1a": 80, "us-east-1b": 40, "us-east-1c": 0}[args[3]]]
        return request(*args)

    with monkeypatch.context() as clock:
        clock.setattr(boxes, "_request", walk)
        clock.setattr(ec2_box, "now", lambda: now() - dt.timedelta(seconds=ago_s[0]))
        killed = world.client("m5a.large", "after AWS said yes, before the ledger knows")
        assert wait_for(killed) == -signal.SIGKILL
    assert world.launches() == 1
    world.aws.answer("ec2:DescribeInstances", NOBODY, times=1)
    assert world.run("m5a.large").outcome == "ok"
    assert world.launches() == 1


def pipeline(world: World, *instances: str) -> None:
    """The stages launch and train of one `dvc repro` over these, as DVC calls them."""
    for command in (["launch"], *(["train", "workload=toy", "subset=smoke", f"instance={one}"] for one in instances)):
        path = [f"receipt=results/receipts/toy/smoke/{command[-1].partition('=')[2]}.json"] if command[1:] else []
        words = [f"launcher.{key}={str(value).lower()}" for key, value in {**HURRY, "allow_dirty": True}.items()]
        done = run_stage(*command, "launcher=ec2", "force=true", *path, *words)
        assert done.returncode == 0, done.stderr


def run_stage(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", f"yocobench.{module}", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def left(world: World, instance: str) -> Measurement:
    return receipt.read(world.root / f"results/receipts/toy/smoke/{instance}.json").measurement


@pytest.mark.slow
def test_a_box_that_failed_in_the_launch_stage_is_recorded_by_its_train_stage_and_tried_again_by_the_next_repro(
    world: World, store_template: Path
):
    """(0.086 + 0.08 x 100 / 730 + 0.005) USD/h for the minute that is billed at least: 0.001699 USD."""
    shutil.copy(store_template, world.root / "mlruns/mlflow.db")
    study(world, "m5a.large", "c6i.8xlarge")
    for name in ("m5a.large", "c6i.8xlarge"):
        world.cell(name)
    world.boxes.faults = {"m5a.large": "spot"}
    world.aws.fail("ec2:RunInstances", "VcpuLimitExceeded", when={"InstanceType": "c6i.8xlarge"})
    pipeline(world, "m5a.large", "c6i.8xlarge")
    assert world.launches() == 1
    assert world.aws.actions()["ec2:RunInstances"] == 2
    reclaimed, refused = left(world, "m5a.large"), left(world, "c6i.8xlarge")
    assert (reclaimed.outcome, reclaimed.reason) == ("killed", "AWS took the spot instance back before it was done")
    assert (reclaimed.extra["billed_s"], reclaimed.extra["cost_usd"]) == (60, 0.001699)
    assert (refused.outcome, refused.extra["cost_usd"]) == ("unavailable", 0)
    assert [entry.state for entry in world.ledger.entries()] == ["closed", "closed"]

    world.boxes.faults = {}
    world.aws.heal()  # the quota was raised
    pipeline(world, "m5a.large", "c6i.8xlarge")
    assert (left(world, "m5a.large").outcome, left(world, "c6i.8xlarge").outcome) == ("ok", "ok")
    assert world.launches() == 3


@pytest.mark.slow
def test_a_number_that_came_home_is_recorded_though_it_cannot_win(
    world: World, store_template: Path, monkeypatch: pytest.MonkeyPatch
):
    """The launch stage measured it, and by that number it loses."""
    shutil.copy(store_template, world.root / "mlruns/mlflow.db")
    study(world, "m5a.large")
    monkeypatch.setattr(worth, "why_not", lambda *_: "cannot win")
    path = "results/receipts/toy/smoke/m5a.large.json"
    cell = ["workload=toy", "instance=m5a.large", "launcher=ec2", f"receipt={path}"]
    args = [f"launcher.{key}={str(value).lower()}" for key, value in {**HURRY, "allow_dirty": True}.items()]
    with initialize_config_dir(version_base=None, config_dir=str(world.root / "conf")):
        cfg = config.load(compose("config", overrides=[*cell, *args]))
    spec, found = world.cell("m5a.large")
    assert train.main(cfg) == 0
    assert left(world, "m5a.large").outcome == "unmeasured"
    assert world.launches() == 0
    launcher = ec2.Ec2Launcher(**cfg.launcher.args)
    assert launcher.run(spec, found, world.root, world.reports.append).outcome == "ok"
    assert train.main(cfg) == 0
    assert left(world, "m5a.large").outcome == "ok"
    assert world.launches() == 1
    assert [entry.state for entry in world.ledger.entries()] == ["closed"]


@pytest.mark.slow
def test_a_measured_cell_is_not_paid_for_again_when_the_study_comes_back_to_ec2(world: World, store_template: Path):
    """`launch: ec2`, then `local`, then `ec2`: each change of the command has DVC remove the receipt."""
    shutil.copy(store_template, world.root / "mlruns/mlflow.db")
    study(world, "m5a.large")
    world.cell("m5a.large")
    pipeline(world, "m5a.large")
    path = world.root / "results/receipts/toy/smoke/m5a.large.json"
    measured = path.read_bytes()
    cell = ["workload=toy", "instance=m5a.large", "receipt=results/receipts/toy/smoke/m5a.large.json"]
    for launcher, args in (("local", {}), ("ec2", {**HURRY, "allow_dirty": True})):
        words = [f"launcher={launcher}", *(f"launcher.{key}={str(value).lower()}" for key, value in args.items())]
        done = run_stage("launch", *words)
        assert done.returncode == 0, done.stderr
        path.unlink()
        if launcher == "ec2":  # dvc was killed there, and starts again
            done = run_stage("launch", *words)
            assert "0 cell(s) to measure" in done.stdout, done.stderr
        done = run_stage("train", *cell, *words)
        assert done.returncode == 0, done.stderr
        assert path.read_bytes() == measured
        assert "measured 80.0 samples/s" in done.stderr
    assert world.launches() == 1


@pytest.mark.slow
def test_an_outcome_that_was_not_recorded_is_given_once_and_a_receipt_that_came_late_before_it(world: World):
    launcher = ec2.Ec2Launcher(**{**config.entry("launcher", "ec2").args, **HURRY})
    spec, found = world.cell("m5a.large")
    assert launcher.run(spec, found, world.root, world.reports.append).outcome == "ok"
    (entry,) = world.ledger.entries()
    # Its client was killed when it had given the box up, before it saw that a receipt was there.
    world.ledger.put(entry.with_(outcome="timeout", note="not done"))
    assert world.run("m5a.large").outcome == "ok"
    world.ledger.put(entry.with_(outcome="timeout", note="not done"))
    world.aws.admin("s3").delete_object(Bucket=BUCKET, Key=entry.key("marker.json"))
    assert (ended := world.run("m5a.large")).outcome == "timeout"
    assert (ended.reason, ended.extra["cost_usd"]) == ("not done", 0.001699)
    assert world.launches() == 1
    assert world.run("m5a.large").outcome == "ok"
    assert world.launches() == 2
