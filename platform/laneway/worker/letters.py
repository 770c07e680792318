"""The dead letters that a worker writes: of every final failure that it sees.

The letter is confirmed before the job is settled, and then the job is acknowledged. A letter that
cannot be posted leaves the job to the broker, which moves it to ``dead.inbox`` as it is. Where a
DSN is set, each has its event in Sentry, sent by who saw the failure: :attr:`Failure.event`.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import amqp
from billiard.pool import MaybeEncodingError
from celery.exceptions import Reject
from celery.utils.log import get_logger

from laneway.calls import scheduled
from laneway.calls.prepared import FAILED_AT_HEADER, READY_AT_HEADER
from laneway.deadletter import audit, postbox
from laneway.deadletter.cause import cause_of, error_type_of, place_of
from laneway.deadletter.letter import Letter, Original, letter_id, replays_of
from laneway.errors import LanewayError
from laneway.sentry.config import RELEASE
from laneway.sentry.event import event_id_of
from laneway.sentry.trace import carried_trace_id
from laneway.types import HIGHEST_PRIORITY, short_text

if TYPE_CHECKING:
    from types import TracebackType

    from laneway.app import Laneway
    from laneway.deadletter.letter import Outcome
    from laneway.sentry.reporter import Reporter

log = get_logger(__name__)

#: Who sends the event of a failure: ``letter``, whoever writes its letter; ``process``, the process
#: that ran the job's code, which has the traceback; ``nobody``: the task says that it throws this.
EventBy = Literal["letter", "process", "nobody"]

#: Seconds that a note may take which nothing depends on.
_NOTE: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a job ended, as far as the worker saw it."""

    outcome: Outcome
    #: The class of the error, or a name for what the platform did.
    error_type: str | None = None
    #: The error's text.
    message: str | None = None
    #: Of :func:`laneway.deadletter.cause.place_of`.
    place: str | None = None
    traceback: str | None = None
    event: EventBy = "letter"


def failure_of(
    outcome: Outcome,
    error: BaseException,
    *,
    task: Any,
    where: TracebackType | None = None,
    text: str | None = None,
) -> Failure:
    """How a job ended that raised.

    Args:
        outcome: what that means.
        error: what it raised; of Celery's ``Reject`` its reason, if that is an error.
        task: the task.
        where: the error's traceback; the error's own if None.
        text: the traceback for people.
    """
    rejected = isinstance(error, Reject) and isinstance(error.reason, BaseException)
    shown: BaseException = error.reason if rejected else error  # type: ignore[attr-defined]
    return Failure(
        outcome=outcome,
        error_type=error_type_of(shown),
        message=text_of(shown),
        place=place_of(where or error.__traceback__, task.__module__),
        traceback=text,
        event=_event_by(outcome, error, task),
    )


def _event_by(outcome: Outcome, error: BaseException, task: Any) -> EventBy:
    if outcome != "failed" or isinstance(error, MaybeEncodingError):
        # (The pool could not hand over how the job ended: that comes after its end.)
        return "letter"
    return "nobody" if task.throws and isinstance(error, task.throws) else "process"


def original_of(message: Any) -> Original:
    """A message of kombu's as it was published."""
    info = message.delivery_info or {}
    body = getattr(message, "raw_body", message.body)
    raw = getattr(message, "raw_properties", None)
    if raw is None:
        # The C client keeps no bytes: the same values, written anew.
        given = {**message.properties, "application_headers": message.headers}
        given.pop("headers", None)
        raw = amqp.Message(**given)._serialize_properties()  # noqa: SLF001 (see test_celery_contract.py)
    return Original(
        exchange=info.get("exchange") or "",
        routing_key=info.get("routing_key") or "",
        properties=raw,
        body=body.encode() if isinstance(body, str) else bytes(body),
    )


class LetterWriter:
    """Writes and posts the letters of one worker, from any of its threads and processes.

    Args:
        app: the application.
        queue: the queue that the worker serves.
        worker: its node name.
    """

    def __init__(self, app: Laneway, queue: str, worker: str) -> None:
        self._app = app
        self._queue = queue
        self._worker = worker
        self._secure = app.policy.queue(queue).secure
        self._host = socket.gethostname()
        self._release = os.environ.get(RELEASE) or None
        self._reporter: Reporter | None = app.reporter

    def write(
        self,
        headers: object,
        failure: Failure,
        original: Original | None,
        *,
        priority: int | None = None,
        redelivered: bool = False,
    ) -> Letter:
        """The letter of a job, whatever its headers are.

        Args:
            headers: of its message.
            failure: how it ended.
            original: the message; None in a report beside the broker's own dead letter.
            priority: of its message.
            redelivered: whether the broker says that it delivered this message before.
        """
        known: dict[Any, Any] = headers if isinstance(headers, dict) else {}
        task, task_id = short_text(known.get("task")), short_text(known.get("id"))
        replays = replays_of(known)
        at = time.time()
        identity = letter_id(task_id or str(uuid.uuid4()), replays)
        has_event = self._reporter is not None and failure.event != "nobody"
        return Letter(
            id=identity,
            queue=self._queue,
            outcome=failure.outcome,
            cause=cause_of(task, failure.error_type, failure.place),
            at=at,
            by="worker",
            first_at=_moment(known.get(FAILED_AT_HEADER)) or at,
            ready_at=_moment(known.get(READY_AT_HEADER)),
            task=task,
            task_id=task_id,
            root_id=short_text(known.get("root_id")),
            schedule=scheduled.entry_of(known),
            priority=None if priority is None else min(priority, HIGHEST_PRIORITY),
            error_type=failure.error_type,
            message=None if self._secure else failure.message,
            place=failure.place,
            traceback=None if self._secure else failure.traceback,
            attempts=_attempts(known, failure),
            deliveries=_deliveries(known, redelivered=redelivered),
            replays=replays,
            worker=self._worker,
            host=self._host,
            version=self._release,
            event_id=event_id_of(identity) if has_event else None,
            trace_id=carried_trace_id(known),
            original=original,
        )

    def bury(
        self,
        headers: object,
        failure: Failure,
        original: Original | None,
        *,
        priority: int | None = None,
        redelivered: bool = False,
        seconds: float | None = None,
    ) -> bool:
        """Write the letter of a job, post it and see to its event; whether the broker has it.

        Args:
            headers: as of :meth:`write`, like all but ``seconds``.
            failure: how it ended.
            original: the message.
            priority: of its message.
            redelivered: whether the broker says that it delivered this message before.
            seconds: how long the posting may take; the publisher's deadline if None.
        """
        letter = self.write(headers, failure, original, priority=priority, redelivered=redelivered)
        posted = self.post(letter, seconds)
        if self._reporter is not None and failure.event == "letter":
            # Also of one that was not posted: the keeper knows less of it.
            self._reporter.report(letter)
        return posted

    def post(self, letter: Letter, seconds: float | None = None) -> bool:
        """Post a letter and tell of it; whether the broker has it.

        Args:
            letter: it.
            seconds: how long it may take; the publisher's deadline if None.
        """
        try:
            postbox.post(self._app, letter, seconds)
        except Exception as error:  # noqa: BLE001 (the broker keeps what we cannot post)
            words = error if isinstance(error, LanewayError) else type(error).__name__
            log.warning("the dead letter %s was not posted: %s", letter.id, words)
            return False
        self._app.facts.tell(
            "dead_lettered", attempt=letter.attempts, worker=letter.worker, **letter.told()
        )
        return True


def note_success(app: Laneway, queue: str, worker: str, task_id: str, headers: Any) -> None:
    """Say of a job that was replayed that it succeeded: its last letter needs nothing more.

    Best effort: without the note the letter stays open as replayed.

    Args:
        app: the application.
        queue: the job's queue.
        worker: the node name.
        task_id: the job.
        headers: of its message, or a dictionary with as much of them as is known.
    """
    replays = replays_of(headers)
    if not replays:
        return
    letter = letter_id(task_id, replays - 1)
    entry = audit.Entry(verb="resolved", at=time.time(), by=worker, letters=(letter,))
    try:
        postbox.note(app, app.policy.queue(queue).vhost, entry, _NOTE)
    except Exception as error:  # noqa: BLE001 (the job has succeeded, whatever happens here)
        log.warning("that %s is resolved was not noted: %s", letter, type(error).__name__)
        return
    app.facts.tell("resolved", queue=queue, task_id=task_id, worker=worker, letter=letter)


def text_of(error: BaseException) -> str:
    """An error's text, whatever its own code does when it is asked for it."""
    try:
        return str(error)
    except Exception as wrong:  # noqa: BLE001 (an error's own code)
        return f"({type(wrong).__name__} while its text was made)"


def _moment(value: object) -> float | None:
    fits = type(value) in {int, float} and -1e11 < value < 1e11  # type: ignore[operator]
    return float(value) if fits else None  # type: ignore[arg-type]


def _attempts(headers: dict[Any, Any], failure: Failure) -> int | None:
    retries = headers.get("retries")
    retries = retries if type(retries) is int and 0 <= retries < 2**31 else 0
    match failure.outcome:
        case "quarantined":
            return None
        case "expired":
            return retries
        case _:
            return retries + 1


def _deliveries(headers: dict[Any, Any], *, redelivered: bool) -> int | None:
    """Quorum queues count what ended badly; others only say whether there was a delivery before."""
    count = headers.get("x-delivery-count")
    if type(count) is int and 0 <= count < 2**31:
        return count + 1
    return None if redelivered else 1
