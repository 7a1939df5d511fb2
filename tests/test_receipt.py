"""A receipt is whole or it is refused, and writing one never harms the one that was there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import examples
from yocobench import receipt, recording
from yocobench.tracking import StoreError


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The example receipt on disk."""
    path = tmp_path / "results/receipts/yoco-lm/smoke/local.json"
    receipt.write(examples.receipt(), path)
    return path


def whole(folder: Path) -> bytes:
    """The bytes of the example receipt."""
    receipt.write(examples.receipt(), folder / "whole.json")
    return (folder / "whole.json").read_bytes()


def refused(path: Path) -> str:
    """The message with which the receipt is refused: it always names the file and both ways on."""
    with pytest.raises(ValueError, match=r"local\.json: ") as caught:
        receipt.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "run `dvc repro` to measure the cell again" in message
    assert f"`git checkout -- {path}`" in message
    return message


def sealed(body: dict[str, Any]) -> str:
    """The file that a writer of any body would leave, checksum and all."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return json.dumps({"schema": receipt.SCHEMA, "sha256": hashlib.sha256(text.encode()).hexdigest(), **body})


def test_a_receipt_comes_back_as_it_was_written(written):
    assert receipt.read(written) == examples.receipt()
    assert written.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in written.parent.iterdir()] == ["local.json"]


def test_losses_that_are_no_numbers_survive_the_file(tmp_path):
    losses = (1.5, math.inf, math.nan)
    diverged = examples.receipt(repeats=(examples.repeat(outcome="diverged", losses=losses),), outcome="diverged")
    receipt.write(diverged, tmp_path / "local.json")
    back = receipt.read(tmp_path / "local.json").measurement.repeats[0].losses
    assert back[:2] == (1.5, math.inf)
    assert math.isnan(back[2])


@settings(deadline=None, max_examples=60)
@given(share=st.floats(0, 1))
def test_a_receipt_cut_anywhere_is_refused(share: float, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "local.json"
    content = whole(path.parent).removesuffix(b"\n")  # without its last newline it is still whole
    path.write_bytes(content[: int(share * (len(content) - 1))])
    assert "not a whole receipt" in refused(path)


@settings(deadline=None, max_examples=60)
@given(share=st.floats(0, 1), value=st.integers(0, 255))
def test_a_receipt_with_another_byte_is_refused_or_says_the_same(
    share: float, value: int, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.getbasetemp() / "local.json"
    changed = bytearray(whole(path.parent))
    changed[int(share * (len(changed) - 1))] = value
    path.write_bytes(changed)
    try:
        kept = receipt.read(path)
    except ValueError:
        refused(path)
    else:  # white space, one spelling of a number for another, or the byte that was there
        assert kept == examples.receipt()


def test_a_number_changed_by_hand_is_noticed(written):
    text = written.read_text()
    assert text.count('"peak_memory_bytes": 1000000') == 2
    written.write_text(text.replace('"peak_memory_bytes": 1000000', '"peak_memory_bytes": 1000001', 1))
    assert "changed since it was written (its sha256 does not fit)" in refused(written)


def test_layout_is_not_content(written):
    written.write_text(json.dumps(json.loads(written.read_text()), indent=4))
    assert receipt.read(written) == examples.receipt()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a whole receipt"),
        (b"\xff\xfe{\x00}", "not a whole receipt"),
        (b'{"loss": "\xe9"}', "not a whole receipt"),
        (b"<<<<<<< HEAD\n", "not a whole receipt"),
        (b"[]", "not a receipt of schema yocobench.receipt/1"),
        (b"[" * 100_000, "not a whole receipt"),
        (b'{"sha256": ' + b"9" * 5000 + b"}", "not a whole receipt"),
        (b"null", "not a receipt of schema yocobench.receipt/1"),
        (b'{"schema": "yocobench.receipt/2"}', "not a receipt of schema yocobench.receipt/1"),
        (b'{"schema": "yocobench.receipt/1"}', "its sha256 does not fit"),
    ],
)
def test_what_is_no_receipt_of_this_version_is_named(written, content, words):
    written.write_bytes(content)
    assert words in refused(written)


def test_a_receipt_of_a_later_version_asks_for_its_code_before_it_is_given_up(written):
    written.write_text(written.read_text().replace("yocobench.receipt/1", "yocobench.receipt/2"))
    assert "; this one is of yocobench.receipt/2: `git pull` for code that reads it, else remove it" in refused(written)


def test_a_damaged_receipt_that_git_does_not_have_is_only_to_be_moved(tmp_path):
    path = tmp_path / receipt.STANDALONE / "tune-1" / "a.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"; move it out of mlruns/receipts: what was logged of it stays"):
        receipt.read(path)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("measurement", "outcome"), "fine", "measurement.outcome: Input should be"),
        (("measurement", "repeats", 1, "step_time_s"), [0.5], "repeats.1.step_time_s: Extra inputs are not permitted"),
        (("spec", "micro_batch_size"), 0, "spec.micro_batch_size: Input should be greater than 0"),
    ],
)
def test_a_sealed_receipt_of_another_layout_is_refused_with_the_place(written, place, value, words):
    body = json.loads(written.read_text())
    del body["schema"], body["sha256"]
    inner = body
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    written.write_text(sealed(body))
    assert words in refused(written)


def test_no_receipt_is_no_damaged_receipt(tmp_path):
    with pytest.raises(FileNotFoundError):
        receipt.read(tmp_path / "local.json")


# --- writing ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """No file may grow over the limit, as on a full disk: the write itself fails (EFBIG for ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit_bytes", [0, 1000])
def test_a_full_disk_leaves_the_old_receipt_and_no_litter(written, limit_bytes):
    assert written.stat().st_size > 1000
    with full_disk(limit_bytes), pytest.raises(OSError, match=f"File too large: '{written}'$"):
        receipt.write(examples.receipt(size="small"), written)
    assert receipt.read(written) == examples.receipt()
    assert [path.name for path in written.parent.iterdir()] == ["local.json"]


def test_a_full_disk_leaves_nothing_where_nothing_was(tmp_path):
    with full_disk(1000), pytest.raises(OSError, match="File too large"):
        receipt.write(examples.receipt(), tmp_path / "new" / "local.json")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_read_only_folder_keeps_what_it_has():
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "local.json"
        receipt.write(examples.receipt(), path)
        path.parent.chmod(0o555)
        if user == 0:  # may write everywhere, so somebody else has to try
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                receipt.write(examples.receipt(size="small"), path)
            assert receipt.read(path) == examples.receipt()
        finally:
            os.seteuid(user)
            path.parent.chmod(0o700)


def test_a_folder_in_the_way_of_a_receipt_is_an_error_that_leaves_no_litter(tmp_path):
    (tmp_path / "local.json").mkdir()
    with pytest.raises(OSError, match=r"local\.json"):
        receipt.write(examples.receipt(), tmp_path / "local.json")
    assert [path.name for path in tmp_path.iterdir()] == ["local.json"]


def test_a_kill_between_writing_and_renaming_leaves_the_old_file(written, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        receipt.write(examples.receipt(size="small"), written)
    assert receipt.read(written) == examples.receipt()
    assert [path.name for path in written.parent.iterdir()] == ["local.json"]


def test_receipts_of_one_second_do_not_overwrite_each_other(tmp_path):
    here = [examples.receipt(), examples.receipt(size="small"), examples.receipt()]  # one label, one second
    for one in here:
        receipt.write(one, receipt.standalone(one, tmp_path))
    left = [receipt.read(path) for path in (tmp_path / receipt.STANDALONE).glob("*.json")]
    assert sorted(one.cell_key for one in left) == sorted(one.cell_key for one in here)


def test_what_can_be_written_nowhere_is_printed_so_that_it_can_be_read_again(tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise StoreError("no store")

    monkeypatch.setattr("yocobench.tracking.open_store", refuse)
    (tmp_path / "results").touch()
    with pytest.raises(OSError, match=r"receipt not written: .*; it is the line that was printed: save that as"):
        recording.keep(examples.receipt(), tmp_path / "results/r.json", tmp_path, Console(stderr=True), {})
    (tmp_path / "saved.json").write_text(capsys.readouterr().out)
    assert receipt.read(tmp_path / "saved.json") == examples.receipt()
