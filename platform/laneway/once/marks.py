"""Marks in Redis: who runs a job now, which jobs are done, which unique job stands.

A mark is a key with a text and an end in time. Every change that depends on what stands is one step
on the server, so that of two processes never both win. One Redis (or a primary that a proxy or
Sentinel names) is meant: the scripts touch two keys, which Redis Cluster refuses.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from laneway.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds to connect, and to wait for an answer: a job must not hang because Redis does.
CONNECT_TIMEOUT: Final = 0.25
ANSWER_TIMEOUT: Final = 0.5
_SCHEMES: Final = ("redis://", "rediss://", "unix://")

# A text that is ours already is taken again: the answer to the first try may have been lost.
_TAKE: Final = """
local stands = redis.call('GET', KEYS[1])
if stands and stands ~= ARGV[1] then return {stands, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
# KEYS: what is known of the end, the lease. What is known and not final comes with the lease.
_ENTER: Final = """
local ended = redis.call('GET', KEYS[1])
if ended and string.sub(ended, 1, 1) == ARGV[3] then return {ended, 0} end
local stands = redis.call('GET', KEYS[2])
if stands and stands ~= ARGV[1] then return {stands, redis.call('PTTL', KEYS[2])} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if ended then return {ended, 0} end
return false
"""
_DROP: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
# The second key leads from the job to its claim: whoever sees a job end knows no more than its id.
_CLAIM: Final = """
local stands = redis.call('GET', KEYS[1])
if stands and stands ~= ARGV[1] then return stands end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], KEYS[1], 'PX', ARGV[2])
return false
"""
_RESIGN: Final = """
local claim = redis.call('GET', KEYS[1])
if not claim then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('GET', claim) ~= ARGV[1] then return 0 end
return redis.call('DEL', claim)
"""


class MarksUnreachable(Exception):
    """Redis does not answer, or not as asked."""


class Standing(NamedTuple):
    """A mark that somebody else made."""

    text: str
    #: Until it ends.
    seconds: float


class Marks:
    """The marks of one application.

    It connects when first used. Safe in threads and after a fork.

    Args:
        url: of Redis.
        prefix: stands before every key; environments that share a Redis differ in it.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self._url = url
        self._prefix = f"{prefix}laneway:"
        self._scripts: dict[str, Callable[..., Any]] = {}
        self._client: Any = None

    def take(self, key: str, text: str, seconds: float) -> Standing | None:
        """Make a mark unless another stands there; None if it is ours now, for so long.

        Raises:
            MarksUnreachable: Redis does not answer; the mark may be made all the same.
        """
        stands = self._run(_TAKE, [key], text, _milliseconds(seconds))
        if not stands:
            return None
        return Standing(stands[0].decode(), max(0.0, stands[1] / 1000))

    def enter(
        self, key: str, lease: str, text: str, seconds: float, *, final: str
    ) -> Standing | None:
        """Take a lease unless another has it, or what stands at ``key`` is final.

        Args:
            key: where the end is noted.
            lease: the key of the lease.
            text: of the lease.
            seconds: how long it lasts.
            final: the letter with which a final note begins.

        Returns:
            None if the lease is ours and nothing is noted. The note, if there is one; the lease is
            ours then unless it is final. Else the lease of another.

        Raises:
            MarksUnreachable: Redis does not answer; the lease may be taken all the same.
        """
        stands = self._run(_ENTER, [key, lease], text, _milliseconds(seconds), final)
        if not stands:
            return None
        return Standing(stands[0].decode(), max(0.0, stands[1] / 1000))

    def put(self, key: str, text: str, seconds: float) -> None:
        """Make a mark, whatever stands there.

        Raises:
            MarksUnreachable: Redis does not answer.
        """
        self._ask(lambda client: client.set(self._prefix + key, text, px=_milliseconds(seconds)))

    def drop(self, key: str, text: str) -> None:
        """End a mark if it is the one with this text.

        Raises:
            MarksUnreachable: Redis does not answer.
        """
        self._run(_DROP, [key], text)

    def claim(self, key: str, task_id: str, seconds: float) -> str | None:
        """Make a job the one of its key; the id of the one that is, or None if it is this one.

        Raises:
            MarksUnreachable: Redis does not answer; the claim may be made all the same.
        """
        winner = self._run(_CLAIM, [key, _claim_of(task_id)], task_id, _milliseconds(seconds))
        return winner.decode() if winner else None

    def resign(self, task_id: str) -> None:
        """End the claim of a job, if it has one.

        Raises:
            MarksUnreachable: Redis does not answer.
        """
        self._run(_RESIGN, [_claim_of(task_id)], task_id)

    def _run(self, script: str, keys: list[str], *values: object) -> Any:
        def call(client: Any) -> Any:
            known = self._scripts.get(script)
            if known is None:
                known = self._scripts[script] = client.register_script(script)
            return known(keys=[self._prefix + key for key in keys], args=values)

        return self._ask(call)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        from redis import RedisError  # noqa: PLC0415 (most processes never ask)

        try:
            return question(self._client or self._connect())
        except RedisError as error:
            raise MarksUnreachable(f"{type(error).__name__}: {error}") from error

    def _connect(self) -> Any:
        from redis import Redis  # noqa: PLC0415 (the same)
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        self._client = Redis.from_url(
            self._url,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_timeout=ANSWER_TIMEOUT,
            # Once more, at once: a connection that was idle may have been closed meanwhile.
            retry=Retry(NoBackoff(), 1),
        )
        return self._client

    def close(self) -> None:
        """Close the connections; the next question makes new ones."""
        client, self._client, self._scripts = self._client, None, {}
        if client is not None:
            client.close()


def redis_url(result_backend: object, environ: Mapping[str, str] = os.environ) -> str | None:
    """Where marks are kept: ``$LANEWAY_REDIS_URL``, else the result backend; None if neither is.

    Raises:
        SettingsError: the variable names no Redis.
    """
    given = environ.get("LANEWAY_REDIS_URL")
    if given:
        if not given.startswith(_SCHEMES):
            scheme = given.partition(":")[0]
            raise SettingsError(
                "LANEWAY_REDIS_URL: expected redis://:password@host:6379/0 (or rediss, unix), got "
                f"one of {scheme!r}."
            )
        return given
    backend = str(result_backend or "")
    return backend if backend.startswith(_SCHEMES) else None


def _claim_of(task_id: str) -> str:
    return f"claim:{task_id}"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
