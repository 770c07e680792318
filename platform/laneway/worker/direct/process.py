"""The life of one process of the group: connect, take jobs, obey, leave."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from typing import TYPE_CHECKING, Any, Final

from celery import signals
from celery.concurrency.prefork import process_initializer

from laneway.broker import profile_of, server_version
from laneway.retry.backoff import Backoff
from laneway.worker.direct import slots
from laneway.worker.direct.intake import Intake
from laneway.worker.direct.lifetime import Lifetime
from laneway.worker.direct.nursery import leave_stopping_to_the_parent
from laneway.worker.direct.parent import Parent
from laneway.worker.direct.prefetch import Prefetch
from laneway.worker.direct.pulse import HEARTBEAT, Pulse
from laneway.worker.direct.turns import Turns

if TYPE_CHECKING:
    import socket

    import kombu

    from laneway.app import Laneway
    from laneway.worker.direct.revoked import Revoked
    from laneway.worker.direct.slots import Slot
    from laneway.worker.direct.totals import Total

log = logging.getLogger(__name__)

#: Between two tries to connect. (A whole group loses its connections at the same moment.)
_AGAIN: Final = Backoff(0.2, 5.0)


class JobProcess:
    """What runs in one process of the group.

    Args:
        app: the application, as inherited from the parent.
        queue: the queue served.
        hostname: the worker's node name.
        slot: this process's record.
        parent: the socket to the parent.
        totals: where it counts what has begun.
        revoked: what it is not to begin.
        worker_pid: the process that Celery's events name.
        max_jobs: jobs after which it leaves; None is never.
        max_memory: KiB of resident memory after which it leaves; None is never.
    """

    def __init__(
        self,
        app: Laneway,
        queue: str,
        hostname: str,
        slot: Slot,
        parent: socket.socket,
        *,
        totals: Total,
        revoked: Revoked,
        worker_pid: int,
        max_jobs: int | None,
        max_memory: int | None,
    ) -> None:
        self._app = app
        self._queue = queue
        self._hostname = hostname
        self._slot = slot
        self._parent = Parent(parent, slot)
        self._lifetime = Lifetime(max_jobs, max_memory)
        self._broken = broken(self._connection())
        self._turns = Turns(
            app,
            queue,
            hostname,
            slot,
            totals=totals,
            revoked=revoked,
            lifetime=self._lifetime,
            worker_pid=worker_pid,
            wait=self._parent.wait,
            broken=self._broken,
        )
        #: Its end of the broker; None while there is no connection.
        self.intake: Intake | None = None

    def run(self) -> None:
        """Live until ordered to leave, or until a limit of jobs or memory is reached."""
        slot = self._slot
        slot.pid, slot.state = os.getpid(), slots.STARTING
        process_initializer(self._app, self._hostname)
        # Again: Celery has just put the defaults back.
        leave_stopping_to_the_parent()
        self._turns.open()
        self._parent.line.setblocking(False)
        secure = self._app.policy.queue(self._queue).secure
        Pulse(self, self._turns, slot, self._parent, secure=secure).start()
        tries = 0
        while slot.order != slots.LEAVE and not self._lifetime.over:
            try:
                with self._connected() as intake:
                    tries = 0
                    self._serve(intake)
            except self._broken as error:
                wait = _AGAIN.wait(tries, random.random)
                log.warning("connection of %s lost: %s; again in %.2g s", self._queue, error, wait)
                self._parent.wait(wait)
                tries += 1
        slot.state = slots.LEAVING
        self._turns.close()
        signals.worker_process_shutdown.send(sender=self._hostname, pid=os.getpid(), exitcode=0)

    @contextlib.contextmanager
    def _connected(self) -> Any:
        with self._connection() as connection:
            try:
                try_each_member(connection)
                intake = Intake(connection, self._queue, self._slot, self._parent.line)
                self._lend(intake.socket)
                self.intake = intake
                if not profile_of(server_version(connection)).free_return:
                    # What is held and given back would be charged as if it had failed.
                    self._turns.prefetch = Prefetch(0.0)
                self._slot.state = slots.CONNECTED
                yield intake
            except Exception:
                # Without AMQP's goodbye: the answer may never come, or stand behind half a frame.
                connection.collect()
                raise
            finally:
                self.intake = None
                self._slot.state = slots.STARTING
                self._parent.tell({"closed": True})

    def _connection(self) -> kombu.Connection:
        return self._app.connection_for_read(heartbeat=HEARTBEAT)

    def _lend(self, own: socket.socket) -> None:
        """Give the parent a duplicate of the connection, so that it can settle what we cannot."""
        if hasattr(own, "pending"):
            # TLS keeps its state in this process: nobody else can write to it.
            self._parent.tell({"connected": False})
        else:
            self._parent.tell({"connected": True}, own.fileno())

    def _serve(self, intake: Intake) -> None:
        slot = self._slot
        while True:
            slot.main_at = now = time.monotonic()
            if self._parent.has_news():
                self._parent.hear()
            if slot.order != slots.CONSUME or self._lifetime.over:
                self._pause(intake)
                if slot.order == slots.LEAVE or self._lifetime.over:
                    return
                self._parent.wait(1.0)
                intake.idle(now, HEARTBEAT)
                continue
            if not intake.consuming and intake.holds_nothing():
                intake.consume(self._turns.prefetch.count)
                slot.state = slots.CONSUMING
            delivery = intake.take(1.0)
            if delivery is None:
                intake.idle(now, HEARTBEAT)
            else:
                self._turns.take(intake, delivery)

    def _pause(self, intake: Intake) -> None:
        """Take nothing more; what is held is given back."""
        intake.stop()
        intake.give_back_held()
        intake.settle()
        if self._slot.state == slots.CONSUMING:
            self._slot.state = slots.CONNECTED


def try_each_member(connection: kombu.Connection) -> None:
    """Connect to the first member of a cluster that answers; each is asked once, without a pause.

    Raises:
        OSError: none answers.
        amqp.AMQPError: the last one refuses.
    """
    others = max(0, len(connection.alt) - 1)
    connection.ensure_connection(max_retries=others, reraise_as_library_errors=False)


def broken(connection: kombu.Connection) -> tuple[type[Exception], ...]:
    """What says of such a connection that it is of no use any more."""
    return (*connection.connection_errors, *connection.channel_errors, OSError)
