"""What the scaler sees and hears of one virtual host: reports of workers, counters of the broker.

::

    workers ──> worker.reports ──> a queue of this process's own  ──┐
    what waits, was published, is done; who consumes, what pauses ──┴──> the load of each queue
                                   (management interface)

The second is no AMQP: there, 4.3 says how many jobs wait in a queue only to who has a right on it,
and each is one to do more than look. Nothing is asked of Redis. Whatever fails makes the queues of
the virtual host unknown, and is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import amqp.exceptions

from laneway.broker.connect import connection_to
from laneway.broker.management import Management
from laneway.errors import BrokerError, LanewayError, TopologyMissing
from laneway.scaling import Seen, read_report
from laneway.topology import REPORTS_EXCHANGE, pause_mark

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from kombu.connection import Connection

    from laneway.broker import BrokerAddress, VhostKind
    from laneway.broker.reported import ReportedCounters
    from laneway.scaling import Pace, QueueLoad

log = logging.getLogger(__name__)

#: Seconds between two tries.
PAUSE: Final = 2.0
#: Seconds after which a problem that lasts is said again.
SAY_AGAIN: Final = 60.0
#: Seconds that the management interface may take.
MANAGEMENT_TIMEOUT: Final = 5.0
#: What is wrong where the broker answers and leaves numbers out.
NO_STATISTICS: Final = (
    "the broker does not say how many jobs wait and were published (does it keep statistics? Look "
    "at management.rates_mode and management_agent.disable_metrics_collector of its configuration)"
)
#: Reports that wait while this process is busy; older ones are of no use.
_LONGEST_QUEUE: Final = 20_000
#: Seconds without anything on the connection after which others get their turn.
_TURN: Final = 0.5


class ScalerWatch:
    """Watches one virtual host.

    Args:
        address: where the broker is, and its management interface.
        vhost: which virtual host.
        loads: of the queues there; changed under the lock.
        lock: held while a load is changed.
        pace: how often to look.
        stop: set by somebody else to end it.
        clock: seconds, from any beginning, that never go back.
    """

    def __init__(
        self,
        address: BrokerAddress,
        vhost: VhostKind,
        loads: Mapping[str, QueueLoad],
        *,
        lock: threading.Lock,
        pace: Pace,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.vhost = vhost
        self._address = address
        self._loads = loads
        self._lock = lock
        self._pace = pace
        self._stop = stop
        self._clock = clock
        self._said: tuple[str, float] = ("", 0.0)
        #: Whether the broker keeps statistics of traffic; None until it was asked.
        self._counted: bool | None = None
        #: When its loop last came round (``time.monotonic``).
        self.turned_at = time.monotonic()

    def run(self) -> None:
        """Watch until told to stop."""
        while not self._stop.is_set():
            self.turned_at = time.monotonic()
            try:
                with connection_to(self._address, self.vhost) as connection:
                    self._watch(connection)
            except LanewayError as error:
                self._fail(str(error))
            except Exception as error:  # whatever it is, unknown is not 0
                log.exception("the scaler's watch of %r failed", self.vhost)
                self._fail(repr(error))
            self._stop.wait(PAUSE)

    def _watch(self, connection: Connection) -> None:
        self._listen(connection)
        due = self._clock()
        with Management(self._address, timeout=MANAGEMENT_TIMEOUT) as management:
            self._counted = None
            while not self._stop.is_set():
                self.turned_at = time.monotonic()
                if self._clock() >= due:
                    due = self._clock() + self._pace.every
                    self._look(management)
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=_TURN)
                connection.heartbeat_check()

    # -- what workers say ----------------------------------------------------------------------

    def _listen(self, connection: Connection) -> None:
        channel: Any = connection.channel()
        name = f"{REPORTS_EXCHANGE}.{uuid4().hex[:12]}"
        try:
            channel.queue_declare(
                name,
                exclusive=True,
                auto_delete=True,
                durable=False,
                arguments={
                    "x-max-length": _LONGEST_QUEUE,
                    "x-message-ttl": round(1000 * self._pace.stale),
                },
            )
            channel.queue_bind(name, REPORTS_EXCHANGE, "")
        except amqp.exceptions.NotFound:
            raise TopologyMissing(
                f"expected an exchange {REPORTS_EXCHANGE!r} in the virtual host "
                f"{self._address.vhost(self.vhost)!r}, there is none: no worker can report its "
                "load. Run 'laneway topology apply'."
            ) from None
        channel.basic_consume(name, no_ack=True, callback=self._on_report)

    def _on_report(self, message: Any) -> None:
        body = message.body
        report = read_report(body.encode() if isinstance(body, str) else bytes(body))
        # (A queue of another virtual host has no reports here.)
        if report is not None and (load := self._loads.get(report.queue)) is not None:
            with self._lock:
                load.hear(report, self._clock())

    # -- what the broker says ------------------------------------------------------------------

    def _look(self, management: Management) -> None:
        vhost = self._address.vhost(self.vhost)
        try:
            if self._counted is None:
                self._counted = management.keeps_statistics()
            found = {queue.name: queue for queue in management.queue_counters(vhost)}
        except BrokerError as error:
            self._fail(str(error))
            return
        for name, load in self._loads.items():
            problem, look = NO_STATISTICS, None
            if name in found:
                look = seen(found[name], found.get(pause_mark(name)), counted=self._counted)
            else:
                problem = (
                    f"there is no queue {name!r} in the virtual host {vhost!r}: run 'laneway "
                    "topology apply'"
                )
            with self._lock:
                if look is None:
                    load.fail(problem)
                else:
                    load.see(look, self._clock())
        self._well()

    def _well(self) -> None:
        if self._said[0]:
            log.info("the scaler sees %r again", self.vhost)
        self._said = ("", 0.0)

    def _fail(self, problem: str) -> None:
        with self._lock:
            for load in self._loads.values():
                load.fail(problem)
        text, at = self._said
        now = time.monotonic()
        if problem != text or now - at >= SAY_AGAIN:
            self._said = (problem, now)
            log.warning("the scaler does not see %r: %s", self.vhost, problem)


def seen(queue: ReportedCounters, mark: ReportedCounters | None, *, counted: bool) -> Seen | None:
    """What one look says of a queue; None if the broker keeps no statistics of it.

    A queue without traffic has no statistics of that, and neither has one on a broker that keeps
    none: the first has published 0, of the second nothing is known.

    Args:
        queue: the queue.
        mark: the queue that holds a message while it is paused.
        counted: whether the broker keeps statistics of traffic at all.
    """
    if not counted or queue.messages is None or queue.ready is None or queue.consumers is None:
        return None
    return Seen(
        ready=queue.ready,
        consumers=queue.consumers,
        paused=bool(mark is not None and mark.messages),
        published=queue.published or 0,
        settled=queue.acknowledged or 0,
        held=queue.messages,
    )
