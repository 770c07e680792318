"""Storms over several processes and a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from laneway.local import start_redis
from laneway.sentry.shared_bucket import BURST, DEADLINE, INTERVAL, RedisTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.local import PrivateRedis, RunDirectory

pytestmark = pytest.mark.integration

PROCESSES = 8
FAILURES = 10_000
MILLISECONDS = round(INTERVAL * 1000)


@pytest.fixture
def client(redis: PrivateRedis) -> Iterator[Redis]:
    client = Redis.from_url(redis.url)
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def tokens(redis: PrivateRedis, client: Redis) -> RedisTokens:
    assert client.flushdb()
    tokens = RedisTokens(redis.url, "storm-")
    tokens.connect()
    return tokens


@pytest.fixture
def mortal(run_directory: RunDirectory) -> Iterator[PrivateRedis]:
    """A Redis of one test, to be paused and killed."""
    with start_redis(run_directory) as server:
        yield server


def taken(tokens: RedisTokens, cause: str, times: int) -> int:
    return sum(tokens.take(cause) for _ in range(times))


def test_a_bucket_holds_a_burst_and_gets_one_more_a_minute(
    tokens: RedisTokens, client: Redis
) -> None:
    key = "storm-laneway:storm:a"
    assert taken(tokens, "a", BURST + 5) == BURST
    assert taken(tokens, "b", BURST + 5) == BURST
    assert sorted(client.keys()) == [key.encode(), b"storm-laneway:storm:b"]
    # It ends when the bucket is full again.
    assert 0 < client.pttl(key) <= BURST * MILLISECONDS
    # As if two minutes went by.
    client.set(key, int(client.get(key)) - 2 * MILLISECONDS, keepttl=True)
    assert taken(tokens, "a", 5) == 2
    assert (BURST - 1) * MILLISECONDS < client.pttl(key) <= BURST * MILLISECONDS


def test_a_clock_of_redis_that_was_set_back_holds_nothing_up(
    tokens: RedisTokens, client: Redis
) -> None:
    key = "storm-laneway:storm:a"
    tokens.take("a")
    client.set(key, int(client.get(key)) + 3_600_000)
    assert taken(tokens, "a", BURST + 5) == BURST
    assert 0 < client.pttl(key) <= BURST * MILLISECONDS


class Failing:
    """A process of ``support.storm_process``."""

    def __init__(self, **told: object) -> None:
        told = {"prefix": "storm-", "pause": 30.0, "causes": 1, "pace": 0.0, **told}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.storm_process", json.dumps(told)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def begins(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "begun\n"

    def ends(self) -> tuple[list[tuple[str, int]], list[float]]:
        """What its events stand for, by cause; and how long its longest calls took."""
        output, _ = self.process.communicate(timeout=90)
        assert self.process.returncode == 0
        told = json.loads(output)
        return [(cause, count) for cause, count in told["events"]], told["seconds"]


@pytest.fixture
def fail_in_all() -> Iterator[Callable[..., list[Failing]]]:
    started: list[Failing] = []

    def start(**told: object) -> list[Failing]:
        failures = FAILURES // PROCESSES
        started.extend(Failing(failures=failures, **told) for _ in range(PROCESSES))
        for one in started:
            one.begins()
        return started

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


def test_equal_failures_of_all_processes_are_few_events_that_count_them_all(
    redis: PrivateRedis, client: Redis, fail_in_all: Callable[..., list[Failing]]
) -> None:
    assert client.flushdb()
    processes = fail_in_all(url=redis.url)
    events = [event for one in processes for event in one.ends()[0]]
    assert len(events) <= 50
    assert sum(count for _, count in events) == FAILURES


@pytest.mark.alone
def test_redis_is_paused_killed_and_comes_back_and_every_failure_is_counted(
    mortal: PrivateRedis, fail_in_all: Callable[..., list[Failing]]
) -> None:
    causes = 50
    processes = fail_in_all(url=mortal.url, causes=causes, pace=0.003, pause=0.2)
    time.sleep(0.8)
    mortal.pause()
    time.sleep(0.7)
    mortal.resume()
    time.sleep(0.7)
    mortal.stop()
    time.sleep(0.7)
    mortal.begin()
    carried: Counter[str] = Counter()
    for one in processes:
        events, seconds = one.ends()
        for cause, count in events:
            carried[cause] += count
        # The longest are those that met a Redis that had just gone; the rest is the machine's.
        assert seconds[0] < DEADLINE + 0.5
        assert sum(1 for took in seconds if took > DEADLINE * 0.9) <= 10
    assert carried == {f"c{number}": FAILURES // causes for number in range(causes)}
    with Redis.from_url(mortal.url) as client:
        # What began anew knows nothing of the time before: it was asked again.
        assert client.keys("storm-laneway:storm:*")
