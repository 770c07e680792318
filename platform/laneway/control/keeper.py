"""The keeper: from what the broker gave up to dead letters.

::

    dead.inbox ──> understand ──> post, confirmed ──> FAILURE ──> tell ──> acknowledge
                                  (dead.letters)      (result     (facts, Sentry)
                                                       backend)

In this order a keeper that is killed anywhere leaves its messages in the inbox, and the next one
writes the same letters once more: the same ids, so readers see one. Any number may run.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from celery.utils import uuid

from laneway.broker import profile_of, server_version
from laneway.broker.connect import connection_to
from laneway.control.given_up import REJECTED, given_up
from laneway.control.inbox import Inbox
from laneway.deadletter.postbox import post_all
from laneway.errors import (
    BatchIncomplete,
    LanewayError,
    PublishError,
    TopologyMissing,
)
from laneway.queue_state import declared_counts
from laneway.sentry.event import event_id_of
from laneway.topology import DEAD_INBOX, LETTER_STREAM

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from kombu.connection import Connection

    from laneway.app import Laneway
    from laneway.broker import VhostKind
    from laneway.broker.deliveries import Delivery
    from laneway.control.given_up import GivenUp
    from laneway.control.results import Results
    from laneway.sentry.reporter import Reporter

log = logging.getLogger(__name__)

#: Messages that are held, and posted as one batch, at most.
PREFETCH: Final = 100
#: Seconds between two tries, at first and at most.
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
#: Seconds after which a problem that lasts is said again.
SAY_AGAIN: Final = 60.0
#: Seconds without a message after which the inbox counts as empty (``once``).
EMPTY_AFTER: Final = 2.0


class _Stopped(Exception):
    """The keeper was told to stop while it waited; what it holds goes back."""


class _Impossible(Exception):
    """The broker will never take this letter."""


class Keeper:
    """Makes letters of what arrives in the dead inbox of one virtual host.

    Args:
        app: publishes the letters.
        vhost: which virtual host.
        results: who writes the jobs' results.
        name: of this process, for facts and the broker's list of consumers.
        stop: set by somebody else to end it.
        reporter: reports the letters to Sentry; None if nobody does.
        clock: seconds since 1970.
        new_id: makes an id for a message without one.
    """

    def __init__(
        self,
        app: Laneway,
        vhost: VhostKind,
        *,
        results: Results,
        name: str,
        stop: threading.Event,
        reporter: Reporter | None = None,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = uuid,
    ) -> None:
        self.vhost = vhost
        self._app = app
        self._results = results
        self._name = name
        self._stop = stop
        self._reporter = reporter
        self._clock = clock
        self._new_id = new_id
        self._counts_deliveries = False
        self._said: tuple[str, float] = ("", 0.0)
        #: Why no letters are made now; None while they are.
        self.problem: str | None = "not connected to the broker yet"
        #: Messages that stay in the inbox, because the broker takes no letter of their size.
        self.held = 0
        #: When its loop last came round (``time.monotonic``).
        self.turned_at = time.monotonic()

    def run(self, *, once: bool = False) -> None:
        """Keep the inbox empty until told to stop.

        Args:
            once: end when it is empty, or at the first problem.

        Raises:
            LanewayError: only with ``once``: there was a problem.
        """
        pause = FIRST_PAUSE
        over = False
        while not over and not self._stop.is_set():
            try:
                with connection_to(self._app.address, self.vhost) as connection:
                    pause = FIRST_PAUSE
                    self._serve(connection, once=once)
                over = True
            except _Stopped:
                over = True
            except LanewayError as error:
                if once:
                    raise
                self._say(str(error))
            except Exception as error:  # whatever it is, the inbox must not stay unread
                if once:
                    raise
                log.exception("the keeper of %r failed", self.vhost)
                self.problem = repr(error)
            if not over:
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _serve(self, connection: Connection, *, once: bool) -> None:
        self._require_topology(connection)
        self._counts_deliveries = profile_of(server_version(connection)).queue_type == "quorum"
        inbox = Inbox(connection, PREFETCH, self._name)
        self.held = 0
        self._well()
        empty_since = time.monotonic()
        while not self._stop.is_set():
            self.turned_at = time.monotonic()
            if deliveries := inbox.take(1.0):
                self._keep(inbox, [self._understood(one) for one in deliveries])
                empty_since = time.monotonic()
            elif once and time.monotonic() - empty_since > EMPTY_AFTER:
                return

    def _understood(self, delivery: Delivery) -> GivenUp:
        job = given_up(
            delivery,
            now=self._clock(),
            new_id=self._new_id,
            counts_deliveries=self._counts_deliveries,
        )
        if self._reporter is None:
            return job
        event = event_id_of(job.letter.id)
        return replace(job, letter=replace(job.letter, event_id=event))

    def _require_topology(self, connection: Connection) -> None:
        for name in (DEAD_INBOX, LETTER_STREAM):
            if declared_counts(connection, name) is None:
                raise TopologyMissing(
                    f"expected {name} in the virtual host {self._app.address.vhost(self.vhost)!r}, "
                    "there is none. Run 'laneway topology apply'; the keeper waits for it."
                )

    def _keep(self, inbox: Inbox, jobs: list[GivenUp]) -> None:
        posted = self._post(inbox, jobs)
        self._results.settle(posted)
        for job in posted:
            self._tell(job)
        inbox.ack([job.tag for job in posted])

    # -- posting -------------------------------------------------------------------------------

    def _post(self, inbox: Inbox, jobs: list[GivenUp]) -> list[GivenUp]:
        """Write the letters; returns the jobs whose letters stand, which are mostly all."""
        try:
            self._insist(inbox, jobs)
        except _Impossible:
            # One of them cannot be written, and the broker does not say which.
            return [job for job in jobs if self._post_alone(inbox, job)]
        return jobs

    def _post_alone(self, inbox: Inbox, job: GivenUp) -> bool:
        try:
            self._insist(inbox, [job])
        except _Impossible as error:
            inbox.hold()
            self.held += 1
            log.error(  # noqa: TRY400 (the traceback says nothing more)
                "a message of the queue %r stays in %s: no letter can be written of it: %s Raise "
                "the broker's max_message_size to one and a half times the size of its largest "
                "message, and start the keeper again.",
                job.letter.queue,
                DEAD_INBOX,
                error,
            )
            return False
        return True

    def _insist(self, inbox: Inbox, jobs: list[GivenUp]) -> None:
        """Write letters, again and again until the broker has confirmed them.

        Raises:
            _Impossible: trying again would change nothing.
            _Stopped: the keeper was told to stop.
            BrokerError, OSError: the connection to the inbox is lost; what it held comes again.
        """
        pause = FIRST_PAUSE
        while True:
            self.turned_at = time.monotonic()
            try:
                post_all(self._app, self.vhost, [job.letter for job in jobs])
            except PublishError as error:
                reason = error.__cause__ if isinstance(error, BatchIncomplete) else error
                if type(reason) is PublishError:
                    raise _Impossible(str(reason)) from error
                self._say(f"letters wait in {DEAD_INBOX}: {reason}")
            else:
                self._well()
                return
            self._wait(pause)
            if self._stop.is_set():
                raise _Stopped
            inbox.beat()
            pause = min(2 * pause, LONGEST_PAUSE)

    # -- telling -------------------------------------------------------------------------------

    def _tell(self, job: GivenUp) -> None:
        self._app.facts.tell("dead_lettered", worker=self._name, **job.letter.told())
        # Who rejected a job saw why, and has reported it.
        if self._reporter is not None and job.letter.error_type != REJECTED:
            self._reporter.report(job.letter)

    def _well(self) -> None:
        if self._said[0]:
            log.info("the keeper of %r is at work", self.vhost)
        self.problem, self._said = None, ("", 0.0)

    def _say(self, problem: str) -> None:
        """Say a problem once, and again every minute while it lasts."""
        self.problem = problem
        text, at = self._said
        now = time.monotonic()
        if problem != text or now - at >= SAY_AGAIN:
            self._said = (problem, now)
            log.warning("the keeper of %r: %s", self.vhost, problem)

    def _wait(self, seconds: float) -> None:
        """Wait, but not through an order to stop."""
        self._stop.wait(seconds)
        self.turned_at = time.monotonic()
