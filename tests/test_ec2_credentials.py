"""A box's URLs die with the credentials that signed them, also where the client has newer ones by then."""

import base64
import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import World, ec2_world, git_checkout, s3_bucket  # noqa: F401
from test_ec2_ledger import entry
from yocobench import preflight
from yocobench.aws import session
from yocobench.telling import Progress

TOO_SHORT = (
    r"the URLs by which a box reports would die with the credentials that sign them, at \d\d:\d\dZ, in 20 min, and a "
    r"box may take 32: use keys that do not expire, or a role session of 62 min"
)
"""22 min of the plan, 10 to power off; 30 more to upload and to end."""
Lasting = Callable[..., None]


@pytest.fixture
def lasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lasting:
    """Say how many minutes the credentials last that a profile's credential_process gives, one answer after another."""
    script = tmp_path / "credentials"
    script.write_text(f"cd {tmp_path} && cat now && if [ -f next ]; then mv next now; fi\n")
    (tmp_path / "config").write_text(f"[default]\ncredential_process = /bin/sh {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    def say(*minutes: int) -> None:
        for name, lasts in zip(("now", "next"), minutes, strict=False):
            ends = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=lasts)
            known = {"AccessKeyId": f"ASIA{lasts}MIN", "SecretAccessKey": "example", "SessionToken": "token"}
            (tmp_path / name).write_text(json.dumps({"Version": 1, "Expiration": ends.isoformat(), **known}))
        session.forget()

    return say


def test_renewed_credentials_whose_urls_die_before_the_box_start_nothing(world: World, lasting: Lasting):
    lasting(20)
    with pytest.raises(ValueError, match=f"^{TOO_SHORT}"):
        world.run("m5a.large")
    assert world.ledger.entries() == []


def test_the_preflight_says_so_too(
    world: World, lasting: Lasting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "220")
    lasting(60)
    with pytest.raises(SystemExit) as stopped:
        preflight.main(["instances=[m5a.large]"])
    out = capsys.readouterr().out
    assert stopped.value.code == 1
    assert "from custom-process, renewed by themselves, these at " in out
    # 20 min of set-up, 3 repeats of 15 and 10 to power off; 30 more to upload and to end
    assert "in 60 min, and a box may take 75: use keys that do not expire, or a role session of 105 min" in out


def test_credentials_that_can_be_renewed_are_before_they_sign(world: World, lasting: Lasting):
    lasting(20, 40)
    world.boxes.hold.clear()
    world.run("m5a.large", boot_s=0.1)
    (call,) = [call for call in world.aws.calls if call.action == "ec2:RunInstances"]
    script = base64.b64decode(call.params["UserData"]).decode()
    assert script.count("X-Amz-Credential=ASIA40MIN%2F") == 3
    assert "ASIA20MIN" not in script


def test_what_signs_is_looked_at_after_the_wait_for_a_place(world: World, lasting: Lasting):
    lasting(40)
    other = world.ledger.put(entry("another", state="running"))

    class Waiting(list[Progress]):
        """An hour later: a place is free, and the next credentials are the last that the sign-in gives."""

        def append(self, progress: Progress) -> None:
            super().append(progress)
            if progress.phase.startswith("waiting"):
                world.ledger.put(other.with_(state="closed", cost_usd=Decimal(0)))
                lasting(20)

    world.reports = Waiting()
    with world.ledger.cell(other.cell_key), pytest.raises(ValueError, match=f"^not started: {TOO_SHORT}"):
        world.run("m5a.large", launch_parallelism=1)
    assert [report.phase for report in world.reports][:2] == ["waiting: 1 boxes at once", "packing and uploading"]
    assert world.aws.actions()["ec2:RunInstances"] == 0
    (mine,) = [known for known in world.ledger.entries() if known.run_id != "another"]
    assert (mine.state, mine.cost_usd) == ("closed", 0)
