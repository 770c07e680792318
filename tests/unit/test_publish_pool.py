"""Producers are lent to one caller at a time, without a lock while there are enough."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from laneway.publish.publisher import POOL_SIZE, _Pool


def make_producer() -> Any:
    producer = SimpleNamespace(closed=0, lent=threading.Lock())
    producer.__connection__ = SimpleNamespace(release=lambda: setattr(producer, "closed", 1))
    return producer


def test_the_last_one_used_is_lent_first() -> None:
    pool = _Pool(make_producer)
    first, second = pool.take(0), pool.take(0)
    pool.give_back(second)
    pool.give_back(first)
    assert pool.take(0) is first
    assert pool.take(0) is second


def test_when_all_are_lent_the_next_waits_until_its_time_is_over() -> None:
    pool = _Pool(make_producer)
    lent = [pool.take(0) for _ in range(POOL_SIZE)]
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        pool.take(0.05)
    assert 0.05 <= time.monotonic() - began < 1
    pool.give_back(lent[3])
    assert pool.take(0) is lent[3]


def test_who_waits_gets_what_is_given_back() -> None:
    pool = _Pool(make_producer)
    lent = [pool.take(0) for _ in range(POOL_SIZE)]
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(pool.take, 5) for _ in range(3)]
        while pool._waiting < 3:
            time.sleep(0.001)
        began = time.monotonic()
        for producer in lent[:3]:
            pool.give_back(producer)
        assert {id(one.result()) for one in waiting} == {id(one) for one in lent[:3]}
        assert time.monotonic() - began < 2
    assert pool._waiting == 0


def test_a_producer_that_could_not_be_made_is_not_missing_afterwards() -> None:
    answers: list[Any] = [OSError("no"), *(make_producer() for _ in range(POOL_SIZE))]

    def make() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pool = _Pool(make)
    with pytest.raises(OSError, match="no"):
        pool.take(0)
    assert len({id(pool.take(0)) for _ in range(POOL_SIZE)}) == POOL_SIZE


def test_more_threads_than_producers_share_them_and_none_is_lent_twice() -> None:
    pool = _Pool(make_producer)
    used: set[int] = set()

    def use(_number: int) -> None:
        for _ in range(300):
            producer: Any = pool.take(30)
            assert producer.lent.acquire(blocking=False)
            used.add(id(producer))
            time.sleep(0)
            producer.lent.release()
            pool.give_back(producer)

    with ThreadPoolExecutor(POOL_SIZE * 2) as threads:
        list(threads.map(use, range(POOL_SIZE * 2)))
    assert len(used) <= POOL_SIZE
    assert (len(pool._free), pool._waiting) == (POOL_SIZE, 0)


def test_a_closed_pool_closes_what_comes_back() -> None:
    pool = _Pool(make_producer)
    lent, free = [pool.take(0) for _ in range(2)]
    pool.give_back(free)
    pool.close()
    assert (lent.closed, free.closed) == (0, 1)
    pool.give_back(lent)
    assert lent.closed == 1
