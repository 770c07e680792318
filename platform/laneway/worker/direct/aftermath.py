"""What becomes of a job whose process is gone: stored, told, and settled with the broker.

In a thread of its own, one job after the other: it needs the result backend and the broker, and a
slow answer must never delay the next limit.
"""

from __future__ import annotations

import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from signal import Signals
from typing import TYPE_CHECKING, Any, Final

from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded, WorkerLostError

from laneway.deadletter.cause import error_type_of
from laneway.worker.direct.message import request_of
from laneway.worker.letters import Failure, LetterWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.app import Laneway
    from laneway.worker.direct.ended import Ended
    from laneway.worker.direct.estate import Estate
    from laneway.worker.direct.runner import Verdict

log = logging.getLogger(__name__)

#: Seconds that the note of a time limit may take: the next job that is ended waits meanwhile.
_NOTE: Final = 5.0


class Aftermath:
    """Settles what processes left; the parent's, made before anything forks.

    Args:
        app: the application.
        queue: the queue served.
        hostname: the worker's node name.
    """

    def __init__(self, app: Laneway, queue: str, hostname: str) -> None:
        self._app = app
        self._queue = queue
        self._hostname = hostname
        #: What sends the parent's own task events; None sends none.
        self.eventer: Any = None
        # (The thread comes with the first job that is ended: nothing forks from here then.)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aftermath")

    def conclude(self, ended: Ended, left: Estate) -> None:
        """Soon: store and tell what became of the job, then settle it as Celery would."""
        self._soon(self._conclude, ended, left)

    def settle(self, left: Estate) -> None:
        """Soon: settle what a process left that ran no job."""
        self._soon(left.settle, None)

    def give_back(self, left: Estate) -> None:
        """Soon: let others have what a process left that an operator ended."""
        self._soon(left.give_back)

    def close(self) -> None:
        """Wait until all is settled."""
        self._thread.shutdown(wait=True)

    def _soon(self, what: Callable[..., object], *args: object) -> None:
        # (After the end there is nobody left who could: the broker gives it all back.)
        with contextlib.suppress(RuntimeError):
            self._thread.submit(what, *args)

    def _conclude(self, ended: Ended, left: Estate) -> None:
        verdict: Verdict | None = None
        try:
            verdict = self._verdict(ended, broker_gives_it_again=left.is_the_brokers)
        except Exception:
            log.exception("the end of %s[%s] could not be stored", ended.task, ended.task_id)
        if left.settle(verdict) and verdict == "dead-letter":
            self._note_limit(ended)

    def _verdict(self, ended: Ended, *, broker_gives_it_again: bool) -> Verdict | None:
        """Let Celery's own request store and tell the end; what it says to the broker."""
        verdicts: list[Verdict] = []
        known = dict(ended.request or {})
        # The limits were kept already.
        known.pop("timelimit", None)
        request = request_of(
            self._app,
            self._hostname,
            ended.task_id,
            ended.task,
            known,
            eventer=self.eventer,
            on_ack=lambda *_: verdicts.append("ack"),
            on_reject=lambda _log, _errors, requeue: verdicts.append(
                "requeue" if requeue else "dead-letter"
            ),
        )
        request.worker_pid, request.time_start = ended.pid, time.time() - ended.ran
        match ended.why:
            case "limit":
                request.on_timeout(soft=False, timeout=round(ended.limit, 3))
            case "revoked":
                request.terminate(self)
            case "lost" if broker_gives_it_again or ended.request is None:
                # Without the message nothing can be published again: the broker has it.
                request.tell_lost()
                request.send_event("task-rejected", requeue=True)
                return "requeue"
            case "lost":
                request.on_failure(_lost(ended))
        return verdicts[0] if verdicts else None

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """What Celery's request asks of a pool; the process has been ended already."""

    def _note_limit(self, ended: Ended) -> None:
        """What the broker cannot know of the dead letter that it has just made.

        The keeper writes that letter, with the message; this note has the same id.
        """
        known = dict(ended.request or {})
        known |= {"id": ended.task_id, "task": ended.task}
        failure = Failure(
            outcome="time-limit",
            error_type=error_type_of(TimeLimitExceeded()),
            message=f"the hard time limit of {ended.limit:g} s",
        )
        info = known.get("delivery_info") or {}
        LetterWriter(self._app, self._queue, self._hostname).bury(
            known,
            failure,
            None,
            priority=info.get("priority"),
            redelivered=bool(info.get("redelivered")),
            seconds=_NOTE,
        )


def _lost(ended: Ended) -> ExceptionInfo:
    how = (
        f"signal {Signals(-ended.status).name}"
        if ended.status < 0
        else f"exit status {ended.status}"
    )
    try:
        raise WorkerLostError(f"the process {ended.pid} ended with {how}")
    except WorkerLostError:
        return ExceptionInfo()
