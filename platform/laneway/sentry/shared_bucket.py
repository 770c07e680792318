"""One bucket for each cause that all workers share, in Redis, and what to do while it is away.

Storm control must not become a fault of its own: whoever asks waits at most 50 ms, and once, for a
Redis that does not answer is not waited for again until it did. Without it every process decides
alone.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from laneway.after_fork import start_afresh_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: Events of one cause that all workers together may make at once.
BURST: Final = 10
#: Seconds after which they may make one more.
INTERVAL: Final = 60.0
#: Seconds that a failure waits for Redis, at most.
DEADLINE: Final = 0.05
#: Seconds after which a Redis that was away is asked again, with nobody waiting.
PAUSE: Final = 30.0
#: Seconds until a question is given up: what asks it is a thread that nobody waits for by then.
_GIVEN_UP: Final = 1.0

# KEYS: a bucket. ARGV: milliseconds for a token, and how many it holds. Kept is when it will be
# full again, which is when the key ends. The clock is the server's, the same for all workers; a
# bucket is full if it was set back.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local token, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or 0)
if full < now or full > now + burst * token then full = now end
full = full + token
if full > now + burst * token then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', full - now)
return 1
"""


class Tokens(Protocol):
    """Where the buckets are kept. Both calls may raise anything and take any time."""

    def connect(self) -> None:
        """Make sure that the next question need not connect first."""

    def take(self, cause: str) -> bool:
        """Take a token of a cause; False if there is none."""


class RedisTokens:
    """The buckets of one environment in Redis.

    Args:
        url: of Redis; see :func:`laneway.once.marks.redis_url`.
        prefix: stands before every key; environments that share a Redis differ in it.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self._url = url
        self._prefix = f"{prefix}laneway:storm:"
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Use no connection of the parent's; it stays open there."""
        self._script: Callable[..., Any] | None = None

    def connect(self) -> None:
        """Import the client and connect, if that was not done in this process."""
        if self._script is not None:
            return
        from redis import Redis  # noqa: PLC0415 (most processes never ask)
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        client = Redis.from_url(
            self._url,
            socket_connect_timeout=_GIVEN_UP,
            socket_timeout=_GIVEN_UP,
            # Once more, at once: a connection that was idle may have been closed meanwhile.
            retry=Retry(NoBackoff(), 1),
        )
        client.ping()
        self._script = client.register_script(_TAKE)

    def take(self, cause: str) -> bool:
        """Take a token of a cause, in one step on the server; False if there is none."""
        assert self._script is not None, "connect first"
        return bool(self._script(keys=[self._prefix + cause], args=[round(INTERVAL * 1000), BURST]))


class SharedBucket:
    """Asks for tokens, with a deadline and a circuit breaker; when in doubt there is one.

    Each question has a thread of its own, a daemon, because nothing else bounds how long resolving
    a name, connecting and a slow answer take together. There are few: see
    :class:`laneway.sentry.storm.Storm`. Safe in threads and after a fork.

    Args:
        tokens: where the buckets are.
        deadline: seconds that whoever asks waits at most.
        pause: seconds after which one that was away or slow is asked again.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        deadline: float = DEADLINE,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._deadline = deadline
        self._pause = pause
        self._clock = clock
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Know nothing of Redis yet: the threads that asked are the parent's."""
        self._lock = threading.Lock()
        self._is_away = False
        self._ask_again_at = 0.0
        #: Questions without an answer yet.
        self._asked = 0

    def take(self, cause: str) -> bool:
        """Take a token of a cause; False if there is none, True also if Redis does not say so.

        Never raises, and takes no longer than the deadline.
        """
        with self._lock:
            waits = not self._is_away
            if not waits and (self._asked or self._clock() < self._ask_again_at):
                return True
            self._asked += 1
        question = _Question(cause)
        thread = threading.Thread(target=self._ask, args=(question,), name="storm", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter ends
            self._note(str(error))
            return True
        if not waits:
            return True
        thread.join(self._deadline)
        if question.answer is None:
            self._be_away(f"no answer within {self._deadline * 1000:.0f} ms")
            return True
        return question.answer

    def _ask(self, question: _Question) -> None:
        trouble = None
        try:
            self._tokens.connect()
            began = self._clock()
            question.answer = self._tokens.take(question.cause)
            # Connecting is no sign of slowness: whoever waited for that in vain did so once.
            if (seconds := self._clock() - began) > self._deadline:
                trouble = f"it took {seconds * 1000:.0f} ms"
        except Exception as error:  # noqa: BLE001 (whatever it is, a job must not notice)
            trouble = f"{type(error).__name__}: {error}"
        self._note(trouble)

    def _note(self, trouble: str | None) -> None:
        """A question has ended."""
        with self._lock:
            self._asked -= 1
            is_back = self._is_away and trouble is None
            if is_back:
                self._is_away = False
        if trouble is not None:
            self._be_away(trouble)
        elif is_back:
            log.info("Redis answers again: all workers together limit the events of a storm")

    def _be_away(self, trouble: str) -> None:
        with self._lock:
            is_news = not self._is_away
            self._is_away = True
            self._ask_again_at = self._clock() + self._pause
        if is_news:
            log.warning(
                "each process limits the events of a storm alone, because Redis is away or slow: "
                "%s; asked again in %.0f s",
                trouble,
                self._pause,
            )


class _Question:
    """What a thread is asked, and its answer when there is one."""

    __slots__ = ("answer", "cause")

    def __init__(self, cause: str) -> None:
        self.cause = cause
        self.answer: bool | None = None
