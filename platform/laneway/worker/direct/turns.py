"""The jobs of one process, one after the other: from a delivery to its settlement."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from celery.exceptions import SoftTimeLimitExceeded

from laneway.worker.direct.announcer import Announcer
from laneway.worker.direct.disposal import Disposal
from laneway.worker.direct.early import too_early
from laneway.worker.direct.prefetch import Prefetch
from laneway.worker.direct.runner import Ran, Runner
from laneway.worker.direct.soft_limit import SoftLimit
from laneway.worker.gate import HandBack, Quarantine
from laneway.worker.letters import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.app import Laneway
    from laneway.broker.deliveries import Delivery
    from laneway.worker.direct.intake import Intake
    from laneway.worker.direct.lifetime import Lifetime
    from laneway.worker.direct.revoked import Revoked
    from laneway.worker.direct.runner import Job
    from laneway.worker.direct.slots import Slot
    from laneway.worker.direct.totals import Total

log = logging.getLogger(__name__)

#: Times the budget: what is held beyond it, because jobs turned out to be longer, is given back.
_TOO_MUCH: Final = 1.5


class Turns:
    """Takes what the intake holds: runs it, or does what else is to become of it.

    Args:
        app: the application.
        queue: the queue served.
        hostname: the worker's node name.
        slot: the process's record.
        totals: where it counts what has begun.
        revoked: what it is not to begin.
        lifetime: the process's.
        worker_pid: the process that Celery's events name.
        wait: sleeps so many seconds, but not through an order of the parent.
        broken: what says that the connection is of no use any more.
    """

    def __init__(
        self,
        app: Laneway,
        queue: str,
        hostname: str,
        slot: Slot,
        *,
        totals: Total,
        revoked: Revoked,
        lifetime: Lifetime,
        worker_pid: int,
        wait: Callable[[float], None],
        broken: tuple[type[Exception], ...],
    ) -> None:
        self._app = app
        self._queue = queue
        self._hostname = hostname
        self._slot = slot
        self._totals = totals
        self._lifetime = lifetime
        self._broken = broken
        self._runner = Runner(app, queue, hostname, revoked)
        self._disposal = Disposal(app, queue, hostname, wait)
        self._announcer = Announcer(app, hostname, slot, self._runner, worker_pid)
        self._soft_limit = SoftLimit(slot)
        #: How much may be held ahead, learned from each turn.
        self.prefetch = Prefetch(app.policy.queue(queue).worker.inversion_budget)
        #: The job that runs; None between two.
        self.job: Job | None = None
        #: Held while a turn ends.
        self.ending = threading.Lock()

    def open(self) -> None:
        """To be called in the process itself, before its first job."""
        self._announcer.open()
        self._soft_limit.listen()

    def close(self) -> None:
        """Let the last that was told go out."""
        self._announcer.close()

    def take(self, intake: Intake, delivery: Delivery) -> None:
        """Let a delivery through the gate, run its job, settle it.

        Raises:
            Exception: one of ``broken``; whatever the broker was not told, it gives again.
        """
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
        refused = self._runner.refused_before_run(job, self._announcer.eventer)
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
        self._begin(delivery, job)
        request = self._announcer.begins(job)
        self.job = job
        ran = self._run_code(job)
        if os.getpid() != self._slot.pid:
            # A process that the task forked, and that fell out of the task: it must not go on.
            os._exit(1)
        self.job = None
        try:
            self._settle(intake, delivery, job, ran)
        except self._broken:
            # It has ended all the same: its limits must not hit the process when it is idle, and
            # the next job must not count as none.
            self._end()
            raise
        took = self._end()
        self._announcer.ended(request, ran)
        self._learn(intake, took)
        self._lifetime.note_job()

    def _begin(self, delivery: Delivery, job: Job) -> None:
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
        self._slot.begin(
            delivery.tag,
            job.id,
            job.task_name,
            redelivered=delivery.redelivered,
            hard=job.hard_limit,
            soft=job.soft_limit,
        )
        self._totals.note(job.task_name)

    def _run_code(self, job: Job) -> Ran:
        soft_limit = self._soft_limit
        # If the end of the job is interrupted, it runs again rather than never.
        ran = Ran("requeue", None, None)
        try:
            soft_limit.armed = job.soft_limit > 0
            ran = self._runner.run(job)
            soft_limit.armed = False
        except SoftTimeLimitExceeded:
            # It came when the task's own code had ended already.
            soft_limit.armed = False
        except BaseException as error:  # noqa: BLE001 (SystemExit and its like)
            self._end_process(job, error)
        return ran

    def _end_process(self, job: Job, error: BaseException) -> NoReturn:
        """Go without unwinding: a connection that is closed gives back, and charges, everything."""
        # (The error's words are left out: they can be the job's.)
        log.error("%s ends its process: %s", job.task_name, type(error).__name__)
        self.close()
        if self._app.reporter is not None:
            self._app.reporter.close()
        logging.shutdown()
        code = error.code if isinstance(error, SystemExit) else None
        os._exit(code if isinstance(code, int) and 0 < code < 126 else 1)

    def _settle(self, intake: Intake, delivery: Delivery, job: Job, ran: Ran) -> None:
        if ran.verdict == "ack":
            intake.finish(delivery.tag)
        elif ran.failure is not None:
            self._disposal.bury(intake, delivery, job.request, ran.failure, job.priority)
        else:
            intake.refuse(delivery.tag, requeue=ran.verdict == "requeue")

    def _end(self) -> float:
        with self.ending:
            return self._slot.end()

    def _learn(self, intake: Intake, took: float) -> None:
        prefetch = self.prefetch
        changed = prefetch.note(took, self._slot.main_at)
        expected = self._slot.expected_runtime = prefetch.expected or 0.0
        # What is held a little too long runs here all the same: it would only change places.
        too_much = intake.held * expected > _TOO_MUCH * prefetch.budget
        if changed or too_much:
            intake.stop_soon(return_held=too_much)
