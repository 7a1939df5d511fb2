"""The launch stage: boxes side by side, whose receipts the train stages then collect."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import HURRY, PROTOCOL, World, ec2_world, git_checkout, s3_bucket  # noqa: F401
from yocobench import launch
from yocobench.bench.measurement import Measurement


def stage(world: World, *overrides: str) -> subprocess.CompletedProcess[str]:
    params = yaml.safe_load((world.root / "params.yaml").read_text())
    params |= {"workloads": ["toy"], "instances": ["local", "m5a.large", "c6i.8xlarge", "p3.2xlarge"]}
    for word in PROTOCOL:
        key, _, value = word.partition("=")
        params["protocol"][key] = int(value)
    (world.root / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", "yocobench.launch", *overrides]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(command, cwd=world.root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_boxes_run_side_by_side_and_train_collects_without_a_second_launch(world: World):
    for name in ("m5a.large", "c6i.8xlarge"):
        world.cell(name)
    args = {**HURRY, "allow_dirty": True, "poll_s": 0.5}
    done = stage(world, "launcher=ec2", *(f"launcher.{key}={str(v).lower()}" for key, v in args.items()))
    assert done.returncode == 0, done.stderr
    assert "2 cell(s) to measure" in done.stdout  # not this machine, not the retired type
    assert (world.root / launch.LAUNCHED).read_text() == "ec2\n"
    assert world.launches() == 2
    found: Measurement = world.run("m5a.large", allow_dirty=True)
    assert found.outcome == "ok"
    assert world.run("c6i.8xlarge", allow_dirty=True).outcome == "ok"
    assert world.launches() == 2


def test_a_launcher_of_this_machine_has_nothing_to_start(world: World):
    done = stage(world, "launcher=local")
    assert done.returncode == 0, done.stderr
    assert "one by one" in done.stdout
    assert (world.root / launch.LAUNCHED).read_text() == "local\n"
    assert world.launches() == 0
