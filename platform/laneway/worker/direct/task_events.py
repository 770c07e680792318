"""The events of jobs that Flower and ``celery events`` show, told by the process that runs them.

They go over a connection of their own, opened when the first is to be told: a broker that is short
of memory stops to read from who publishes, and acknowledgements must never wait for that. A thread
sends them, so that no job waits either; what the broker does not take in time is dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from billiard.einfo import ExceptionWithTraceback
from celery import states
from celery.utils.serialization import get_pickled_exception
from kombu.utils.encoding import safe_repr, safe_str

if TYPE_CHECKING:
    from laneway.app import Laneway

log = logging.getLogger(__name__)

#: Events that wait to be sent at most; beyond it new ones are dropped.
LIMIT: Final = 10_000
#: Seconds that an event waits for others.
_GATHER: Final = 0.05
#: Events in one message at most.
_BATCH: Final = 100
_PAUSE: Final = 1.0


class TaskEvents:
    """What Celery's requests take for an event dispatcher; to be made in the process itself.

    Args:
        app: the application.
        hostname: the worker's node name.
        worker_pid: the worker's process; Celery's events name the parent.
    """

    #: Who holds one has something to tell.
    enabled: Final = True

    def __init__(self, app: Laneway, hostname: str, worker_pid: int) -> None:
        self._app = app
        self._hostname = hostname
        self._worker_pid = worker_pid
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._some = threading.Event()
        self._closing = threading.Event()
        self._dropping = False
        self._thread = threading.Thread(target=self._run, name="task-events", daemon=True)
        self._thread.start()

    def send(self, type: str, **fields: Any) -> None:  # noqa: A002 (Celery's name for it)
        """Tell soon that something happens now; never waits for the broker."""
        if len(self._waiting) >= LIMIT:
            if not self._dropping:
                log.warning("the broker does not take task events: new ones are dropped")
            self._dropping = True
            return
        self._waiting.append((type, {"timestamp": time.time(), **fields}))
        self._some.set()

    def close(self, timeout: float) -> None:
        """Send what waits, for at most ``timeout`` seconds."""
        self._closing.set()
        self._some.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._some.wait()
            try:
                self._send_all()
            except Exception as error:  # noqa: BLE001 (whatever is wrong, jobs go on)
                log.debug("task events: %r", error)
                self._some.set()
                self._closing.wait(_PAUSE)

    def _send_all(self) -> None:
        # Nothing is sent for long times: the broker is not to expect a heartbeat.
        with self._app.connection_for_write(heartbeat=0) as connection:
            while self._waiting or not self._closing.is_set():
                self._some.wait()
                self._some.clear()
                self._closing.wait(_GATHER)
                while self._waiting:
                    self._send_batch(connection)
                self._dropping = False

    def _send_batch(self, connection: Any) -> None:
        batch = [self._waiting[at] for at in range(min(_BATCH, len(self._waiting)))]
        # Made anew: one that failed still holds what it could not send.
        dispatcher = self._app.events.Dispatcher(
            connection,
            hostname=self._hostname,
            buffer_group=["task"],
            buffer_limit=_BATCH + 1,
            buffer_while_offline=False,
        )
        dispatcher.pid = self._worker_pid
        for kind, fields in batch:
            dispatcher.send(kind, **fields)
        dispatcher.flush()
        dispatcher.close()
        for _ in batch:
            self._waiting.popleft()


def tell_received(request: Any) -> None:
    """The job was taken. As Celery's strategy tells it, the fields and their kinds too."""
    request.send_event(
        "task-received",
        name=request.name,
        args=request.argsrepr,
        kwargs=request.kwargsrepr,
        root_id=request.root_id,
        parent_id=request.parent_id,
        retries=request.request_dict.get("retries", 0),
        eta=request.eta and request.eta.isoformat(),
        expires=request.expires and request.expires.isoformat(),
    )


def tell_ended(request: Any, traced: Any) -> None:
    """What became of the job. As Celery's request tells it when the pool reports the end.

    Args:
        request: the job's.
        traced: what Celery's tracer returned: value, information, runtime, text of the value.
    """
    value, info, runtime, text = traced
    if info is None:
        request.send_event("task-succeeded", result=text, runtime=runtime)
        return
    match info.state:
        case states.FAILURE:
            request.send_event("task-rejected", requeue=False)
            _tell_failed(request, value)
        case states.RETRY:
            request.send_event(
                "task-retried",
                exception=safe_repr(_raised(value).exc),
                traceback=safe_str(value.traceback),
            )
        case states.REJECTED:
            if not info.retval.requeue:
                _tell_failed(request, value)
            request.send_event("task-rejected", requeue=info.retval.requeue)


def _tell_failed(request: Any, einfo: Any) -> None:
    request.send_event(
        "task-failed",
        exception=safe_repr(get_pickled_exception(_raised(einfo))),
        traceback=einfo.traceback,
    )


def _raised(einfo: Any) -> Any:
    """What the task raised, as it is once it has been pickled: without billiard's envelope."""
    error = einfo.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error
