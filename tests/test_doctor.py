"""python -m yocobench.doctor: each finding names its next command, and only what stops `make decide` fails it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from aws_stand_in import Aws, aws_account  # noqa: F401
from conftest import REPOSITORY
from plan_cases import HOST
from yocobench import config, doctor
from yocobench.aws import session
from yocobench.schema import Config


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No AWS credentials, wherever they might come from."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    session.forget()
    yield
    session.forget()


@pytest.fixture
def folder(project: Path) -> Path:
    (project / "data").mkdir()
    shutil.copy(REPOSITORY / "data" / "prices.json", project / "data" / "prices.json")
    for path in (project / "conf" / "instance").glob("*.yaml"):
        if path.stem not in ("local", "m5a.large", "t3a.large", "g5.xlarge"):
            path.unlink()  # reading all of them takes most of a test's time
    return project


def composed(*overrides: str) -> Config:
    with initialize_config_dir(version_base=None, config_dir=str(Path("conf").resolve())):
        return config.load(compose(config_name="config", overrides=list(overrides)))


def findings(folder: Path, *overrides: str, **host: Any) -> dict[str, doctor.Line]:
    lines = doctor.examine(composed(*overrides), folder, HOST.model_copy(update=host))
    return {line.what: line for line in lines}


def test_a_fresh_clone_without_aws_can_decide(folder, nobody):
    found = findings(folder)
    assert [what for what, line in found.items() if line.mark == "bad"] == []
    assert found["data"] == doctor.Line("data", "not made yet: text, images", "note", "dvc repro (seconds to minutes)")
    assert "made by the first run" in found["MLflow store"].text
    assert found["stack"].text.startswith("cpu: torch 2.")
    assert found["AWS"].mark == "note"
    assert "no AWS credentials found" in found["AWS"].text
    assert not (folder / "mlruns" / "mlflow.db").exists()


def test_a_host_may_be_called_what_its_hardware_is(folder, nobody):
    # An EPYC 7571 with two vCPUs and 8 GiB is sold under two names; the metadata service would tell them apart.
    found = findings(folder)["may be called"]
    assert found.text == "local, m5a.large, t3a.large"
    assert found.then == "python -m yocobench.train workload=yoco-det subset=smoke instance=m5a.large"
    told = findings(folder, instance_type="t3a.large")
    assert told["may be called"].text == "local, t3a.large"
    assert told["machine"].text.startswith("t3a.large, x86_64, AMD EPYC 7571, 2 vCPUs, 8.0 GiB, no accelerator")


def test_a_study_without_this_machine_says_what_to_add(folder, nobody):
    found = findings(folder, "instances=[g5.xlarge]", "baseline=g5.xlarge")["may be called"]
    assert found.mark == "note"
    assert found.then == "add one of local, m5a.large, t3a.large to instances in params.yaml to measure this machine"


def test_an_accelerator_without_its_framework_stops_everything(folder, nobody):
    found = findings(folder, kind="neuron", accelerator_name="trn1", accelerator_count=1)["stack"]
    assert found.mark == "bad"
    assert "torch_xla" in found.text
    assert "Neuron image" in found.then


def test_prices_that_cannot_be_read_stop_everything(folder, nobody):
    (folder / "data" / "prices.json").write_text("{")
    found = findings(folder)["prices"]
    assert found.mark == "bad"
    assert "prices.json" in found.text
    assert found.then.startswith("python -m yocobench.prices")


def test_a_store_that_is_no_database_stops_everything(folder, nobody):
    (folder / "mlruns" / "mlflow.db").write_text("not a database, but long enough to look like something else")
    found = findings(folder)["MLflow store"]
    assert found.mark == "bad"
    assert "mlflow.db" in found.text


def test_the_default_remote_is_named(folder, nobody):
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket/path\n"
    )
    assert findings(folder)["DVC remote"].text == "store"


def test_launching_needs_credentials_and_says_whose_they_are(folder, nobody):
    assert findings(folder, "launch=ec2")["AWS"].mark == "bad"


def test_with_credentials_the_next_step_is_preflight(folder, aws: Aws):
    found = findings(folder, "launch=ec2", "instances=[local,m5a.large]")["AWS"]
    assert found.mark == "ok"
    assert "from env, do not expire" in found.text
    assert found.then.startswith("python -m yocobench.preflight")


def test_quotas_that_let_no_box_run_are_named_with_the_command_that_asks_for_more(folder, aws: Aws):
    # A new account: 5 vCPUs of the standard families, none of G and VT; a g5.xlarge has 4 vCPUs.
    found = findings(folder, "instances=[local,m5a.large,g5.xlarge]")["quotas"]
    assert (found.mark, found.text) == ("note", "in us-east-1 too small for g5.xlarge (0 of 4 vCPUs)")
    assert found.then.startswith("python -m yocobench.preflight --request-quota")
    enough = findings(folder, "instances=[m5a.large]")["quotas"]
    assert (enough.mark, enough.text) == ("ok", "1 in us-east-1, on-demand: enough for every type of the study")


def test_the_report_has_a_line_and_a_command_for_each_finding():
    out = io.StringIO()
    lines = [doctor.Line("disk", "1.0 GiB free, 2 needed", "bad", "dvc gc"), doctor.Line("tools", "dvc, git")]
    doctor.show(lines, Console(file=out, width=60))
    rows = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert rows == ["NO disk 1.0 GiB free, 2 needed", "-> dvc gc", "ok tools dvc, git"]


@pytest.mark.parametrize(("prices", "status"), [("{", 1), (None, 0)])
def test_the_exit_status_says_whether_make_decide_can_run(folder, nobody, capsys, prices, status):
    if prices is not None:
        (folder / "data" / "prices.json").write_text(prices)
    assert doctor.main(composed()) == status
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == ("make decide cannot run before this is in order: prices" if status else "make decide can run")
