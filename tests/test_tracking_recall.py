"""The copy of what the store said: used while it fits, never after a run or a receipt more."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import receipt, spec
from yocobench.receipt import write
from yocobench.tracking import ask, open_store, recall

TINY, SMALL = spec().key, spec(size="small").key
KEYS = [TINY, SMALL]


@pytest.fixture
def logged(tracked: Path) -> Path:
    """A project whose store holds one cell of two repeats."""
    open_store(tracked).log_receipt(receipt(), None, [])
    return tracked


def test_the_copy_says_what_the_store_said(logged: Path):
    assert recall(logged, KEYS, []) is None
    said = ask(open_store(logged), KEYS, [])
    assert [one.samples_per_second for one in said.repeats[TINY]] == [200.0, 400.0]
    assert said.repeats[SMALL] == []
    assert [one.outcome for one in said.outcomes[TINY]] == ["ok"]
    assert len(said.curves) == 2
    assert recall(logged, KEYS, []) == said
    assert recall(logged, [TINY], []) is None  # other cells: another question


def test_a_run_more_in_the_store_makes_the_copy_unfit(logged: Path):
    ask(open_store(logged), KEYS, [])
    open_store(logged).log_receipt(receipt(size="small"), None, [])
    assert recall(logged, KEYS, []) is None
    assert len(ask(open_store(logged), KEYS, []).repeats[SMALL]) == 2


def test_a_receipt_more_or_edited_makes_the_copy_unfit(logged: Path):
    held = logged / "results/receipts/a.json"
    write(receipt(), held)
    said = ask(open_store(logged), KEYS, [held])
    assert recall(logged, KEYS, [held]) == said
    assert recall(logged, KEYS, [held, logged / "results/receipts/b.json"]) is None
    held.write_text(held.read_text() + " ")
    assert recall(logged, KEYS, [held]) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stamp": "", "runs": {}}'])
def test_a_damaged_copy_is_no_copy(logged: Path, content: str):
    said = ask(open_store(logged), KEYS, [])
    [copy] = (logged / "mlruns/cache").glob("runs-*.json")
    copy.write_text(content)
    assert recall(logged, KEYS, []) is None
    assert ask(open_store(logged), KEYS, []) == said


def test_a_store_elsewhere_is_always_asked(logged: Path, monkeypatch: pytest.MonkeyPatch):
    ask(open_store(logged), KEYS, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert recall(logged, KEYS, []) is None
