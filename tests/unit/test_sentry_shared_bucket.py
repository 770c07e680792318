"""The bucket of all workers: what happens while Redis is away, slow or half-open."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest

from laneway.sentry.shared_bucket import DEADLINE, PAUSE, RedisTokens, SharedBucket
from support.clock import Clock
from support.forked import true_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that a call may take on a busy machine when it does not wait.
NOISE = 0.5


class Tokens:
    """Does as told, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.connecting: Callable[[], object] = lambda: None
        self.taking: Callable[[], bool] = lambda: True

    def connect(self) -> None:
        self.connecting()

    def take(self, cause: str) -> bool:
        self.asked.append(cause)
        return self.taking()


class Hanging:
    """An answer that comes when it is let go."""

    def __init__(self, answer: bool = True) -> None:
        self.let_go = threading.Event()
        self._answer = answer

    def __call__(self) -> bool:
        self.let_go.wait(30)
        return self._answer


def fails() -> bool:
    raise OSError("no route to host")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def bucket(tokens: Tokens, clock: Clock) -> SharedBucket:
    return SharedBucket(tokens, clock=clock)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.let_go.set()


def until_answered(bucket: SharedBucket) -> None:
    end = time.monotonic() + 10
    while bucket._asked:
        assert time.monotonic() < end
        time.sleep(0.001)


def takes(bucket: SharedBucket, cause: str = "a") -> tuple[bool, float]:
    began = time.perf_counter()
    return bucket.take(cause), time.perf_counter() - began


@pytest.mark.parametrize("answer", [True, False])
def test_it_says_what_redis_says(bucket: SharedBucket, tokens: Tokens, answer: bool) -> None:
    tokens.taking = lambda: answer
    assert [bucket.take("a"), bucket.take("b")] == [answer, answer]
    assert tokens.asked == ["a", "b"]


def test_a_failure_waits_for_a_hanging_redis_once(
    bucket: SharedBucket, tokens: Tokens, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    tokens.taking = hanging
    answer, seconds = takes(bucket)
    assert answer
    assert DEADLINE * 0.9 <= seconds < DEADLINE + NOISE
    began = time.perf_counter()
    assert all(bucket.take("b") for _ in range(1000))
    assert time.perf_counter() - began < NOISE
    assert tokens.asked == ["a"]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "no answer within 50 ms" in record.getMessage()


def test_connecting_is_within_the_deadline_too(
    bucket: SharedBucket, tokens: Tokens, hanging: Hanging
) -> None:
    tokens.connecting = hanging
    answer, seconds = takes(bucket)
    assert answer
    assert seconds < DEADLINE + NOISE


def test_a_redis_that_refuses_is_not_waited_for(
    bucket: SharedBucket, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    tokens.taking = fails
    assert bucket.take("a")
    until_answered(bucket)
    assert bucket.take("b")
    assert tokens.asked == ["a"]
    assert "OSError: no route to host" in caplog.text


def test_after_a_pause_it_is_asked_again_and_nobody_waits(
    bucket: SharedBucket, tokens: Tokens, clock: Clock, hanging: Hanging
) -> None:
    tokens.taking = fails
    bucket.take("a")
    until_answered(bucket)
    clock.now += PAUSE - 1
    bucket.take("b")
    assert tokens.asked == ["a"]
    clock.now += 1
    tokens.taking = hanging
    answer, seconds = takes(bucket, "c")
    assert answer
    assert seconds < DEADLINE
    # One at a time, however long it hangs.
    clock.now += 10 * PAUSE
    bucket.take("d")
    until_asked = time.monotonic() + 10
    while len(tokens.asked) < 2 and time.monotonic() < until_asked:
        time.sleep(0.001)
    assert tokens.asked == ["a", "c"]


def test_when_it_answers_again_its_answers_count_again(
    bucket: SharedBucket, tokens: Tokens, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tokens.taking = fails
    bucket.take("a")
    until_answered(bucket)
    clock.now += PAUSE
    bucket.take("a")
    until_answered(bucket)
    tokens.taking = lambda: False
    clock.now += PAUSE
    assert bucket.take("b")
    until_answered(bucket)
    assert not bucket.take("c")
    # (The thread that was answered says so after the answer counts.)
    until = time.monotonic() + 10
    while len(caplog.records) < 2 and time.monotonic() < until:
        time.sleep(0.001)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_connecting_slowly_is_not_being_slow(
    bucket: SharedBucket, tokens: Tokens, clock: Clock, hanging: Hanging
) -> None:
    def connect() -> None:
        hanging()
        clock.now += 10 * DEADLINE

    tokens.connecting = connect
    tokens.taking = lambda: False
    assert bucket.take("a")
    tokens.connecting = lambda: None
    hanging.let_go.set()
    until_answered(bucket)
    assert not bucket.take("b")


def test_a_slow_redis_is_not_waited_for_again(
    bucket: SharedBucket, tokens: Tokens, clock: Clock
) -> None:
    def slow() -> bool:
        clock.now += DEADLINE + 0.01
        return False

    tokens.taking = slow
    bucket.take("a")
    until_answered(bucket)
    assert bucket.take("b")
    clock.now += PAUSE
    bucket.take("c")
    until_answered(bucket)
    assert bucket.take("d")
    assert tokens.asked == ["a", "c"]


def test_without_threads_nobody_is_asked(
    bucket: SharedBucket, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert bucket.take("a")
    assert bucket.take("b")
    assert bucket._asked == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_waits_for_no_thread_of_its_parent(
    bucket: SharedBucket, tokens: Tokens, hanging: Hanging
) -> None:
    tokens.taking = hanging
    bucket.take("a")
    tokens.taking = lambda: False
    with bucket._lock:
        assert true_in_child(lambda: not bucket.take("a"))


def test_a_redis_that_is_not_there_never_raises() -> None:
    bucket = SharedBucket(RedisTokens("redis://127.0.0.1:1/0"))
    answer, seconds = takes(bucket)
    assert answer
    assert seconds < DEADLINE + NOISE
    until_answered(bucket)
