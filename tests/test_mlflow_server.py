"""docs/mlflow-server.md for real: PostgreSQL behind `mlflow server`, artifacts on S3 (moto), a run and a decision."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

import mlflow_server
from conftest import REPOSITORY
from test_train import FAST, add_toy
from yocobench.tracking import open_store

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None, reason="needs PostgreSQL: apt-get install postgresql"),
]
BUCKET = "team-bucket"
SECRETS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def postgresql() -> Iterator[str]:
    """A cluster of its own; user@host:port/database. PostgreSQL refuses to run as root."""
    assert PROGRAMS is not None
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    become: list[str] = []
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        become = ["runuser", "-u", "postgres", "--"]
    data, port = folder / "data", mlflow_server.free_port()

    def call(program: str, *arguments: str) -> None:
        command = [*become, str(PROGRAMS / program), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    try:
        call("initdb", "-D", str(data), "-U", "team", "--auth=trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "team", "mlflow")
            yield f"team@127.0.0.1:{port}/mlflow"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def bucket() -> Iterator[tuple[dict[str, str], Any]]:
    """The environment that leads to a store like S3, with the bucket in it, and a client."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=mlflow_server.free_port(), verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        address = f"http://{host}:{port}"
        keys = {name.lower(): SECRETS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
        client.create_bucket(Bucket=BUCKET)
        yield SECRETS | {"MLFLOW_S3_ENDPOINT_URL": address}, client
    finally:
        moto.stop()


def page_command(database: str) -> list[str]:
    """The server's arguments as the page has them, its placeholders filled in."""
    page = (REPOSITORY / "docs" / "mlflow-server.md").read_text(encoding="utf-8").replace("\\\n", " ")
    [line] = re.findall(r"(?m)^mlflow server (.+)$", page)
    return line.replace("<user>@<host>/<database>", database).replace("<bucket>", BUCKET).split()


def command(module: str, address: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"MLFLOW_TRACKING_URI": address, "AWS_EC2_METADATA_DISABLED": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("warm")
def test_a_run_and_a_decision_reach_the_teams_server_and_their_files_the_bucket(project, monkeypatch):
    add_toy(project, "toy")
    (project / "data").mkdir()
    shutil.copy(REPOSITORY / "data" / "prices.json", project / "data" / "prices.json")
    (project / "constraints.txt").write_text("torch\n")
    with postgresql() as database, bucket() as (environment, s3):
        with mlflow_server.server(*page_command(database), more=environment) as address:
            command("yocobench.train", address, *FAST, "workload=toy", "subset=smoke", "instance=local")
            assert not (project / "mlruns" / "mlflow.db").exists()
            study = ("workloads=[toy]", "instances=[local,m5a.large]", *FAST)
            told = command("yocobench.compare", address, *study, "--json")
            assert '"source":"measured"' in told.splitlines()[-1]
            assert "the server of MLFLOW_TRACKING_URI" in command("yocobench.doctor", address)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            store = open_store(project)
            [cell] = store.client.search_runs([store.experiment_id], "tags.level = 'cell'")
            run_id = store.log_decision({"sentence": "m5a.large"}, [], "toy", {}, {})
            store.register("toy", run_id, "m5a.large", {})
            assert store.client.get_model_version_by_alias("yocobench-toy", "chosen").tags["instance"] == "m5a.large"
        stored = {one["Key"].rsplit("/", 1)[-1] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
        assert {"receipt.json", "cell.json", "decision.json"} <= stored
        assert cell.data.metrics["samples_per_second"] > 0
