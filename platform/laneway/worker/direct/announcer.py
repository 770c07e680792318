"""Who listens to Celery's signals and task events hears of this process's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import signals

from laneway.worker.direct.task_events import TaskEvents, tell_ended, tell_received
from laneway.worker.telling import RECEIVED

if TYPE_CHECKING:
    from laneway.app import Laneway
    from laneway.worker.direct.runner import Job, Ran, Runner
    from laneway.worker.direct.slots import Slot

#: Seconds that a process that leaves waits for the broker to take its last task events.
_LAST_EVENTS: Final = 2.0


class Announcer:
    """Tells of a job what Celery's worker tells; while nobody listens it costs two looks.

    Args:
        app: the application.
        hostname: the worker's node name.
        slot: the process's record, which says whether task events are wanted.
        runner: makes Celery's request of a job.
        worker_pid: the process that Celery's events name.
    """

    def __init__(
        self, app: Laneway, hostname: str, slot: Slot, runner: Runner, worker_pid: int
    ) -> None:
        self._app = app
        self._hostname = hostname
        self._slot = slot
        self._runner = runner
        self._worker_pid = worker_pid
        self._events: TaskEvents | None = None

    def open(self) -> None:
        """To be called in the process itself, before its first job."""
        # The platform's own receiver wants a request of Celery's; it is told otherwise here.
        signals.task_received.disconnect(dispatch_uid=RECEIVED)

    @property
    def eventer(self) -> TaskEvents | None:
        """What sends task events; None while nobody wants them."""
        if not self._slot.events:
            return None
        if self._events is None:
            self._events = TaskEvents(self._app, self._hostname, self._worker_pid)
        return self._events

    def begins(self, job: Job) -> Any:
        """The job begins; its request if its end is to be told too, None if nobody wants that."""
        if not (self._slot.events or signals.task_received.receivers):
            return None
        eventer = self.eventer
        request = self._runner.request_of(job, eventer)
        signals.task_received.send(sender=self, request=request)
        if eventer is None:
            return None
        tell_received(request)
        request.send_event("task-started")
        return request

    def ended(self, request: Any, ran: Ran) -> None:
        """The job has ended whose beginning was told with this request."""
        if request is not None and ran.traced is not None:
            tell_ended(request, ran.traced)

    def close(self) -> None:
        """Let the last events go out."""
        if self._events is not None:
            self._events.close(_LAST_EVENTS)
