"""Whether the clocks of the platform's machines agree: waits and delays compare them."""

from __future__ import annotations

import contextlib
import email.utils
import os
import time
from typing import TYPE_CHECKING, Final

import httpx
import redis

from laneway.broker.management import Management
from laneway.checkup.check import Check
from laneway.checkup.results import is_redis, open_redis
from laneway.errors import LanewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.broker import BrokerAddress

#: Seconds that two clocks may differ before waits and delays are reported wrongly.
CLOCK_TOLERANCE: Final = 2.0
#: Seconds that the broker may take to tell its time.
_BROKER_TIMEOUT: Final = 3.0


def clock_checks(address: BrokerAddress, now: Callable[[], float] = time.time) -> Iterator[Check]:
    """This machine's clock against those of the broker and of Redis, where these tell the time."""
    differences = dict(_clock_differences(address, now))
    for place, seconds in differences.items():
        if abs(seconds) > CLOCK_TOLERANCE:
            yield Check(
                subject="clock",
                verdict="warn",
                finding=f"this machine's clock is {abs(seconds):.0f} s "
                f"{'ahead of' if seconds > 0 else 'behind'} that of {place}: waits are wrong",
                cure="synchronise the clocks (NTP) of all machines",
            )
    if differences and all(abs(s) <= CLOCK_TOLERANCE for s in differences.values()):
        yield Check(
            subject="clock", verdict="ok", finding=f"agrees with {' and '.join(differences)}"
        )


def _clock_differences(
    address: BrokerAddress, now: Callable[[], float]
) -> Iterator[tuple[str, float]]:
    with contextlib.suppress(LanewayError, httpx.HTTPError):
        with Management(address) as management:
            answer = httpx.get(management.url, timeout=_BROKER_TIMEOUT, trust_env=False)
        if date := answer.headers.get("date"):
            # Whole seconds, cut off: on average half a second behind.
            there = email.utils.parsedate_to_datetime(date).timestamp() + 0.5
            yield "the broker", now() - there
    url = os.environ.get("LANEWAY_RESULT_BACKEND") or ""
    if is_redis(url):
        with contextlib.suppress(redis.RedisError, OSError, ValueError), open_redis(url) as server:
            seconds, micros = server.time()
            yield "Redis", now() - (seconds + micros / 1e6)
