"""Storms: which failures become an event, and how many were held back since the last one.

The reporter asks before it builds an event, and nothing is lost: what is held back is on the next
event of its cause, or on a closing event when the cause has been quiet for a minute::

    held = storm.admit(cause)
    if held is None:
        app.facts.tell("report_held", queue=…, task=…, task_id=…, worker=…, cause=cause)
    else:
        app.facts.tell("reported", queue=…, task=…, task_id=…, worker=…, cause=cause, letter=…)
        …                               # an event that stands for 1 + held failures

One of the two facts is told for each failure, in the process that asked. A worker counts them in
memory that outlives its processes, so ``laneway_facts_total{kind="report_held"}`` is right also
when a process dies with counts that no event carried. A closing event is no failure, and no fact.

Where whoever publishes decides how many causes there are (the names of unknown tasks), ask with one
cause for all of them: each new cause is an event at once.

It is made once for each process, before any is forked; the closing events need a
:class:`~laneway.sentry.closing.Closer`::

    url = redis_url(app.conf.result_backend)
    prefix = app.address.vhost_prefix
    storm = Storm(SharedBucket(RedisTokens(url, prefix)) if url else None)
    closer = Closer(storm, send_closing_event)
    …
    closer.close(deadline)              # before the SDK is flushed, in each process
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from laneway.after_fork import start_afresh_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

#: Events of one cause that a process may make at once.
BURST: Final = 3
#: Seconds after which it may make one more.
INTERVAL: Final = 60.0
#: Seconds without a failure of a cause after which its storm is over.
QUIET: Final = 60.0
#: Causes that a process keeps apart.
CAUSES: Final = 1000
#: What the failures are counted under for which there is no room; no real cause is called so.
OTHERS: Final = "others"
#: A cause that was quiet for so long has all its tokens again: to forget it changes nothing.
_FORGOTTEN_AFTER: Final = BURST * INTERVAL


@dataclass(frozen=True, slots=True)
class Held:
    """Failures of one cause that no event carried yet."""

    #: As it was given to :meth:`Storm.admit`; :data:`OTHERS` for those there was no room for.
    cause: str
    #: How many, at least 1.
    count: int
    #: When the first and the last of them happened, in seconds since 1970 (UTC).
    first_at: float
    last_at: float


class Bucket(Protocol):
    """Tokens that all processes share, a bucket for each cause."""

    def take(self, cause: str) -> bool:
        """Take a token; False if there is none. True also if nobody can say. Never raises."""


@dataclass(slots=True)
class _Cause:
    """What is known of one cause in this process."""

    name: str
    #: Tokens left, and when they were counted (monotonic).
    tokens: float
    counted_at: float
    #: When the last failure was (monotonic).
    failed_at: float
    held: int = 0
    #: When the first and the last of those held were, in seconds since 1970.
    first_at: float = 0.0
    last_at: float = 0.0

    def take(self, now: float) -> bool:
        # A clock that goes back takes nothing away.
        passed = max(0.0, now - self.counted_at)
        self.tokens = min(float(BURST), self.tokens + passed / INTERVAL)
        self.counted_at = self.failed_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def hold(self, at: float) -> None:
        self.held += 1
        self.last_at = at
        if self.held == 1:
            self.first_at = at

    def hand_out(self) -> Held:
        held, self.held = self.held, 0
        return Held(self.name, held, self.first_at, self.last_at)


class Storm:
    """The storm control of one process; safe in threads, and a forked child starts with nothing.

    A failure becomes an event if its cause has a token in this process (3, then one a minute) and,
    where there is a shared bucket, one there. That is asked second, so a cause asks Redis no more
    often than it gets tokens here, and what is held back here costs no question.

    At most ``causes`` causes are kept apart. If there are more within three minutes, the rest share
    one bucket and one count, which a closing event carries as :data:`OTHERS`.

    Args:
        shared: the tokens of all workers; None if each process decides alone.
        causes: how many are kept apart, at least 1.
        clock: seconds, monotonic.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        shared: Bucket | None = None,
        *,
        causes: int = CAUSES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._shared = shared
        self._room = causes
        self.clock = clock
        self._wall = wall
        self._when_held: Callable[[], None] | None = None
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Forget everything: what the parent of this process holds back is the parent's to tell."""
        self._lock = threading.Lock()
        #: By their last failure, the oldest first.
        self._causes: OrderedDict[str, _Cause] = OrderedDict()
        self._others = self._new(OTHERS, self.clock())

    def when_held(self, call: Callable[[], None]) -> None:
        """Have something called whenever a cause begins to hold failures back, from any thread."""
        self._when_held = call

    def admit(self, cause: str) -> int | None:
        """Decide on one failure, before anything is built of it.

        It takes as long as the shared bucket takes to answer, if that is asked; failures of other
        causes do not wait for it.

        Returns:
            If this failure is to become an event: how many of its cause were held back in this
            process since the last one. They are handed out with this and counted no more. None if
            this failure is held back too.
        """
        now = self.clock()
        with self._lock:
            known = self._find(cause, now)
            admitted = known.take(now)
        if admitted and self._shared is not None:
            admitted = self._shared.take(known.name)
        with self._lock:
            # Found again: nobody kept it while Redis was asked.
            known = self._find(cause, now)
            if admitted:
                # Those that others hold are not of this cause: a closing event carries them.
                return 0 if known is self._others else known.hand_out().count
            known.hold(self._wall())
            begins = known.held == 1
        if begins and self._when_held is not None:
            self._when_held()
        return None

    def quiet(self, now: float) -> list[Held]:
        """Hand out what is held of causes that were quiet for a minute; it is counted no more.

        Args:
            now: of this storm's ``clock``.
        """
        with self._lock:
            return [
                known.hand_out()
                for known in (*self._causes.values(), self._others)
                if known.held and now - known.failed_at >= QUIET
            ]

    def drain(self) -> list[Held]:
        """Hand out everything that is held, before the process ends; it is counted no more."""
        with self._lock:
            held = [one for one in (*self._causes.values(), self._others) if one.held]
            return [known.hand_out() for known in held]

    def _find(self, cause: str, now: float) -> _Cause:
        known = self._causes.get(cause)
        if known is None:
            if not self._has_room(now):
                return self._others
            known = self._causes[cause] = self._new(cause, now)
        else:
            self._causes.move_to_end(cause)
        return known

    def _has_room(self, now: float) -> bool:
        if len(self._causes) < self._room:
            return True
        oldest = next(iter(self._causes.values()))
        # If the oldest cannot be forgotten, none can, but for what is soon handed out.
        if oldest.held or now - oldest.failed_at < _FORGOTTEN_AFTER:
            return False
        del self._causes[oldest.name]
        return True

    @staticmethod
    def _new(name: str, now: float) -> _Cause:
        return _Cause(name, tokens=float(BURST), counted_at=now, failed_at=now)
