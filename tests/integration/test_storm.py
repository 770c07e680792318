"""Storms over several processes and a real Redis."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import pytest
from redis import Redis

from laneway.local import start_redis
from laneway.sentry.shared_bucket import BURST, DEADLINE, INTERVAL, RedisTokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    tokens: RedisTokens, client: Any
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
    tokens: RedisTokens, client: Any
) -> None:
    key = "storm-laneway:storm:a"
    tokens.take("a")
    client.set(key, int(client.get(key)) + 3_600_000)
    assert taken(tokens, "a", BURST + 5) == BURST
    assert 0 < client.pttl(key) <= BURST * MILLISECONDS


class Failing:
    """Processes of ``support.storm_process``; a context manager."""

    def __init__(self, folder: Path, **told: object) -> None:
        told = {"pause": 30.0, "causes": 1, "pace": 0.0, **told}
        told |= {"prefix": "storm-", "processes": PROCESSES, "failures": FAILURES // PROCESSES}
        self._folder = folder
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "support.storm_process",
                json.dumps({**told, "folder": f"{folder}"}),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "begun\n"
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def end(self) -> list[tuple[list[tuple[str, int]], list[float]]]:
        """Of each process: what its events stand for by cause, and its longest calls in seconds."""
        assert self._process.wait(90) == 0
        told = [json.loads(file.read_text()) for file in self._folder.glob("*.json")]
        assert len(told) == PROCESSES
        return [([(cause, count) for cause, count in events], took) for events, took in told]


def test_equal_failures_of_all_processes_are_few_events_that_count_them_all(
    redis: PrivateRedis, client: Redis, tmp_path: Path
) -> None:
    assert client.flushdb()
    with Failing(tmp_path, url=redis.url) as failing:
        events = [event for events, _ in failing.end() for event in events]
    assert len(events) <= 50
    assert sum(count for _, count in events) == FAILURES


@pytest.mark.alone
def test_redis_is_paused_killed_and_comes_back_and_every_failure_is_counted(
    mortal: PrivateRedis, tmp_path: Path
) -> None:
    causes = 50
    with Failing(tmp_path, url=mortal.url, causes=causes, pace=0.004, pause=0.2) as failing:
        time.sleep(1)
        mortal.pause()
        time.sleep(1)
        mortal.resume()
        time.sleep(1)
        mortal.stop()
        time.sleep(1)
        mortal.begin()
        told = failing.end()
    carried: Counter[str] = Counter()
    for events, seconds in told:
        for cause, count in events:
            carried[cause] += count
        # The longest are those that met a Redis that had just gone; the rest is the machine's.
        assert seconds[0] < DEADLINE + 0.5
        assert sum(1 for took in seconds if took > DEADLINE * 0.9) <= 10
    assert carried == {f"c{number}": FAILURES // causes for number in range(causes)}
    with Redis.from_url(mortal.url) as client:
        # It knew nothing when it began anew: it was asked again.
        assert client.keys("storm-laneway:storm:*")
