"""Running one job in this process: what a message must be, and what becomes of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from celery import signals, states
from celery.app.task import Context
from celery.app.trace import build_tracer
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded

from laneway.worker import gate
from laneway.worker.direct.message import request_of
from laneway.worker.direct.properties import decode
from laneway.worker.gate import HandBack, Quarantine, Run
from laneway.worker.letters import Failure, failure_of
from laneway.worker.request import effective_limits

if TYPE_CHECKING:
    from collections.abc import Container

    from laneway.app import Laneway
    from laneway.broker.deliveries import Delivery
    from laneway.deadletter.letter import Outcome
    from laneway.worker.direct.task_events import TaskEvents

log = logging.getLogger(__name__)

#: What the broker is told of a delivery.
Verdict = Literal["ack", "dead-letter", "requeue"]


class Ran(NamedTuple):
    """What became of a job that ran."""

    verdict: Verdict
    #: What Celery's tracer said.
    traced: Any
    #: How it ended, if it ended without success.
    failure: Failure | None


@dataclass(slots=True)
class Job:
    """A message that is a valid job, ready to run."""

    id: str
    #: The name under which the task is registered.
    task_name: str
    task: Any
    args: list[Any]
    kwargs: dict[str, Any]
    #: What Celery's tracer and ``task.request`` want to know.
    request: dict[str, Any]
    #: Seconds; 0 is none.
    hard_limit: float
    soft_limit: float

    @property
    def priority(self) -> int | None:
        """What its message says."""
        priority: int | None = self.request["delivery_info"]["priority"]
        return priority


class Runner:
    """Makes jobs of deliveries and runs them with Celery's tracer.

    Args:
        app: the application; in a process that runs jobs.
        queue: the queue served.
        hostname: the worker's node name.
        revoked: the ids of jobs that are not to begin.
    """

    def __init__(
        self, app: Laneway, queue: str, hostname: str, revoked: Container[str] = ()
    ) -> None:
        self._app = app
        self._hostname = hostname
        self._revoked = revoked
        self._tasks = app.tasks
        self._defaults: dict[str, tuple[float, float]] = {}
        self._most = gate.limits_of(app, queue)

    def read(self, delivery: Delivery) -> Job | HandBack | Quarantine:
        """Let a message through the gate: a job, or what else is to become of it."""
        try:
            properties = decode(delivery.raw_properties)
        except Exception as error:  # noqa: BLE001 (the decoder raises whatever wrong bytes make it)
            log.debug("properties that cannot be decoded: %r", error)
            verdict = gate.examine(None, None, delivery.body, tasks=self._tasks)
            assert isinstance(verdict, Quarantine)
            return verdict
        headers: Any = properties.pop("application_headers", None)
        verdict = gate.examine(
            properties, headers, delivery.body, tasks=self._tasks, limits=self._most
        )
        if not isinstance(verdict, Run):
            return verdict
        args, kwargs, embed, _ = verdict
        name, task_id = headers["task"], headers["id"]
        request = headers
        request["properties"] = properties
        request["reply_to"] = properties.get("reply_to")
        request["correlation_id"] = properties.get("correlation_id")
        request["hostname"] = self._hostname
        request["delivery_info"] = {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": properties.get("priority"),
            "redelivered": delivery.redelivered,
        }
        request["args"] = args
        request["kwargs"] = kwargs
        request["is_eager"] = False
        request.update(embed)
        task = self._tasks[name]
        hard, soft = self._limits(name, task, headers.get("timelimit"))
        return Job(task_id, name, task, args, kwargs, request, hard, soft)

    def _limits(self, name: str, task: Any, given: Any) -> tuple[float, float]:
        """Hard and soft limit: the call's, else the task's, else the queue file's; 0 is none."""
        if not given or given == [None, None]:
            found = self._defaults.get(name)
            if found is None:
                hard, soft = effective_limits(self._app, task, (None, None))
                found = self._defaults[name] = (hard or 0.0, soft or 0.0)
            return found
        hard, soft = effective_limits(self._app, task, (given[0], given[1]))
        return hard or 0.0, soft or 0.0

    def refused_before_run(
        self, job: Job, eventer: TaskEvents | None = None
    ) -> Literal["expired", "revoked"] | None:
        """Whether the job was revoked or has expired; told and stored like Celery does it."""
        expires = job.request.get("expires")
        expired = bool(expires) and _is_past(expires)
        if not expired and job.id not in self._revoked:
            return None
        context = Context(job.request)
        if eventer is not None:
            self.request_of(job, eventer).send_event(
                "task-revoked", terminated=False, signum=None, expired=expired
            )
        try:
            job.task.backend.mark_as_revoked(
                job.id,
                "expired" if expired else "revoked",
                request=context,
                store_result=not context.ignore_result and not job.task.ignore_result,
            )
        except Exception as error:  # noqa: BLE001 (it does not run, wherever the results are)
            log.warning("the end of %s was not stored: %s", job.id, type(error).__name__)
        signals.task_revoked.send(
            job.task, request=context, terminated=False, signum=None, expired=expired
        )
        return "expired" if expired else "revoked"

    def request_of(self, job: Job, eventer: TaskEvents | None) -> Any:
        """Celery's request of the job, for those who listen to its signals and events."""
        return request_of(
            self._app, self._hostname, job.id, job.task_name, job.request, eventer=eventer
        )

    def run(self, job: Job) -> Ran:
        """Run the job to its end.

        Raises:
            SoftTimeLimitExceeded: it came when the task's own code had ended.
            BaseException: what must end the process (``SystemExit`` and its like, and a
                ``MemoryError`` outside the task's code).
        """
        task = job.task
        # Celery built it for every task that was known when the process was set up.
        if task.__trace__ is None:
            task.__trace__ = build_tracer(
                job.task_name, task, self._app.loader, self._hostname, app=self._app
            )
        try:
            traced = task.__trace__(job.id, job.args, job.kwargs, job.request)
        except Reject as error:
            if error.requeue:
                return Ran("requeue", None, None)
            return Ran("dead-letter", None, self._failure_of("rejected", error, job))
        except (MemoryError, SoftTimeLimitExceeded):
            raise
        except Exception as error:  # noqa: BLE001 (one job's bad end must not end the process)
            return self._ended_around(job, error)
        info = traced[1]
        # Done, or retried (the next run was published), or ignored.
        if info is None or info.state not in {states.FAILURE, states.REJECTED}:
            return Ran("ack", traced, None)
        if info.state == states.FAILURE:
            failure = self._failure_of("failed", info.retval, job, traced[0])
            return Ran("dead-letter", traced, failure)
        if info.retval.requeue:
            return Ran("requeue", traced, None)
        # Celery's tracer leaves storing and telling it to the parent of its pool.
        self.request_of(job, None).on_failure(traced[0], return_ok=True)
        failure = self._failure_of("rejected", info.retval, job, traced[0])
        return Ran("dead-letter", traced, failure)

    def _ended_around(self, job: Job, error: Exception) -> Ran:
        """What becomes of a job whose tracer raised: what the task raises, the tracer keeps.

        It is a result backend that is away (that for Redis does not raise then), or something like
        it, mostly when the code has run: so it does not run again, and the letter says why.
        """
        log.error("the end of %s was not stored: %s", job.id, type(error).__name__)
        if _was_retried(error):
            return Ran("ack", None, None)
        failure = self._failure_of("failed", error, job)
        context = Context(job.request)
        # As the parent of Celery's pools tells it, whose tracer did not come to that.
        job.task.request_stack.push(context)
        try:
            signals.task_failure.send(
                sender=job.task,
                task_id=job.id,
                exception=error,
                args=job.args,
                kwargs=job.kwargs,
                traceback=error.__traceback__,
                einfo=None,
            )
        finally:
            job.task.request_stack.pop()
        return Ran("dead-letter", None, failure)

    def _failure_of(
        self, outcome: Outcome, error: BaseException, job: Job, einfo: Any = None
    ) -> Failure:
        return failure_of(
            outcome,
            error,
            task=job.task,
            # The error itself may have lost it (Celery clears what it keeps).
            where=error.__traceback__ or getattr(einfo, "tb", None),
            text=getattr(einfo, "traceback", None),
        )


def _was_retried(error: BaseException) -> bool:
    """Whether the error came while it was stored that the next run has been published."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, Retry):
        seen = seen.__context__
    return seen is not None


def _is_past(expires: Any) -> bool:
    when = datetime.fromisoformat(expires)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)) < datetime.now(UTC)
