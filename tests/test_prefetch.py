"""Batches made ready on a thread: the same ones, in order, and no thread is left behind."""

import itertools
import threading
import time

import pytest

from toys import Toy
from yocobench.bench import prefetch
from yocobench.bench.prefetch import Prefetcher
from yocobench.bench.trainer import Trainer


def doubled(batches, depth: int = 2) -> Prefetcher:
    return Prefetcher(iter(batches), lambda number: 2 * number, depth)


def test_all_batches_come_in_order_and_made_ready():
    found = doubled(range(20))
    assert list(found) == list(range(0, 40, 2))
    with pytest.raises(StopIteration):
        next(found)


def test_it_works_no_further_ahead_than_it_may():
    taken = []
    ahead = doubled((taken.append(n) or n for n in itertools.count()), depth=3)
    assert [next(ahead), next(ahead)] == [0, 2]
    time.sleep(0.3)
    assert len(taken) == 2 + 3 + 1  # handed out, waiting in the queue, waiting for room
    ahead.close()


def test_an_error_is_raised_after_the_batches_before_it():
    def broken():
        yield 1
        raise FileNotFoundError("data/text/train.bin")

    found = doubled(broken())
    assert next(found) == 2
    with pytest.raises(FileNotFoundError, match=r"train\.bin"):
        next(found)


def test_closing_says_whether_the_source_is_free(monkeypatch):
    monkeypatch.setattr(prefetch, "CLOSE_S", 0.05)
    inside, go_on = threading.Event(), threading.Event()

    def slow():
        inside.set()
        go_on.wait()
        yield 1

    source = slow()
    ahead = Prefetcher(source, lambda number: number)
    inside.wait()
    assert ahead.close() is False
    with pytest.raises(ValueError, match="already executing"):
        source.close()  # what a trainer must not do then
    go_on.set()
    monkeypatch.setattr(prefetch, "CLOSE_S", 60)
    assert ahead.close() is True
    source.close()


def test_a_trainer_leaves_a_loader_alone_that_still_makes_a_batch(monkeypatch):
    monkeypatch.setattr(prefetch, "CLOSE_S", 0.05)
    go_on, closed = threading.Event(), []

    def slow():
        go_on.wait()
        yield 1

    trainer = Trainer.__new__(Trainer)
    trainer.workload = Toy()
    trainer.workload.close = lambda: closed.append(True)
    trainer.batches = Prefetcher(slow(), lambda number: number)
    trainer.close()
    assert closed == []
    go_on.set()
    monkeypatch.setattr(prefetch, "CLOSE_S", 60)
    trainer.close()
    assert closed == [True]


def test_closing_ends_the_thread_also_while_it_waits_for_room():
    ahead = doubled(itertools.count())
    next(ahead)
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch" and thread.is_alive()]
