"""What a box needs, as files with their sha256: code, lock file, the cell's settings, the dataset subset.

The code is a git archive of a commit. The settings are the ones that this cell was planned with, fully resolved, laid
over the archive's own conf/ and params.yaml, so that overrides reach the box. The dataset is what the subset reads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError

from yocobench.aws import session
from yocobench.bench.data.text import HEADER_BYTES, TOKEN_DTYPE, TokenFile, header
from yocobench.estimate import traces
from yocobench.schema import CellSpec, Instance, WorkloadConfig

MAX_VENDORED_BYTES = 20_000_000
CODE_PATHS = ("src", "pyproject.toml", "constraints.txt")


@dataclass(frozen=True)
class Part:
    """One file for the box."""

    name: str
    path: Path
    sha256: str

    @property
    def key(self) -> str:
        """S3 key: by content, so that the cells of a study share their code and data."""
        return f"yocobench/objects/{self.sha256}"


def commit_to_send(root: Path, allow_dirty: bool) -> str:
    """The commit whose code the box runs; with `allow_dirty`, one made of the tracked files as they are.

    Raises ValueError: not a git checkout, or code that no commit holds.
    """
    try:
        changed = _git(root, "status", "--porcelain", "--", *CODE_PATHS).splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"a box runs code of a recorded commit, and this is no git checkout: `git init`, commit ({error})"
        ) from None
    untracked = [line[3:] for line in changed if line.startswith("??")]
    if untracked:
        raise ValueError(f"not in git: {', '.join(untracked)}; the box would not get them: `git add` and commit them")
    if changed and not allow_dirty:
        raise ValueError(
            f"uncommitted changes in {', '.join(line[3:] for line in changed)}: commit them, or send them as they are "
            "with launcher.allow_dirty=true (the receipt then says `dirty`)"
        )
    stashed = _git(root, "-c", "user.name=yocobench", "-c", "user.email=none", "stash", "create") if changed else ""
    return stashed or _git(root, "rev-parse", "HEAD")


def make(spec: CellSpec, instance: Instance, root: Path, folder: Path, commit: str, region: str) -> list[Part]:
    """Write the files into `folder`. Raises ValueError for a dataset or a workload's package that cannot be sent."""
    _git(root, "archive", "--format=tar", f"--output={folder / 'code.tar'}", commit)
    (folder / "constraints.txt").write_text(_git(root, "show", f"{commit}:./constraints.txt") + "\n", encoding="utf-8")
    _tar(folder / "cell.tar", _cell_files(spec, instance, root, region))
    names = ["code.tar", "constraints.txt", "cell.tar"]
    if spec.dataset_path is not None:
        assert spec.dataset_items is not None
        members = _text_files if spec.workload.data == "text" else _image_files
        _tar(folder / "data.tar", members(root / spec.dataset_path, spec.dataset_path, spec.dataset_items))
        names.append("data.tar")
    return [Part(name, folder / name, sha256_of(folder / name)) for name in names]


def upload(parts: list[Part], region: str, bucket: str) -> None:
    """Send what the bucket does not have yet. Raises AwsError."""
    s3 = session.client("s3", region)
    for part in parts:
        with session.asking(f"look for {part.name} in the bucket"):
            found = s3.list_objects_v2(Bucket=bucket, Prefix=part.key).get("KeyCount", 0)
        if not found:
            try:
                s3.upload_file(str(part.path), bucket, part.key)
            except (Boto3Error, BotoCoreError) as error:
                raise session.AwsError(session.without_account(f"could not upload {part.name}: {error}")) from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git(root: Path, *words: str) -> str:
    """The output of the command. Raises ValueError with git's own words where it fails."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"`git {' '.join(words)}` failed: {' '.join(done.stderr.split())}")
    return done.stdout.rstrip("\n")


def _tar(path: Path, files: Iterator[tuple[str, bytes | Path]]) -> None:
    """A tar whose bytes depend on nothing but names and contents."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            if isinstance(content, Path):
                info.size = content.stat().st_size
                with content.open("rb") as file:
                    tar.addfile(info, file)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def _cell_files(spec: CellSpec, instance: Instance, root: Path, region: str) -> Iterator[tuple[str, bytes | Path]]:
    """The resolved settings (JSON is YAML), the price snapshot, the memory plan, the user's own workload."""
    params = yaml.safe_load((root / "params.yaml").read_bytes())
    params |= {"protocol": spec.protocol.model_dump(), "region": region}
    kind = spec.workload.data
    size = {"fraction": 1.0} if kind is None else {"items": {kind: spec.dataset_items}}
    yield "params.yaml", json.dumps(params).encode()
    yield f"conf/workload/{spec.workload.name}.yaml", spec.workload.model_dump_json(by_alias=True).encode()
    yield f"conf/instance/{spec.instance}.yaml", instance.model_dump_json().encode()
    yield f"conf/subset/{spec.subset}.yaml", json.dumps({"name": spec.subset, **size}).encode()
    yield "data/prices.json", root / "data/prices.json"
    # How the batch is split was traced here, with this torch; the box's own might see it differently.
    for path in traces.memory_files(spec.workload, spec.precision):
        if (root / path).is_file():  # none where the model cannot be traced, and its micro-batch is stated
            yield path.as_posix(), root / path
    yield from _vendored(spec.workload)


def _vendored(workload: WorkloadConfig) -> Iterator[tuple[str, bytes | Path]]:
    """The package of a workload from elsewhere, to vendor/, which is on the box's PYTHONPATH."""
    package = workload.target.partition(".")[0]
    if package == "yocobench":
        return
    found = importlib.util.find_spec(package)
    assert found is not None, "planning the cell imports the module"
    if found.submodule_search_locations is None:
        files = [(f"vendor/{package}.py", Path(str(found.origin)))]
    else:
        folders = [Path(place) for place in found.submodule_search_locations]
        files = [
            (f"vendor/{package}/{path.relative_to(folder).as_posix()}", path)
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        ]
    size = sum(path.stat().st_size for _, path in files)
    if size > MAX_VENDORED_BYTES:
        raise ValueError(
            f"conf/workload/{workload.name}.yaml: its package {package!r} has {size / 1e6:.0f} MB, too much to send "
            f"along (limit {MAX_VENDORED_BYTES / 1e6:.0f} MB). If pip can install it, put the class into a small "
            "module and name the package in launcher.extra_packages"
        )
    yield from files


def _text_files(folder: Path, name: str, items: int) -> Iterator[tuple[str, bytes | Path]]:
    """The held-out split whole, and the first `items` tokens of the training split under a header that says so."""
    for file in ("manifest.json", "tokenizer.json", "heldout.bin"):
        yield f"{name}/{file}", folder / file
    train = TokenFile.open(folder / "train.bin")
    with (folder / "train.bin").open("rb") as source:
        source.seek(HEADER_BYTES)
        tokens = source.read(items * TOKEN_DTYPE.itemsize)
    yield f"{name}/train.bin", header(train.vocab_size, items) + tokens


def _image_files(folder: Path, name: str, items: int) -> Iterator[tuple[str, bytes | Path]]:
    """Both lists whole; of the images, the first `items` to train on and the held-out ones."""
    wanted = []
    for split, count in (("train", items), ("heldout", None)):
        yield f"{name}/{split}.json", folder / f"{split}.json"
        listed = json.loads((folder / f"{split}.json").read_bytes())["images"]
        wanted += [image["file_name"] for image in listed[:count]]
    yield f"{name}/manifest.json", folder / "manifest.json"
    for file_name in sorted(set(wanted)):
        assert not Path(file_name).is_absolute(), file_name
        yield f"{name}/images/{file_name}", folder / "images" / file_name
