"""Running one job in this process: what a message must be, and what becomes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from celery import signals, states
from celery.app.task import Context
from celery.app.trace import build_tracer
from celery.exceptions import InvalidTaskError, Reject
from celery.worker import state as worker_state
from kombu.compression import decompress
from kombu.utils import json as kombu_json

from laneway.worker.direct.message import request_of
from laneway.worker.request import effective_limits

if TYPE_CHECKING:
    from laneway.app import Laneway
    from laneway.worker.direct.frames import Delivery
    from laneway.worker.direct.task_events import TaskEvents

#: What the broker is told of a delivery.
Verdict = Literal["ack", "dead-letter", "requeue"]

#: What kombu writes into JSON where a value is no plain one (a date, a UUID, a decimal …).
_TYPED: Final = b'"__type__"'


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


class Runner:
    """Makes jobs of deliveries and runs them with Celery's tracer.

    Args:
        app: the application; in a process that runs jobs.
        hostname: the worker's node name.
    """

    def __init__(self, app: Laneway, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._tasks = app.tasks
        self._defaults: dict[str, tuple[float, float]] = {}

    def read(self, delivery: Delivery) -> Job:
        """The gate before any task code: a job, or the reason why the message is none.

        Raises:
            LookupError: this worker has no such task.
            Exception: anything else that is wrong with the message.
        """
        properties = delivery.properties()
        headers = properties.pop("application_headers", None)
        name = headers.get("task") if isinstance(headers, dict) else None
        if not isinstance(name, str):
            raise InvalidTaskError("not a task message: it has no 'task' header")
        task = self._tasks.get(name)
        if task is None:
            raise LookupError(f"this worker has no task {name!r}")
        task_id = headers.get("id")
        if not isinstance(task_id, str):
            raise InvalidTaskError(f"expected the header 'id' to be text, got: {task_id!r}")
        args, kwargs, embed = _decode(properties, headers, delivery.body)
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
        if embed:
            request.update(embed)
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

    def refused_before_run(self, job: Job, eventer: TaskEvents | None = None) -> bool:
        """Whether the job was revoked or has expired; told and stored like Celery does it."""
        expires = job.request.get("expires")
        revoked = worker_state.revoked
        expired = bool(expires) and _is_past(expires)
        if not expired and (not len(revoked) or job.id not in revoked):
            return False
        context = Context(job.request)
        if eventer is not None:
            self.request_of(job, eventer).send_event(
                "task-revoked", terminated=False, signum=None, expired=expired
            )
        job.task.backend.mark_as_revoked(
            job.id,
            "expired" if expired else "revoked",
            request=context,
            store_result=not context.ignore_result and not job.task.ignore_result,
        )
        signals.task_revoked.send(
            job.task, request=context, terminated=False, signum=None, expired=expired
        )
        return True

    def request_of(self, job: Job, eventer: TaskEvents | None) -> Any:
        """Celery's request of the job, for those who listen to its signals and events."""
        return request_of(
            self._app, self._hostname, job.id, job.task_name, job.request, eventer=eventer
        )

    def run(self, job: Job) -> tuple[Verdict, Any]:
        """Run the job to its end; what the broker is to be told, and what Celery's tracer said.

        Raises:
            BaseException: what must end the process (``SystemExit`` and its like).
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
            return ("requeue" if error.requeue else "dead-letter"), None
        verdict = _verdict(traced[1])
        if verdict == "dead-letter" and traced[1].state == states.REJECTED:
            # Celery's tracer leaves storing and telling it to the parent of its pool.
            self.request_of(job, None).on_failure(traced[0], return_ok=True)
        return verdict, traced


def _verdict(info: Any) -> Verdict:
    if info is None:
        return "ack"
    match info.state:
        case states.FAILURE:
            return "dead-letter"
        case states.REJECTED:
            return "requeue" if info.retval.requeue else "dead-letter"
        case _:
            # Retried (the next run was published) or ignored.
            return "ack"


def _is_past(expires: Any) -> bool:
    try:
        when = datetime.fromisoformat(expires)
    except (TypeError, ValueError) as error:
        raise InvalidTaskError(f"invalid expires value {expires!r}: {error}") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)) < datetime.now(UTC)


def _decode(
    properties: dict[str, Any], headers: dict[str, Any], body: bytes
) -> tuple[list[Any], dict[str, Any], dict[str, Any] | None]:
    content_type = properties.get("content_type")
    if content_type != "application/json":
        raise ValueError(f"expected content type 'application/json', got: {content_type!r}")
    if compression := headers.get("compression"):
        body = decompress(body, compression)
    # kombu's decoder builds an object for each message to bring back what is no plain value.
    loads = kombu_json.loads if _TYPED in body else json.loads
    decoded = loads(body.decode(properties.get("content_encoding") or "utf-8"))
    if not isinstance(decoded, list) or len(decoded) != 3:
        raise InvalidTaskError("expected a body of [args, kwargs, embed]")
    args, kwargs, embed = decoded
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise InvalidTaskError("expected args as a list and kwargs as a mapping")
    if embed is not None and not isinstance(embed, dict):
        raise InvalidTaskError("expected embed as a mapping")
    return args, kwargs, embed
