"""The life of one process of the group: connect, take jobs, run them, leave."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import resource
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from celery import signals
from celery.concurrency.prefork import process_initializer
from celery.exceptions import SoftTimeLimitExceeded

from laneway.broker import profile_of, server_version
from laneway.retry.backoff import Backoff
from laneway.worker.direct import slots
from laneway.worker.direct.disposal import Disposal
from laneway.worker.direct.early import too_early
from laneway.worker.direct.intake import Intake
from laneway.worker.direct.nursery import leave_stopping_to_the_parent
from laneway.worker.direct.parent import Parent
from laneway.worker.direct.prefetch import Prefetch
from laneway.worker.direct.pulse import HEARTBEAT, Pulse
from laneway.worker.direct.runner import Ran, Runner
from laneway.worker.direct.task_events import TaskEvents, tell_ended, tell_received
from laneway.worker.gate import HandBack, Quarantine
from laneway.worker.letters import Failure
from laneway.worker.telling import RECEIVED

if TYPE_CHECKING:
    import socket
    from types import FrameType

    import kombu

    from laneway.app import Laneway
    from laneway.broker.deliveries import Delivery
    from laneway.worker.direct.revoked import Revoked
    from laneway.worker.direct.runner import Job
    from laneway.worker.direct.slots import Slot
    from laneway.worker.direct.totals import Total

log = logging.getLogger(__name__)

#: Between two tries to connect. (A whole group loses its connections at the same moment.)
_AGAIN: Final = Backoff(0.2, 5.0)
#: Seconds that a process that leaves waits for the broker to take its last task events.
_LAST_EVENTS: Final = 2.0
#: Times the budget: what is held beyond it, because jobs turned out to be longer, is given back.
_TOO_MUCH: Final = 1.5


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
        self._totals = totals
        self._worker_pid = worker_pid
        self._slot = slot
        self._parent = Parent(parent, slot)
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._jobs = 0
        self._retire = False
        self.prefetch = Prefetch(app.policy.queue(queue).worker.inversion_budget)
        self._runner = Runner(app, queue, hostname, revoked)
        self._disposal = Disposal(app, queue, hostname, self._parent.wait)
        self.intake: Intake | None = None
        self._events: TaskEvents | None = None
        self.job: Job | None = None
        self._interruptible = False
        self.ending = threading.Lock()
        #: What says that the connection is of no use any more.
        self._broken: tuple[type[Exception], ...] = (OSError,)

    def run(self) -> None:
        """Live until ordered to leave, or until a limit of jobs or memory is reached."""
        slot = self._slot
        slot.pid, slot.state = os.getpid(), slots.STARTING
        process_initializer(self._app, self._hostname)
        # Again: Celery has just put the defaults back.
        leave_stopping_to_the_parent()
        # It is told here without the request that Celery's receivers want.
        signals.task_received.disconnect(dispatch_uid=RECEIVED)
        signal.signal(signal.SIGUSR1, self._on_soft_limit)
        self._parent.line.setblocking(False)
        self._broken = _broken(self._connection())
        secure = self._app.policy.queue(self._queue).secure
        Pulse(self, slot, self._parent, secure=secure).start()
        tries = 0
        while slot.order != slots.LEAVE and not self._retire:
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
        self._close_events()
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
                    self.prefetch = Prefetch(0.0)
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
            if slot.order != slots.CONSUME or self._retire:
                self._pause(intake)
                if slot.order == slots.LEAVE or self._retire:
                    return
                self._parent.wait(1.0)
                intake.idle(now, HEARTBEAT)
                continue
            if not intake.consuming and intake.holds_nothing():
                intake.consume(self.prefetch.count)
                slot.state = slots.CONSUMING
            delivery = intake.take(1.0)
            if delivery is None:
                intake.idle(now, HEARTBEAT)
            else:
                self._handle(intake, delivery)

    def _pause(self, intake: Intake) -> None:
        """Take nothing more; what is held is given back."""
        intake.stop()
        intake.give_back_held()
        intake.settle()
        if self._slot.state == slots.CONSUMING:
            self._slot.state = slots.CONNECTED

    def _handle(self, intake: Intake, delivery: Delivery) -> None:
        job = self._runner.read(delivery)
        if isinstance(job, Quarantine):
            self._disposal.quarantine(intake, delivery, job)
            return
        if isinstance(job, HandBack):
            self._disposal.hand_back(intake, delivery, job)
            return
        request = job.request
        if seconds := request.get("eta") and too_early(request["eta"]):
            self._disposal.put_off(intake, delivery, seconds)
            return
        refused = self._runner.refused_before_run(job, self._eventer())
        if refused == "expired":
            failure = Failure(outcome="expired")
            self._disposal.bury(intake, delivery, request, failure, job.priority)
        elif refused:
            intake.finish(delivery.tag)
        else:
            if request.get("x-delivery-count"):
                self._isolate(intake)
            self._run(intake, delivery, job)

    def _isolate(self, intake: Intake) -> None:
        """Hold nothing but the job at hand, which may have killed the process it ran in before.

        The header counts (on quorum queues) what ended badly; a job that was only given back has
        none, although it comes as redelivered too.
        """
        if self.prefetch.count > 1:
            intake.stop()
        intake.give_back_held()
        intake.settle()

    def _run(self, intake: Intake, delivery: Delivery, job: Job) -> None:
        slot = self._slot
        self._app.facts.tell(
            "received",
            queue=self._queue,
            task=job.task_name,
            task_id=job.id,
            priority=job.request["delivery_info"]["priority"],
            attempt=(job.request.get("retries") or 0) + 1,
            redelivered=delivery.redelivered,
            worker=self._hostname,
        )
        slot.begin(
            delivery.tag,
            job.id,
            job.task_name,
            redelivered=delivery.redelivered,
            hard=job.hard_limit,
            soft=job.soft_limit,
        )
        self._totals.note(job.task_name)
        request = self._announce(job)
        self.job = job
        # If the end of the job is interrupted, it runs again rather than never.
        ran = Ran("requeue", None, None)
        try:
            self._interruptible = job.soft_limit > 0
            ran = self._runner.run(job)
            self._interruptible = False
        except SoftTimeLimitExceeded:
            # It came when the task's own code had ended already.
            self._interruptible = False
        except BaseException as error:  # noqa: BLE001 (SystemExit and its like)
            # Not by unwinding: a connection that is closed gives back, and charges, everything.
            # (Its words are left out: they can be the job's.)
            log.error("%s ends its process: %s", job.task_name, type(error).__name__)  # noqa: TRY400
            self._close_events()
            if self._app.reporter is not None:
                self._app.reporter.close()
            logging.shutdown()
            code = error.code if isinstance(error, SystemExit) else None
            os._exit(code if isinstance(code, int) and 0 < code < 126 else 1)
        if os.getpid() != slot.pid:
            # A process that the task forked, and that fell out of the task: it must not go on.
            os._exit(1)
        self.job = None
        try:
            self._settle(intake, delivery, job, ran)
        except self._broken:
            # It has ended all the same: its limits must not hit the process when it is idle, and
            # the next job must not count as none.
            self._end_turn()
            raise
        took = self._end_turn()
        if request is not None and ran.traced is not None:
            tell_ended(request, ran.traced)
        self._jobs += 1
        self._learn(intake, took)
        self._retire = self._is_used_up()

    def _settle(self, intake: Intake, delivery: Delivery, job: Job, ran: Ran) -> None:
        if ran.verdict == "ack":
            intake.finish(delivery.tag)
        elif ran.failure is not None:
            self._disposal.bury(intake, delivery, job.request, ran.failure, job.priority)
        else:
            intake.refuse(delivery.tag, requeue=ran.verdict == "requeue")

    def _end_turn(self) -> float:
        with self.ending:
            return self._slot.end()

    def _announce(self, job: Job) -> Any:
        """Tell those who want to know it that the job begins; its request, None if nobody does."""
        if not (self._slot.events or signals.task_received.receivers):
            return None
        eventer = self._eventer()
        request = self._runner.request_of(job, eventer)
        signals.task_received.send(sender=self, request=request)
        if eventer is None:
            return None
        tell_received(request)
        request.send_event("task-started")
        return request

    def _eventer(self) -> TaskEvents | None:
        """What sends task events; None while nobody wants them."""
        if not self._slot.events:
            return None
        if self._events is None:
            self._events = TaskEvents(self._app, self._hostname, self._worker_pid)
        return self._events

    def _close_events(self) -> None:
        if self._events is not None:
            self._events.close(_LAST_EVENTS)

    def _learn(self, intake: Intake, took: float) -> None:
        prefetch = self.prefetch
        changed = prefetch.note(took, self._slot.main_at)
        expected = self._slot.expected_runtime = prefetch.expected or 0.0
        # What is held a little too long runs here all the same: it would only change places.
        too_much = intake.held * expected > _TOO_MUCH * prefetch.budget
        if changed or too_much:
            intake.stop_soon(return_held=too_much)

    def _is_used_up(self) -> bool:
        if self._max_jobs and self._jobs >= self._max_jobs:
            return True
        if not self._max_memory:
            return False
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > self._max_memory

    def _on_soft_limit(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        deadline = self._slot.soft_deadline
        if self._interruptible and deadline and time.monotonic() >= deadline:
            self._interruptible = False
            raise SoftTimeLimitExceeded


def try_each_member(connection: kombu.Connection) -> None:
    """Connect to the first member of a cluster that answers; each is asked once, without a pause.

    Raises:
        OSError: none answers.
        amqp.AMQPError: the last one refuses.
    """
    others = max(0, len(connection.alt) - 1)
    connection.ensure_connection(max_retries=others, reraise_as_library_errors=False)


def _broken(connection: kombu.Connection) -> tuple[type[Exception], ...]:
    return (*connection.connection_errors, *connection.channel_errors, OSError)
