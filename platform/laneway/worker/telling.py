"""From Celery's signals to facts.

With the prefork pool the parent tells what it sees (received, time limits, lost processes) and each
child what its jobs do; both inherit the listeners that were added before the pool forked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from celery import signals
from celery.exceptions import Ignore, Reject

from laneway.app import READY_AT_HEADER
from laneway.calls.scheduled import ENTRY_HEADER
from laneway.deadletter.letter import REPLAYS_HEADER
from laneway.once.guard import AlreadyDone, PutOff
from laneway.types import short_text
from laneway.worker.letters import note_success, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.app import Laneway
    from laneway.worker.gate import HandBack, Quarantine

_STOPPED: Final = "stopped with the connection that brought it; the broker delivers it again"
#: Characters of an error's text that a fact carries: a log line stays one write to a pipe.
_REASON_LENGTH: Final = 500
_UID: Final = "laneway.telling"
#: By what the receiver of ``task_received`` is known.
RECEIVED: Final = f"{_UID}.received"


def connect(app: Laneway, queue: str, worker: str) -> Teller:
    """Tell the facts of the jobs that this process group runs, from now on.

    Calling it again (a second worker in one process, in tests) replaces what was connected.
    """
    teller = Teller(app, queue, worker)
    receivers: dict[Any, Callable[..., None]] = {
        signals.task_received: teller.received,
        signals.task_prerun: teller.started,
        signals.task_success: teller.succeeded,
        signals.task_failure: teller.failed,
        signals.task_retry: teller.retried,
        signals.task_revoked: teller.revoked,
        signals.task_postrun: teller.ended,
        signals.worker_ready: teller.ready,
        signals.worker_shutdown: teller.stopped,
    }
    for signal, receiver in receivers.items():
        uid = f"{_UID}.{receiver.__name__}"
        signal.disconnect(dispatch_uid=uid)
        signal.connect(receiver, weak=False, dispatch_uid=uid)
    return teller


def tell_quarantined(
    app: Laneway, worker: str, *, queue: str, headers: object, why: Quarantine
) -> None:
    """Tell of a message that no task could be made of; its headers can be anything."""
    named = headers if isinstance(headers, dict) else {}
    task, task_id = named.get("task"), named.get("id")
    app.facts.tell(
        "quarantined",
        queue=queue,
        task=task if isinstance(task, str) else None,
        task_id=task_id if isinstance(task_id, str) else None,
        worker=worker,
        error_type=why.kind,
        # It can repeat what the message says.
        reason=None if app.policy.queue(queue).secure else why.reason[:_REASON_LENGTH],
    )


def tell_handed_back(
    app: Laneway, worker: str, *, queue: str, headers: dict[str, Any], why: HandBack
) -> None:
    """Tell of a job that comes again later, because this worker does not know its task."""
    app.facts.tell(
        "retried",
        queue=queue,
        task=headers["task"],
        task_id=headers["id"],
        worker=worker,
        error_type="UnknownTask",
        reason=f"{why.reason}; handed back for {why.seconds} s",
    )


class Teller:
    """Hears Celery's signals of one worker and tells facts."""

    def __init__(self, app: Laneway, queue: str, worker: str) -> None:
        self.app = app
        self.queue = queue
        self.worker = worker
        self.secure = app.policy.queue(queue).secure
        #: Called with a job's task and request before its code begins, in its thread; a receiver of
        #: its own would cost more.
        self.at_start: Callable[[Any, Any], None] | None = None
        self._began: dict[str, float] = {}
        self._failed: set[tuple[str, int]] = set()

    def received(self, request: Any, **_: Any) -> None:
        """Celery's ``task_received``."""
        self._tell("received", request, request.task_name)

    def started(self, task_id: str, task: Any, **_: Any) -> None:
        """Celery's ``task_prerun``."""
        self._began[task_id] = time.perf_counter()
        # Once: each look for a task's request goes through a thread's storage.
        request = task.request
        # (A task that is called within another one is part of that.)
        if self.at_start is not None and not request.is_eager:
            self.at_start(task, request)
        ready_at = getattr(request, READY_AT_HEADER, None)
        wait = max(0.0, time.time() - ready_at) if isinstance(ready_at, int | float) else None
        self._tell("started", request, task.name, wait=wait)

    def succeeded(self, sender: Any, **_: Any) -> None:
        """Celery's ``task_success``."""
        request = sender.request
        self._tell("succeeded", request, sender.name, runtime=self._runtime(request))
        if getattr(request, REPLAYS_HEADER, None):
            note_success(self.app, self.queue, self.worker, request.id, vars(request))

    def failed(self, sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
        """Celery's ``task_failure``."""
        if isinstance(exception, Reject | Ignore):
            return
        request = sender.request
        known = request.id == task_id
        attempt = (task_id, (request.retries or 0) if known else 0)
        # Celery 5.7 reports one hard time limit twice, once from each of the pool's two hooks.
        if attempt in self._failed:
            return
        self._failed.add(attempt)
        if len(self._failed) > 10_000:
            self._failed.clear()
        self._tell(
            "failed",
            request if known else None,
            sender.name,
            task_id=task_id,
            runtime=self._runtime(request),
            error_type=type(exception).__name__,
            reason=text_of(exception),
        )

    def retried(self, sender: Any, request: Any, reason: Any = None, **_: Any) -> None:
        """Celery's ``task_retry``."""
        # Celery names no reason when it stops a job whose connection was lost.
        error = getattr(reason, "exc", None) or reason
        self._tell(
            "retried",
            request,
            sender.name,
            runtime=self._runtime(request),
            error_type=None if error is None else type(error).__name__,
            reason=_STOPPED if error is None else text_of(error),
        )

    def revoked(self, sender: Any, request: Any, expired: bool, **_: Any) -> None:
        """Celery's ``task_revoked``."""
        why = "expired" if expired else "revoked"
        self._tell("rejected", request, sender.name, reason=why, outcome=why)

    def ended(
        self, task_id: str, task: Any, state: str | None = None, retval: Any = None, **_: Any
    ) -> None:
        """Celery's ``task_postrun``."""
        self._began.pop(task_id, None)
        if isinstance(retval, PutOff):
            self._tell("retried", task.request, task.name, reason=str(retval))
        elif state in {"IGNORED", "REJECTED"}:
            reason = str(retval) if isinstance(retval, AlreadyDone) else state.lower()
            self._tell("rejected", task.request, task.name, reason=reason, outcome=state.lower())

    def began(self, task_id: str) -> float | None:
        """When a job that runs here began, of ``time.perf_counter``."""
        return self._began.get(task_id)

    def ready(self, **_: Any) -> None:
        """Celery's ``worker_ready``."""
        self.app.facts.tell("worker_ready", queue=self.queue, worker=self.worker)

    def stopped(self, **_: Any) -> None:
        """Celery's ``worker_shutdown``."""
        self.app.facts.tell("worker_stopped", queue=self.queue, worker=self.worker)

    def _runtime(self, request: Any) -> float | None:
        began = self._began.get(request.id)
        return time.perf_counter() - began if began is not None else None

    def _tell(self, kind: Any, request: Any, task: str, **fields: Any) -> None:
        if "reason" in fields:
            # What an error says can repeat the job's arguments.
            fields["reason"] = None if self.secure else fields["reason"][:_REASON_LENGTH]
        if request is not None:
            info = request.delivery_info or {}
            retries = getattr(request, "retries", None)
            if retries is None:
                retries = request.request_dict.get("retries")
            fields = {
                "task_id": request.id,
                "priority": info.get("priority"),
                "redelivered": bool(info.get("redelivered")),
                "attempt": (retries or 0) + 1,
                **fields,
            }
            if (entry := getattr(request, ENTRY_HEADER, None)) is not None:
                fields["schedule"] = short_text(entry)
        self.app.facts.tell(kind, queue=self.queue, task=task, worker=self.worker, **fields)
