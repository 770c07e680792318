"""The relay: takes rows, publishes them, and deletes what the broker confirmed.

Any number of relays work on one table. Killed at any moment, nothing is lost: what was not deleted
is published again, with the same id, once its lease is over; that is at most one batch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from laneway.broker.address import VHOST_KINDS
from laneway.errors import OutboxError, PublishError, QueueFull, TopologyMissing
from laneway.outbox.sending import Sent, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.app import Laneway
    from laneway.broker import VhostKind
    from laneway.outbox.row import Row
    from laneway.outbox.store import Store

log = logging.getLogger("laneway.outbox")

#: Rows that a relay takes at once: as many may be published twice if it is killed.
DEFAULT_BATCH: Final = 100
#: Seconds after which the rows of a killed relay are taken by others.
DEFAULT_LEASE: Final = 60.0
#: Seconds between two looks into a table that was empty.
DEFAULT_POLL: Final = 0.5
#: Times that the broker refuses a row before it is put aside. With the waits between them about
#: four minutes: a topology that is being applied is no reason to call a person.
TRIES: Final = 10
# No fault of the row's: it waits as long as it takes.
_WAITS_FOR_EVER: Final = (QueueFull, TopologyMissing)
#: Seconds: the first wait after a refusal, doubled with each further one, and the longest.
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
#: Seconds to leave a virtual host, or the database, alone that was not there.
_AWAY: Final = 2.0


@dataclass(slots=True)
class Tally:
    """What a relay did."""

    #: Rows that the broker confirmed, and that are deleted.
    published: int = 0
    #: Refusals of rows.
    refused: int = 0
    #: Of these, rows that were put aside.
    aside: int = 0


class Relay:
    """Publishes the rows of a store; use one in each thread or process.

    Args:
        app: where to publish to, and who is told (``published``, and ``refused`` for what is put
            aside).
        store: whose rows.
        batch: rows that it takes at once, at least 1.
        lease: seconds for which it takes them; more than two publish deadlines.
        poll: seconds between two looks while there is nothing to do.
        clock: seconds that only grow, for the waits of the relay itself.

    Raises:
        ValueError: a number is out of its bounds.
    """

    def __init__(
        self,
        app: Laneway,
        store: Store,
        *,
        batch: int = DEFAULT_BATCH,
        lease: float = DEFAULT_LEASE,
        poll: float = DEFAULT_POLL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if batch < 1:
            raise ValueError(f"expected batch to be at least 1, got: {batch!r}")
        if lease <= 2 * app.publish_deadline:
            raise ValueError(
                f"expected lease to be more than two publish deadlines "
                f"({2 * app.publish_deadline:g} s), got: {lease!r}"
            )
        if poll <= 0:
            raise ValueError(f"expected poll to be more than 0 seconds, got: {poll!r}")
        self.owner = f"{socket.gethostname()[:100]}.{os.getpid()}.{random.getrandbits(32):08x}"
        self.tally = Tally()
        self._app = app
        self._store = store
        self._batch = batch
        self._lease = lease
        self._poll = poll
        self._clock = clock
        self._stopped = False
        # Unlike an Event it may be told from a signal handler, whatever its thread is doing.
        self._nudges: SimpleQueue[None] = SimpleQueue()
        # Confirmed, and not deleted because the database was away.
        self._done: list[int] = []
        # Virtual hosts that took nothing, each with the time of the next try.
        self._away: dict[VhostKind, float] = {}

    # -- running -------------------------------------------------------------------------------

    def run(self) -> None:
        """Publish what comes, until :meth:`stop`. A database or broker that is away is waited for.

        Raises:
            OutboxError: the first look into the table fails.
        """
        self._turn()
        while not self._stopped:
            try:
                worked = self._turn()
            except OutboxError as error:
                log.warning("%s (the relay tries again)", error)
                self._wait(_AWAY)
                continue
            if not worked:
                self._wait(self._poll)

    def run_once(self) -> Tally:
        """Publish all that is due now.

        Returns:
            What was done; rows that wait for their next try, or for a broker that is away, stay.

        Raises:
            OutboxError: the database is away.
        """
        while not self._stopped and self._turn():
            pass
        return self.tally

    def stop(self) -> None:
        """Let it end after the wave that it is publishing; safe in a signal handler."""
        self._stopped = True
        self._nudges.put(None)

    def nudge(self) -> None:
        """Rows were committed: look at once."""
        if self._nudges.empty():
            self._nudges.put(None)

    def start_in_background(self) -> threading.Thread:
        """Run it in a thread of this process, which ends with the process or :meth:`stop`.

        A thread does not survive a fork: start it in the process that serves.
        """
        thread = threading.Thread(target=self._run_in_thread, name="laneway-outbox", daemon=True)
        thread.start()
        return thread

    def _run_in_thread(self) -> None:
        while not self._stopped:
            try:
                self.run()
            except Exception:
                # Nobody would see that the thread is gone, and the jobs would wait for ever.
                log.exception("the relay failed and tries again")
                self._wait(_AWAY)
        self._store.close()

    def _wait(self, seconds: float) -> None:
        """Until somebody nudges, or the time is over."""
        with contextlib.suppress(Empty):
            self._nudges.get(timeout=seconds)
            while True:
                self._nudges.get_nowait()

    # -- one turn ------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Take one batch to its end; whether there was any."""
        self._delete_done()
        worked = False
        for vhosts, most in self._reachable():
            rows = self._store.lease(self.owner, self._lease, most, vhosts)
            if rows:
                self._settle(rows, self._send(rows))
                worked = True
        return worked

    def _reachable(self) -> Iterator[tuple[list[VhostKind], int]]:
        """Virtual hosts and how many rows to take for them: one for a look at who was away."""
        well = [vhost for vhost in VHOST_KINDS if vhost not in self._away]
        if well:
            yield well, self._batch
        for vhost, again in tuple(self._away.items()):
            if self._clock() >= again:
                yield [vhost], 1

    def _send(self, rows: list[Row]) -> Sent:
        sent = send(rows, self._app.publisher, stopped=lambda: self._stopped)
        for vhost in {row.vhost for row in rows}:
            if (error := sent.trouble.get(vhost)) is None:
                if self._away.pop(vhost, None) is not None:
                    log.info("the virtual host of %r takes the outbox's jobs again", vhost)
                continue
            if vhost not in self._away:
                log.warning("%s (the outbox's jobs wait)", error)
            self._away[vhost] = self._clock() + _AWAY
        return sent

    def _settle(self, rows: list[Row], sent: Sent) -> None:
        self._done += [row.id for row in sent.accepted]
        for row in sent.accepted:
            self._app.facts.tell("published", **told(row))
        self._delete_done()
        self.tally.published += len(sent.accepted)
        settled = {row.id for row in sent.accepted} | {row.id for row, _ in sent.refused}
        self._keep_refused(sent.refused)
        self._store.release(self.owner, [row.id for row in rows if row.id not in settled])

    def _delete_done(self) -> None:
        if self._done:
            self._store.delete(self._done)
            self._done.clear()

    def _keep_refused(self, refused: list[tuple[Row, PublishError]]) -> None:
        alike: dict[tuple[int, bool, str], list[Row]] = defaultdict(list)
        for row, error in refused:
            aside = not isinstance(error, _WAITS_FOR_EVER) and row.attempts + 1 >= TRIES
            alike[row.attempts, aside, f"{type(error).__name__}: {error}"].append(row)
        for (attempts, aside, words), rows in alike.items():
            wait = min(_FIRST_WAIT * 2.0 ** min(attempts, 30), _LONGEST_WAIT)
            ids = [row.id for row in rows]
            self._store.refused(self.owner, ids, words, wait=wait, aside=aside)
            self.tally.refused += len(rows)
            if attempts == 0 or aside:
                what = "put aside" if aside else "refused, will be tried again"
                log.warning("%d jobs %s, first row %d: %s", len(rows), what, ids[0], words)
            if aside:
                self.tally.aside += len(rows)
                kind, _, reason = words.partition(": ")
                for row in rows:
                    self._app.facts.tell("refused", **told(row), error_type=kind, reason=reason)


def told(row: Row) -> dict[str, Any]:
    """What a fact says of a row's job."""
    return {
        "task": row.task,
        "task_id": row.job_id,
        "attempt": 1,
        "queue": row.queue,
        "priority": row.priority,
    }
