"""The load of a worker, and the report of it that the scaler reads.

The report goes to an exchange of the queue's virtual host every few seconds, over the connection on
which a thread looks for pauses anyway: no job, no process of the pool and not the loop do anything
for it. Nobody waits for it and nothing depends on it here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import amqp.exceptions
from celery.utils.log import get_logger

from laneway.scaling import Report
from laneway.topology import REPORTS_EXCHANGE
from laneway.worker.direct import DirectPool
from laneway.worker.direct.slots import CONSUMING
from laneway.worker.tally import BUCKETS

if TYPE_CHECKING:
    import kombu

    from laneway.worker.consumer import JobConsumer
    from laneway.worker.job_worker import JobWorker

log = get_logger(__name__)

#: Looks at what runs, which the loop may change while another thread looks.
_TRIES: Final = 100
#: Seconds without reports after the broker had blocked them: an alarm lasts.
_REST: Final = 60.0


class Blocked(Exception):
    """The broker's alarm is on: it reads nothing more of a connection that has published."""


class LoadReports:
    """The reports of one worker.

    Args:
        consumer: of the worker.
    """

    def __init__(self, consumer: JobConsumer) -> None:
        self._consumer = consumer
        self._run = uuid4().hex[:12]
        self._began = time.monotonic()
        self._every = consumer.controller.pace.every
        self._due = 0.0
        self._warned = False
        self._connection: kombu.Connection | None = None
        self._channel: Any = None

    def connect(self) -> kombu.Connection:
        """The connection of the thread.

        Reports are confirmed: nobody needs that, but what the broker has against one is then said
        here, and not to the next look for a pause.
        """
        return self._consumer.app.connection_for_read(
            transport_options={"confirm_publish": True, "on_blocked": self._on_blocked}
        )

    def begin(self, connection: kombu.Connection) -> None:
        """Report over this connection from now on, if the exchange is there."""
        self._connection = connection
        channel: Any = connection.channel()
        try:
            channel.exchange_declare(REPORTS_EXCHANGE, "fanout", passive=True)
        except amqp.exceptions.NotFound:
            self._channel = None
            self._warn(f"there is no exchange {REPORTS_EXCHANGE!r}: run 'laneway topology apply'")
        else:
            self._channel = channel

    def look(self) -> None:
        """Send a report if one is due."""
        if time.monotonic() >= self._due:
            self._send(leaving=False)

    def end(self) -> None:
        """Say that no jobs are taken any more."""
        self._send(leaving=True)

    def _send(self, *, leaving: bool) -> None:
        if self._channel is None:
            return
        self._due = time.monotonic() + self._every
        try:
            # (Without a delivery mode it is transient.)
            message = self._channel.prepare_message(
                report_of(
                    self._consumer.controller,
                    run=self._run,
                    up=time.monotonic() - self._began,
                    every=self._every,
                    leaving=leaving,
                ).encode(),
                content_type="application/json",
            )
            self._channel.basic_publish(message, exchange=REPORTS_EXCHANGE, routing_key="")
        except amqp.exceptions.ChannelError as error:
            # The exchange has gone, or it is not ours to write to.
            self._channel = None
            self._warn(str(error))

    def _warn(self, why: str) -> None:
        if not self._warned:
            log.warning("the load of this worker is not reported to the scaler: %s", why)
        self._warned = True

    def _on_blocked(self, reason: str) -> None:
        # The look for a pause must not wait for the end of the alarm: another connection, that
        # publishes nothing for a while, is not blocked. A proper close would not be read either.
        self._due = time.monotonic() + _REST
        if self._connection is not None:
            self._connection.connection.collect()
        raise Blocked(reason)


def report_of(
    worker: JobWorker, *, run: str, up: float, every: float, leaving: bool = False
) -> Report:
    """What a worker reports of itself now."""
    busy, running_for = running(worker)
    ended, runtime = worker.tallies.runtimes()
    waited, wait = worker.tallies.waits()
    buckets = zip((*BUCKETS, None), waited, strict=True)
    return Report(
        queue=worker.queue,
        worker=worker.hostname,
        run=run,
        up=up,
        every=every,
        concurrency=worker.concurrency,
        consumers=_consumers(worker),
        busy=busy,
        running_for=running_for,
        ended=sum(ended),
        runtime=runtime,
        started=sum(waited),
        wait=wait,
        waits=tuple((bound, count) for bound, count in buckets if count),
        leaving=leaving,
    )


def running(worker: JobWorker) -> tuple[int, float]:
    """How many jobs run now in the whole worker, and for how many seconds so far, together."""
    if isinstance(worker.pool, DirectPool):
        now = time.monotonic()
        began = [slot.began for slot in worker.pool.slots if slot.pid and slot.running]
    else:
        # (Celery's own: seconds since 1970, once the pool has accepted it.)
        now = time.time()
        began = [request.time_start or now for request in _active(worker)]
    return len(began), sum(max(0.0, now - at) for at in began)


def _active(worker: JobWorker) -> list[Any]:
    for _ in range(_TRIES):
        try:
            return list(worker.state.active_requests)
        except RuntimeError:  # another thread has begun or ended one meanwhile
            continue
    return []


def _consumers(worker: JobWorker) -> int:
    pool = worker.pool
    if isinstance(pool, DirectPool):
        return sum(slot.pid > 0 and slot.state == CONSUMING for slot in pool.slots)
    consumer: JobConsumer | None = worker.consumer
    return int(consumer is not None and consumer.taking_jobs)
