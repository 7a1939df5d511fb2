"""What is sent to a box, and what the box does: the bundle, the user-data, the request; once with real training."""

import datetime as dt
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_guest import TESTS, notes
from ec2_world import BUCKET, PROTOCOL, World, ec2_world, git_checkout, s3_bucket  # noqa: F401
from yocobench import receipt
from yocobench.aws import bundle, guest, session
from yocobench.bench.data.text import TokenFile, header
from yocobench.bench.measurement import Measurement
from yocobench.launchers import ec2
from yocobench.launchers.local import LocalLauncher
from yocobench.schema import CellSpec, Instance


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def made(world: World, folder: Path, spec: CellSpec, instance: Instance) -> dict[str, bundle.Part]:
    folder.mkdir()
    parts = bundle.make(spec, instance, world.root, folder, git(world.root, "rev-parse", "HEAD"), "us-east-1")
    return {part.name: part for part in parts}


def content(part: bundle.Part) -> dict[str, bytes]:
    with tarfile.open(part.path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}


@pytest.mark.slow
def test_a_box_really_trains_the_cell_and_its_receipt_comes_home(world: World):
    world.boxes.train = "real"
    measurement = world.run("m5a.large", poll_s=0.5, heartbeat_s=1, torch_cpu_index="https://wheels.invalid/cpu")
    assert (measurement.outcome, measurement.source, measurement.reason) == ("ok", "measured", "")
    assert len(measurement.repeats[0].step_times_s) == 3
    assert measurement.detected.instance_type == "m5a.large"  # by the metadata service
    assert measurement.versions["torch"]
    extra = measurement.extra
    assert extra["billed_s"] == 60  # the minimum
    # (0.086 + 0.08 x 100 / 730 + 0.005) USD/h for a minute; at worst for the 22 min of the plan and 10 more.
    assert extra["cost_usd"] == pytest.approx(0.101959 / 60, abs=1e-6)
    assert extra["planned_worst_usd"] == 0.06  # 0.05438, to the next cent
    assert extra["over_plan"] is False
    assert set(measurement.phases_s) == {"boot", "setup", "other"}
    (home,) = [world.boxes.home(name) for name in world.boxes.guests]
    assert notes(home, "shutdown") == ["-h +22", "-h now"]
    assert [line.split("300 ")[1] for line in notes(home, "apt-get")] == [
        "update",
        "install python3-venv python3-dev g++",
    ]
    assert "unattended-upgrades.service" in notes(home, "systemctl")[0]
    (pip,) = notes(home, "pip")
    assert "--constraint constraints.txt --extra-index-url https://wheels.invalid/cpu" in pip
    assert pip.endswith("--editable repo")


@pytest.mark.slow
def test_the_command_line_launches_records_and_closes(world: World, store_template: Path):
    shutil.copy(store_template, world.root / "mlruns/mlflow.db")
    world.cell("m5a.large")
    words = ["workload=toy", "subset=smoke", "instance=m5a.large", "launcher=ec2", "receipt=results/one.json"]
    words += [f"launcher.{word}" for word in (f"bucket={BUCKET}", "confirm=true", "poll_s=0.2", "heartbeat_s=0.2")]
    words += [f"protocol.{word}" for word in PROTOCOL]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "yocobench.train", *words]
    done = subprocess.run(command, check=False, cwd=world.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "worst case 0.06 USD" in done.stderr
    assert "toy-smoke-m5a.large: measured 80.0 samples/s" in done.stderr
    kept = receipt.read(world.root / "results/one.json")
    assert kept.measurement.repeats[0].losses == (3.0, 2.0, 1.0)
    assert kept.provenance.launcher == "ec2"
    assert kept.run_id is not None
    assert [entry.state for entry in world.ledger.entries()] == ["closed"]


@pytest.mark.slow
def test_an_image_with_its_own_framework_keeps_it(world: World):
    path = world.root / "conf/images.yaml"
    path.write_text(path.read_text().replace("/opt/pytorch/bin/python", str(world.boxes.folder / "bin/venv-python")))
    measurement = world.run("g4dn.xlarge")
    assert measurement.outcome == "ok"
    (home,) = [world.boxes.home(name) for name in world.boxes.guests]
    assert notes(home, "apt-get") == []
    (pip,) = notes(home, "pip")
    assert "--extra-index-url" not in pip
    (constraints,) = home.glob("yocobench.*/constraints.txt")
    kept = {line.partition("==")[0] for line in constraints.read_text().splitlines()}
    assert "mlflow" in kept
    assert not kept & {"torch", "numpy", "triton"}


@pytest.mark.parametrize(
    ("action", "name", "words"),
    [
        ("s3:GetObject", "job", "error: S3 answered HTTP 307 / error: job was not downloaded"),
        ("s3:PutObject", "receipt.json", "error: S3 answered HTTP 307 / error: the receipt was not uploaded"),
    ],
)
def test_a_redirect_is_no_answer_to_a_box(
    world: World, monkeypatch: pytest.MonkeyPatch, action: str, name: str, words: str
):
    monkeypatch.setattr(ec2, "new_run_id", lambda: "20261123T101112-00000000")
    path = f"/{BUCKET}/yocobench/runs/20261123T101112-00000000/{name}"
    world.aws.fail(action, "TemporaryRedirect", status=307, when={"path": path})
    measurement = world.run("m5a.large")
    assert measurement.outcome == "killed"
    assert words in measurement.reason


def test_the_request_has_no_key_no_ingress_no_role_and_ends_with_the_box(world: World):
    world.boxes.hold.clear()
    world.run("m5a.large", boot_s=0.1, usage_class="on-demand")
    (call,) = [call for call in world.aws.calls if call.action == "ec2:RunInstances"]
    asked = call.params
    assert not [key for key in asked if key.startswith(("KeyName", "IamInstanceProfile"))]
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["MetadataOptions.HttpTokens"] == "required"
    assert asked["BlockDeviceMapping.1.DeviceName"] == "/dev/sda1"
    assert asked["BlockDeviceMapping.1.Ebs.Encrypted"] == "true"
    assert asked["BlockDeviceMapping.1.Ebs.DeleteOnTermination"] == "true"
    assert asked["BlockDeviceMapping.1.Ebs.VolumeType"] == "gp3"
    (entry,) = world.ledger.entries()
    assert asked["ClientToken"] == f"{entry.run_id}-us-east-1a"
    tagged = [value for key, value in asked.items() if key.endswith("ResourceType")]
    assert tagged == ["instance", "volume", "network-interface"]
    (group,) = world.aws.admin("ec2").describe_security_groups(GroupNames=["yocobench-no-ingress"])["SecurityGroups"]
    assert group["IpPermissions"] == []
    assert asked["NetworkInterface.1.SecurityGroupId.1"] == group["GroupId"]
    intent = world.aws.admin("s3").get_object(Bucket=BUCKET, Key=entry.key("intent.json"))["Body"].read()
    assert json.loads(intent)["run_id"] == entry.run_id


def test_the_intent_is_in_the_bucket_and_the_ledger_before_aws_is_asked(world: World):
    world.aws.fail("ec2:RunInstances", "UnauthorizedOperation", "not you", status=403)
    with pytest.raises(OSError, match=r"not allowed.*docs/iam-policy.json"):
        world.run("m5a.large")
    names = [call.action for call in world.aws.calls]
    assert "s3:PutObject" in names[: names.index("ec2:RunInstances")]
    (entry,) = world.ledger.entries()
    assert (entry.state, entry.cost_usd) == ("closed", 0)


def test_spot_is_asked_for_once_and_tagged(world: World):
    prices = json.loads((world.root / "data/prices.json").read_text())
    spot = {**prices["prices"][0], "usage_class": "spot", "zone": "us-east-1a", "price_usd_per_hour": "0.030"}
    prices["prices"].append(spot)
    (world.root / "data/prices.json").write_text(json.dumps(prices))
    world.boxes.hold.clear()
    measurement = world.run("m5a.large", boot_s=0.1, usage_class="spot")
    (call,) = [call for call in world.aws.calls if call.action == "ec2:RunInstances"]
    assert call.params["InstanceMarketOptions.MarketType"] == "spot"
    assert call.params["InstanceMarketOptions.SpotOptions.SpotInstanceType"] == "one-time"
    assert measurement.extra["planned_worst_usd"] == 0.06  # spot may cost as much as on-demand


def test_the_box_gets_the_code_of_a_commit_and_the_settings_of_the_cell(world: World, tmp_path: Path):
    spec, instance = world.cell("m5a.large")
    parts = made(world, tmp_path / "parts", spec, instance)
    assert list(parts) == ["code.tar", "constraints.txt", "cell.tar"]
    code, cell = content(parts["code.tar"]), content(parts["cell.tar"])
    assert "src/yocobench/train.py" in code
    assert json.loads(cell["params.yaml"])["protocol"]["max_steps"] == 3  # an override, not the file's value
    assert json.loads(cell["conf/workload/toy.yaml"])["_target_"] == "toys.Toy"
    assert json.loads(cell["conf/instance/m5a.large.yaml"])["hardware"]["vcpus"] == 2
    assert b"class Toy" in cell["vendor/toys.py"]  # the user's own workload travels along
    again = made(world, tmp_path / "again", spec, instance)
    assert [part.sha256 for part in again.values()] == [part.sha256 for part in parts.values()]


def test_of_a_text_dataset_only_the_subset_travels(world: World, tmp_path: Path):
    folder = world.root / "data/text"
    folder.mkdir()
    (folder / "train.bin").write_bytes(header(300, 1000) + np.arange(1000, dtype="<u2").tobytes())
    for name in ("manifest.json", "tokenizer.json", "heldout.bin"):
        (folder / name).write_text(name)
    spec, instance = world.cell("m5a.large")
    workload = spec.workload.model_copy(update={"data": "text"})
    changes = {"workload": workload, "dataset_path": "data/text", "dataset_items": 7}
    parts = made(world, tmp_path / "parts", spec.model_copy(update=changes), instance)
    data = content(parts["data.tar"])
    names = ("heldout.bin", "manifest.json", "tokenizer.json", "train.bin")
    assert sorted(data) == [f"data/text/{name}" for name in names]
    (tmp_path / "train.bin").write_bytes(data["data/text/train.bin"])
    assert TokenFile.open(tmp_path / "train.bin").tokens.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert json.loads(content(parts["cell.tar"])["conf/subset/smoke.yaml"]) == {"name": "smoke", "items": {"text": 7}}


def test_of_an_image_dataset_the_subset_and_the_heldout_split_travel(world: World, tmp_path: Path):
    folder = world.root / "data/images"
    (folder / "images").mkdir(parents=True)
    for split, count in (("train", 5), ("heldout", 2)):
        images = [{"id": n, "file_name": f"{split}{n}.jpg"} for n in range(count)]
        (folder / f"{split}.json").write_text(json.dumps({"images": images}))
        for image in images:
            (folder / "images" / image["file_name"]).write_text("jpeg")
    (folder / "manifest.json").touch()
    spec, instance = world.cell("m5a.large")
    workload = spec.workload.model_copy(update={"data": "images"})
    changes = {"workload": workload, "dataset_path": "data/images", "dataset_items": 3}
    parts = made(world, tmp_path / "parts", spec.model_copy(update=changes), instance)
    sent = sorted(Path(name).name for name in content(parts["data.tar"]) if name.endswith(".jpg"))
    assert sent == ["heldout0.jpg", "heldout1.jpg", "train0.jpg", "train1.jpg", "train2.jpg"]


def test_code_that_no_commit_holds_is_refused_or_sent_as_it_is(checkout: Path):
    head = git(checkout, "rev-parse", "HEAD")
    assert bundle.commit_to_send(checkout, allow_dirty=False) == head
    changed = checkout / "src/yocobench/train.py"
    changed.write_text(changed.read_text() + "# changed\n")
    with pytest.raises(ValueError, match=r"uncommitted changes in src/yocobench/train.py.*allow_dirty=true"):
        bundle.commit_to_send(checkout, allow_dirty=False)
    made_up = bundle.commit_to_send(checkout, allow_dirty=True)
    command = ["git", "archive", made_up, "src/yocobench/train.py"]
    archive = subprocess.run(command, check=True, cwd=checkout, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        assert tar.extractfile("src/yocobench/train.py").read().endswith(b"# changed\n")
    assert git(checkout, "stash", "list") == ""  # nothing of the user's moved
    assert git(checkout, "status", "--short") == "M src/yocobench/train.py"
    (checkout / "src/yocobench/new.py").touch()
    with pytest.raises(ValueError, match=r"not in git: src/yocobench/new.py"):
        bundle.commit_to_send(checkout, allow_dirty=True)


def test_outside_a_checkout_nothing_is_sent(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    with pytest.raises(ValueError, match="this is no git checkout"):
        bundle.commit_to_send(project, allow_dirty=True)


def test_what_a_commit_holds_is_not_uploaded_twice(world: World, tmp_path: Path):
    parts = list(made(world, tmp_path / "parts", *world.cell("m5a.large")).values())
    bundle.upload(parts, "us-east-1", BUCKET)
    assert world.aws.actions()["s3:PutObject"] == 3
    bundle.upload(parts, "us-east-1", BUCKET)
    assert world.aws.actions()["s3:PutObject"] == 3


BLANKS = {"WALL_CLOCK_MIN": 60, "JOB_SHA256": "0" * 64, "JOB_URL": "https://a", "LOG_URL": "https://b"}


def test_the_timer_is_the_first_thing_that_the_user_data_does():
    text = guest.user_data({**BLANKS, "MARKER_URL": "https://c"})
    commands = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert commands[0].startswith("shutdown -h +60 ")


def test_a_blank_that_is_left_is_our_mistake_and_user_data_too_long_is_refused():
    with pytest.raises(AssertionError, match="MARKER_URL"):
        guest.user_data(BLANKS)
    with pytest.raises(ValueError, match=r"over EC2's 16384: the presigned URLs are too long"):
        guest.user_data({**BLANKS, "MARKER_URL": "https://" + "c" * 16000})


def test_three_urls_with_session_tokens_fit():
    url = "https://" + "c" * 2000
    guest.user_data({**BLANKS, "JOB_URL": url, "LOG_URL": url, "MARKER_URL": url})


def test_the_job_file_says_to_a_shell_exactly_what_was_meant():
    value = "it's $HOME; `rm`"
    command = ["bash", "-c", guest.job({"a": value}) + 'printf %s "$a"']
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    assert shown.stdout == value


def test_credentials_that_end_before_the_box_are_refused(world: World, monkeypatch: pytest.MonkeyPatch):
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=20)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends.isoformat())
    session.forget()
    with pytest.raises(ValueError, match=r"before a box does, 62 min after its start; then nothing could terminate it"):
        world.run("m5a.large")  # 22 min of plan, 10 to power off, 30 to upload and to end


def test_a_bucket_is_asked_for_before_anything_else(world: World):
    with pytest.raises(ValueError, match=r"bucket is null.*aws s3 mb"):
        world.run("m5a.large", bucket=None)


def test_this_machine_is_measured_here(world: World, monkeypatch: pytest.MonkeyPatch):
    here = Measurement(outcome="ok", source="measured", detected=None)
    monkeypatch.setattr(LocalLauncher, "run", lambda *_: here)
    assert world.run("local") is here
    assert world.aws.calls == []
