"""What the tests of the EC2 launcher share: a git checkout, a bucket, a small cell for any instance type, settings."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from aws_stand_in import Aws
from aws_stand_in import _renew_session as renew_session
from conftest import REPOSITORY
from ec2_guest import Boxes
from yocobench import config, plan, pricelist, receipt
from yocobench.aws import boxes as ec2_boxes
from yocobench.aws import delivery, ending, planning, watch
from yocobench.aws.ledger import Ledger
from yocobench.bench import hardware
from yocobench.bench.measurement import Measurement
from yocobench.launchers import ec2, ec2_box
from yocobench.plan import PlannedCell
from yocobench.receipt import Provenance, Receipt
from yocobench.schema import CellSpec, Instance
from yocobench.telling import Progress

BUCKET = "a-bucket-for-tests"
TOY = """
name: toy
_target_: toys.Toy
data: null
sample_unit: sample
global_batch_size: 8
micro_batch_size: 8
compile: false
args: {width: 4}
"""
PRICES = {  # USD per hour, us-east-1, on-demand; frozen here, so that a refreshed snapshot changes no test
    "m5a.large": "0.086",
    "t3a.large": "0.0752",
    "g4dn.xlarge": "0.526",
    "c6i.8xlarge": "1.36",
    "c7i.8xlarge": "1.428",
    "c8i.8xlarge": "1.49936",
    "m7i.8xlarge": "1.6128",
}
HURRY = {
    "bucket": BUCKET,
    "confirm": True,
    "heartbeat_s": 0.5,
    "poll_s": 0.25,
    "boot_s": 120,
    "silence_s": 120,
}
"""conf/launcher/ec2.yaml's args, confirmed and in a hurry. Not where a box of a busy machine would be given up: that
what is silent is, is for a test that says after how long."""
PROTOCOL = ["repeats=1", "warmup_steps=1", "min_steps=3", "max_steps=3", "max_measure_s=5", "timeout_s=120"]


@pytest.fixture(name="checkout")
def git_checkout(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`project` with the code in it, committed; the current folder of the test."""
    shutil.copytree(REPOSITORY / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "constraints.txt", ".gitignore"):
        shutil.copy(REPOSITORY / name, project / name)
    (project / "data").mkdir(exist_ok=True)
    (project / "data/prices.json").write_text(json.dumps(snapshot()))
    (project / "conf/workload/toy.yaml").write_text(TOY)
    who = ("-c", "user.name=test", "-c", "user.email=test")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *words], cwd=project, check=True, capture_output=True)
    monkeypatch.setattr(ending, "SETTLE_S", 0.0)
    return project


def snapshot() -> dict[str, object]:
    """data/prices.json with PRICES, gp3 at 0.08 USD per GB-month and addresses at 0.005 USD per hour."""
    origin = {"source": "made up for tests", "as_of": "2026-11-23"}
    priced = [
        {"instance_type": name, "region": "us-east-1", "zone": None, "usage_class": "on-demand",
         "price_usd_per_hour": usd, **origin}
        for name, usd in PRICES.items()
    ]  # fmt: skip
    return {
        "schema": pricelist.SCHEMA,
        "as_of": "2026-11-23",
        "currency": "USD",
        "prices": priced,
        "storage": [{"kind": "gp3", "region": "us-east-1", "price_usd_per_gb_month": "0.08", **origin}],
        "public_ipv4": {"price_usd_per_hour": "0.005", **origin},
    }


@pytest.fixture(name="bucket")
def s3_bucket(aws: Aws) -> str:
    """An empty bucket."""
    aws.admin("s3").create_bucket(Bucket=BUCKET)
    return BUCKET


class World:
    """A checkout, an AWS account and its boxes."""

    def __init__(self, aws: Aws, root: Path, boxes: Boxes) -> None:
        self.aws, self.root, self.boxes = aws, root, boxes
        self.reports: list[Progress] = []
        self._cells: dict[str, tuple[CellSpec, Instance]] = {}
        self._args = config.entry("launcher", "ec2").args

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root)

    def cell(self, instance: str) -> tuple[CellSpec, Instance]:
        """The toy cell on an instance type, known to the boxes. Composed once."""
        if instance in self._cells:
            return self._cells[instance]
        study = config.study([f"protocol.{word}" for word in PROTOCOL])
        found = config.instance(instance)
        toy, smoke = config.workload("toy"), config.entry("subset", "smoke")
        planned: PlannedCell = plan.plan_cell(study, toy, smoke, found, hardware.detect(), self.root)
        self.boxes.specs[planned.spec.key] = planned.spec.model_dump_json(by_alias=True)
        self._cells[instance] = planned.spec, found
        return planned.spec, found

    def run(self, instance: str, **changes: object) -> Measurement:
        """Launch the toy cell there, write the receipt, say so: what yocobench.train does."""
        spec, found = self.cell(instance)
        launcher = ec2.Ec2Launcher(**{**self._args, **HURRY, **changes})
        measurement = launcher.run(spec, found, self.root, self.reports.append)
        who = Provenance(git_commit=None, git_dirty=None, launcher="ec2", sweep=None)
        record = Receipt(cell_key=spec.key, spec=spec, provenance=who, measurement=measurement, recorded_at="2026")
        receipt.write(record, self.root / f"receipts/{instance}.json")
        launcher.recorded()
        return measurement

    def client(self, instance: str, stage: str = "", **changes: object) -> int:
        """The same in a process of its own, which dies of SIGKILL at that stage. Returns its id."""
        self.cell(instance)  # known to the boxes, which are on this side
        child = os.fork()
        if child:
            return child
        try:
            renew_session()  # no connection of the parent's
            if stage:
                module, function, when = STAGES[stage]
                setattr(module, function, _deadly(getattr(module, function), when))
            self.run(instance, **changes)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def receipt(self, instance: str) -> Measurement:
        """What a client left."""
        return receipt.read(self.root / f"receipts/{instance}.json").measurement

    def launches(self) -> int:
        """How often AWS started a box."""
        groups = self.aws.admin("ec2").describe_instances()["Reservations"]
        return sum(len(group["Instances"]) for group in groups)

    def spent_usd(self) -> Decimal:
        return self.ledger.taken_usd(24)


@pytest.fixture(name="world")
def ec2_world(aws: Aws, checkout: Path, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything together. After the test no box may be alive."""
    with Boxes(aws, tmp_path_factory.mktemp("boxes"), {}) as boxes:
        yield World(aws, checkout, boxes)
        assert boxes.alive() == []


STAGES: dict[str, tuple[ModuleType | type, str, str]] = {
    "after the plan": (planning, "make", "after"),
    "after the reservation": (Ledger, "reserve", "after"),
    "after the upload": (delivery, "send_parts", "after"),
    "before asking for the box": (ec2_boxes, "start", "before"),
    "after AWS said yes, before the ledger knows": (ec2_boxes, "start", "after"),
    "while the box boots": (watch, "watch", "before"),
    "while the box trains": (watch, "spent", "training"),
    "after the marker, before the receipt is fetched": (ec2_box, "collect", "before"),
    "after the receipt is fetched": (ec2_box, "collect", "after"),
    "after the box is ended, before the bill": (ec2_boxes, "terminate", "after"),
    "after the bill": (ending, "end", "after"),
    "before the receipt is written": (receipt, "write", "before"),
}
"""Where a client can die: the function there, and on which side of it."""


def _deadly(function: Callable, when: str) -> Callable:
    def deadly(*args: object, **kwargs: object) -> object:
        if when == "before" or (when == "training" and _training(*args)):
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*args, **kwargs)
        if when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return deadly


def _training(entry: object) -> bool:
    """Has the box said that it trains?"""
    found = watch.mailbox.read(entry, watch.mailbox.HEARTBEAT) or b""
    return b"repeat 1" in found


def wait_for(child: int) -> int:
    """The exit status of a client; negative: the signal it died of."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def plainly(reason: str) -> str:
    """A reason without the parts that differ from run to run."""
    changes = [
        (r"\bi-[0-9a-f]{17}", "i-…"),
        (r"\b[0-9a-f]{64}\b", "…"),
        (r"\d\d:\d\d:\d\dZ", "hh:mm:ssZ"),
        (r"\d{8}T\d{6}-[0-9a-f]{8}", "RUN"),
        (r" \(log: [^)]*\)", ""),
        (r"no heartbeat \d+ s", "no heartbeat n s"),
        (r"/\S*/mlruns", "mlruns"),
    ]
    for pattern, plain in changes:
        reason = re.sub(pattern, plain, reason)
    return reason


def until(true: Callable[[], object], limit_s: float = 30) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
