import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from yocobench import dataset
from yocobench.datasets import output

REPOSITORY = Path(__file__).parent.parent
WRITER = """
import sys, time
from pathlib import Path
from yocobench.datasets.output import whole_folder
with whole_folder(Path("data/text")) as folder:
    (folder / "half").write_text("written")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A study on twelve small images and a small text."""
    (tmp_path / "conf").mkdir()
    shutil.copy(REPOSITORY / "conf" / "config.yaml", tmp_path / "conf")
    study = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    study["data"]["images"] |= {"num_images": 12, "image_size_px": 64}
    study["data"]["text"] |= {"source": "corpus", "vocab_size": 300, "heldout_fraction": 0.3}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(study))
    (tmp_path / "corpus").mkdir()
    for i in range(4):
        (tmp_path / "corpus" / f"{i}.txt").write_text(" ".join(f"word{(i + j * j) % 601}" for j in range(3000)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def left(folder):
    return sorted(path.name for path in (folder / "data").iterdir())


def test_a_folder_replaces_the_one_before_only_when_it_is_whole(tmp_path):
    target = tmp_path / "data" / "text"
    with output.whole_folder(target) as folder:
        (folder / "a").write_text("1")

    def fail_half_way():
        with output.whole_folder(target) as folder:
            (folder / "b").write_text("2")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert [path.name for path in target.iterdir()] == ["a"]
    with output.whole_folder(target) as folder:
        (folder / "c").write_text("3")
    assert [path.name for path in target.iterdir()] == ["c"]
    assert left(tmp_path) == ["text"]


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_an_interrupted_build_leaves_nothing(tmp_path, signum, status):
    process = subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, stdout=subprocess.PIPE, stderr=-3)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signum)
    assert process.wait() == status
    assert left(tmp_path) == []


def test_what_a_killed_build_left_is_removed_at_the_next_start(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    with output.whole_folder(tmp_path / "data" / "text"):
        assert left(tmp_path) == sorted([f".text.partial-{process.pid}", f".text.partial-{os.getpid()}"])
    process.kill()
    process.wait()
    with output.whole_folder(tmp_path / "data" / "text"):
        assert left(tmp_path) == [f".text.partial-{os.getpid()}", "text"]


def test_too_little_disk_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"data/ needs about 1000000000 MB and a margin of 67 MB; the disk has"):
        output.require_space(tmp_path / "data", 10**15)
    output.require_space(tmp_path / "data", 1)


def test_the_stage_makes_both_datasets_and_says_what_it_made(repository, capsys):
    assert dataset.main(["images"]) == 0
    assert dataset.main(["text"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("data/images: 11 images to train on, 1 held out, 80 categories, from rendered by")
    assert lines[1].startswith("data/text: ")
    assert lines[1].endswith("vocabulary 300, from corpus (4 files)")
    assert left(repository) == ["images", "text"]


def test_a_mistake_is_one_line_and_exit_status_2(repository, capsys):
    assert dataset.main(["text", "data.text.source=nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: data.text.source 'nowhere' does not exist")
    assert dataset.main(["text", "data.text.vocab=9"]) == 2
    assert "data.text.vocab: unknown key; did you mean 'vocab_size'?" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "limit"), [("text", 1500), ("text", 12000), ("images", 1500)])
def test_a_write_that_fails_half_way_is_one_line_and_leaves_nothing(repository, kind, limit):
    # A limit on the size of a file stands in for a full disk: the system refuses the write in the same way.
    finished = subprocess.run(
        [sys.executable, "-m", "yocobench.dataset", kind],
        cwd=repository,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        # Python would write its compiled modules in half, too, and fail at them ever after.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert "File too large: " in finished.stderr
    assert f"data/{kind}" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert left(repository) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line_and_exit_status_2(repository, capsys):
    (repository / "data").mkdir(mode=0o500)
    assert dataset.main(["images"]) == 2
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_while_workers_render_leaves_nothing(repository):
    command = [sys.executable, "-m", "yocobench.dataset", "images", "data.images.num_images=100000"]
    process = subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, start_new_session=True)
    folder = repository / "data" / f".images.partial-{process.pid}" / "images"
    while process.poll() is None and not (folder.is_dir() and any(folder.iterdir())):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors.decode()) == (130, "interrupted: data/images was not changed\n")
    assert left(repository) == []
