"""Obeying a paused queue; the reports of load go over the same connection."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from celery import bootsteps
from celery.utils.log import get_logger
from celery.worker.consumer.tasks import Tasks

from laneway.pause import PauseLook
from laneway.worker.load import LoadReports

if TYPE_CHECKING:
    from laneway.worker.consumer import JobConsumer

log = get_logger(__name__)

#: Seconds between two looks at whether the queue is paused.
PAUSE_POLL: Final = 1.0
#: Seconds that the last report of a worker may take.
_FAREWELL: Final = 1.0


class PauseWatch(bootsteps.StartStopStep):
    """Stops and starts consuming as ``laneway queues pause`` and ``resume`` say.

    It looks on a connection of its own in a thread, so that a slow answer never holds up jobs, and
    a job that holds up the loop (in the solo pool) no report.
    """

    requires = (Tasks,)

    def __init__(self, c: JobConsumer, **kwargs: Any) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._reports = LoadReports(c)
        super().__init__(c, **kwargs)

    def start(self, c: JobConsumer) -> None:
        """Begin to watch; a direct pool takes its first jobs now."""
        if not c.paused and not c.taking_jobs:
            c.take_jobs()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, args=(c, self._stop), name="pause-watch", daemon=True
        )
        self._thread.start()

    def stop(self, c: JobConsumer) -> None:
        """Stop watching, and let the scaler know; what takes longer is left behind."""
        del c
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_FAREWELL)

    def _watch(self, c: JobConsumer, stop: threading.Event) -> None:
        queue = c.controller.queue
        while not stop.is_set():
            try:
                with self._reports.connect() as connection:
                    look = PauseLook(connection, queue)
                    self._reports.begin(connection)
                    self._reports.look()
                    while not stop.wait(PAUSE_POLL):
                        self._obey(c, queue, paused=bool(look()))
                        self._reports.look()
                    self._reports.end()
            except Exception as error:  # noqa: BLE001 (a broker away is the consumer's business)
                log.debug("pause watch: %r", error)
                stop.wait(PAUSE_POLL)

    def _obey(self, c: JobConsumer, queue: str, *, paused: bool) -> None:
        if paused and c.taking_jobs:
            c.take_no_jobs()
            c.app.facts.tell("paused", queue=queue, worker=c.hostname)
        elif not paused and not c.taking_jobs:
            c.take_jobs()
            c.app.facts.tell("resumed", queue=queue, worker=c.hostname)
