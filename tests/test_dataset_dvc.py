"""The dataset stages under a real DVC: versioned, pushed to and pulled from a folder and a bucket."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent
PIPELINE = {
    "stages": {
        "dataset": {
            "matrix": {"kind": ["text", "images"]},
            "cmd": f"{sys.executable} -m yocobench.dataset ${{item.kind}}",
            "params": ["data.${item.kind}"],
            "outs": ["data/${item.kind}"],
        }
    }
}


def dvc(folder, *arguments, **environment):
    finished = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def tree(folder):
    # Not data/.gitignore: git's, not DVC's.
    files = sorted(path for kind in ("text", "images") for path in (folder / kind).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git and DVC repository with both datasets made."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "conf").mkdir()
    shutil.copy(REPOSITORY / "conf" / "config.yaml", folder / "conf")
    study = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    study["data"]["images"] |= {"num_images": 6, "image_size_px": 64}
    study["data"]["text"] |= {"source": "corpus", "vocab_size": 300, "heldout_fraction": 0.3}
    (folder / "params.yaml").write_text(yaml.safe_dump(study))
    (folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    (folder / "corpus").mkdir()
    for i in range(4):
        (folder / "corpus" / f"{i}.txt").write_text(" ".join(f"word{(i + j * j) % 601}" for j in range(3000)))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc(folder, "init", "-q")
    dvc(folder, "repro", "-q")
    return folder


def push_lose_and_pull(repository, remote, **environment):
    before = tree(repository / "data")
    assert {"text/train.bin", "images/train.json", "images/images/000005.jpg"} <= set(before)
    dvc(repository, "push", "-r", remote, **environment)
    shutil.rmtree(repository / "data")
    shutil.rmtree(repository / ".dvc" / "cache")
    dvc(repository, "pull", "-r", remote, **environment)
    assert tree(repository / "data") == before


@pytest.mark.slow
def test_the_datasets_are_locked_by_md5_and_not_made_twice(repository):
    locked = yaml.safe_load((repository / "dvc.lock").read_text())["stages"]
    assert set(locked) == {"dataset@text", "dataset@images"}
    assert all(stage["outs"][0]["md5"].endswith(".dir") for stage in locked.values())
    assert "dataset@text' didn't change, skipping" in dvc(repository, "repro")


@pytest.mark.slow
def test_a_folder_remote_pushes_and_pulls_the_datasets(repository, tmp_path):
    dvc(repository, "remote", "add", "--local", "folder", str(tmp_path / "remote"))
    push_lose_and_pull(repository, "folder")


@pytest.mark.slow
def test_an_s3_remote_pushes_and_pulls_the_datasets(repository):
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        client.create_bucket(Bucket="datasets")
        dvc(repository, "remote", "add", "--local", "bucket", "s3://datasets/yocobench")
        dvc(repository, "remote", "modify", "--local", "bucket", "endpointurl", endpoint)
        push_lose_and_pull(repository, "bucket", **keys)
        assert client.list_objects_v2(Bucket="datasets")["KeyCount"] > 10
    finally:
        server.stop()
