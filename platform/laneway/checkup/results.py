"""Whether results have a place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import redis

from laneway.broker import mask_password
from laneway.checkup.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds that Redis may take to answer.
_TIMEOUT: Final = 3.0


def is_redis(url: str) -> bool:
    """Whether this result backend is a Redis."""
    return url.startswith(("redis://", "rediss://", "unix://"))


def open_redis(url: str) -> redis.Redis:
    """A client of it, not yet connected; a context manager.

    Raises:
        ValueError: the address cannot be read.
    """
    return redis.Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)


def results_checks() -> Iterator[Check]:
    """Whether the place that LANEWAY_RESULT_BACKEND names answers."""
    url = os.environ.get("LANEWAY_RESULT_BACKEND")
    if not url:
        yield Check(
            subject="results",
            verdict="warn",
            finding="LANEWAY_RESULT_BACKEND is not set: unless the application names a backend, "
            "results and chords do not work",
            cure="set it, like redis://:password@host:6379/0",
        )
    elif is_redis(url):
        try:
            with open_redis(url) as server:
                server.ping()
        except (redis.RedisError, OSError, ValueError) as error:
            yield Check(
                subject="results",
                verdict="fail",
                finding=f"{mask_password(url)}: {error}",
                cure="start Redis, or check LANEWAY_RESULT_BACKEND",
            )
        else:
            yield Check(subject="results", verdict="ok", finding=f"{mask_password(url)} answers")
    else:
        yield Check(
            subject="results",
            verdict="warn",
            finding=f"{mask_password(url)} is not Redis: not checked",
        )
