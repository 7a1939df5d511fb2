"""Batches made ready on a thread: the same ones, in order, and no thread is left behind."""

import itertools
import threading
import time

import pytest

from yocobench.bench.prefetch import Prefetcher


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


def test_closing_ends_the_thread_also_while_it_waits_for_room():
    ahead = doubled(itertools.count())
    next(ahead)
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch" and thread.is_alive()]
