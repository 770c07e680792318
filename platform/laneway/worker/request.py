"""What the worker's parent knows of a running job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.exceptions import Reject
from celery.worker.request import Request
from celery.worker.state import task_ready

from laneway.worker.letters import Failure, failure_of

if TYPE_CHECKING:
    from laneway.deadletter.letter import Outcome

#: Hard and soft time limit in seconds; None is none.
Limits = tuple[float | None, float | None]

#: What stands for a text that would show what a secure job works on.
HIDDEN: Final = "(secure)"
#: The fields of events that do.
_TELLING: Final = frozenset({"args", "kwargs", "result", "exception", "traceback"})


def effective_limits(app: Any, task: Any, called: Limits) -> Limits:
    """The call's limits, else the task's, else those of the queue's file.

    A soft limit that is not below the hard one is dropped: the prefork pool starts the clock of the
    hard limit when the soft one has passed, so the job would outlive its hard limit.
    """
    queue = app.policy.queues.get(app.serving)
    shape = queue.worker if queue else None
    hard = called[0] or task.time_limit or (shape.time_limit if shape else None)
    soft = called[1] or task.soft_time_limit or (shape.soft_time_limit if shape else None)
    return hard, (None if hard and soft and soft >= hard else soft)


class JobRequest(Request):
    """Celery's request with the queue's time limits, and with nothing settled into nothing.

    A job that ended for good is buried: its dead letter is posted, then it is acknowledged. Where
    the message knows no way to do that (the direct pool does it itself) it is rejected without
    requeue, so that the broker moves it to ``dead.inbox``. That goes for a hard time limit too,
    where Celery acknowledges the job (it is gone) or puts it back (it times out for ever); what
    Celery does afterwards changes nothing, as a request is settled once.
    """

    _limits: Limits = (None, None)
    _failure: Failure | None = None
    _has_expired = False
    acknowledged: bool = False

    @property
    def time_limits(self) -> Limits:
        """The call's limits, else the task's, else those of the queue's file."""
        return effective_limits(self._app, self._task, self._limits)

    @time_limits.setter
    def time_limits(self, limits: Any) -> None:
        # Celery sets it from the message's header before the request knows its task.
        hard, soft = limits
        self._limits = (hard, soft)

    @property
    def argsrepr(self) -> Any:
        """The text of the arguments for logs, ``inspect`` and events; never a secure job's."""
        return HIDDEN if self._is_secure else super().argsrepr

    @property
    def kwargsrepr(self) -> Any:
        """The same of the keyword arguments."""
        return HIDDEN if self._is_secure else super().kwargsrepr

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``inspect`` shows of the job."""
        shown: dict[str, Any] = super().info(safe=safe)
        return shown | ({"args": HIDDEN, "kwargs": HIDDEN} if self._is_secure else {})

    @property
    def _is_secure(self) -> bool:
        queue = self._app.policy.queues.get(self._app.serving)
        # Unknown is not open.
        return queue is None or queue.secure

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 (Celery's name for it)
        """Send a task event; of a secure job without what its code returned or raised."""
        if self._is_secure:
            fields |= dict.fromkeys(_TELLING & fields.keys(), HIDDEN)
        super().send_event(type, **fields)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """The pool's report of a time limit of ``timeout`` seconds."""
        if not soft and self.task.acks_late:
            self._failure = self._failure_of(TimeLimitExceeded(timeout))
            self.reject(requeue=False)
        super().on_timeout(soft, timeout)

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> Any:
        """The pool's report of a failure; a timeout can come this way as well."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        self._failure = self._failure_of(error, exc_info)
        if isinstance(error, MemoryError):
            # Celery would end the whole worker. Celery's tracer has stored and told the failure.
            task_ready(self)
            self.reject(requeue=False)
            return None
        if isinstance(error, TimeLimitExceeded) and self.task.acks_late:
            self.reject(requeue=False)
        elif isinstance(error, WorkerLostError) and not self.task.retry_on_worker_lost:
            self.tell_lost()
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def maybe_expire(self) -> bool:
        """Celery's question whether it is too late; the job's id is not remembered as revoked.

        Its dead letter can be replayed under the same id, which this worker must then run.
        """
        when = self.expires
        self._has_expired = bool(when) and datetime.now(UTC if when.tzinfo else None) > when
        return self._has_expired

    def acknowledge(self) -> None:
        """The job needs nothing more; if it expired, it becomes a dead letter."""
        if not (self._has_expired and self._bury(Failure(outcome="expired"))):
            super().acknowledge()

    def reject(self, requeue: bool = False) -> None:
        """The job ended without success, or is to run again; an end is a dead letter."""
        if requeue or not self._bury(self._failure or Failure(outcome="refused")):
            super().reject(requeue)

    def _bury(self, failure: Failure) -> bool:
        bury = getattr(self.message, "bury", None)
        if bury is None:
            return False
        if not self.acknowledged:
            self.acknowledged = True
            bury(failure)
            self.send_event("task-rejected", requeue=False)
        return True

    def _failure_of(self, error: BaseException, exc_info: Any = None) -> Failure:
        match error:
            case TimeLimitExceeded():
                outcome: Outcome = "time-limit"
            case WorkerLostError():
                outcome = "lost"
            case Reject():
                outcome = "rejected"
            case _:
                outcome = "failed"
        return failure_of(
            outcome,
            error,
            task=self.task,
            where=getattr(exc_info, "tb", None),
            text=getattr(exc_info, "traceback", None),
        )

    def tell_lost(self) -> None:
        """Tell that the job's process died: the broker counts that, and nobody else would tell."""
        self._app.facts.tell(
            "retried",
            queue=self._app.serving,
            task=self.task_name,
            task_id=self.id,
            priority=self.delivery_info.get("priority"),
            worker=self.hostname,
            error_type="WorkerLostError",
            reason="the process that ran it died; the broker delivers it again",
        )
