"""What a dead letter is: a job that ended for good without success, as it was published, and why.

Who sees a job's last failure writes its letter: the worker, or the keeper for what the broker
itself gave up. Both may report one failure. Their letters have the same id, known before either is
written, so :func:`merged` makes one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

#: How a job ended:
#:
#: ===============  ==========================================================================
#: ``failed``       the task raised, and no retry is left
#: ``time-limit``   it ran into its hard time limit
#: ``lost``         the process or worker that ran it died too often (the delivery limit)
#: ``expired``      nobody had time for it before it expired
#: ``rejected``     the task rejected it
#: ``refused``      the gate refuses to run it
#: ``quarantined``  a message that no task could be made of
#: ===============  ==========================================================================
Outcome = Literal["failed", "time-limit", "lost", "expired", "rejected", "refused", "quarantined"]

#: The header that counts how often a job was replayed; absent is 0.
REPLAYS_HEADER: Final = "laneway_replays"

#: Bytes of UTF-8 that an error's text and its traceback may have in a letter.
LONGEST_MESSAGE: Final = 2_000
LONGEST_TRACEBACK: Final = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A message as it was published, byte for byte."""

    exchange: str
    routing_key: str
    #: Flags and values of the basic properties as they stand on the wire, the headers among them.
    properties: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter. Nothing in it but :attr:`original` tells what a job was called with."""

    #: The job's id and how often it was replayed (:func:`letter_id`); one for each last failure.
    id: str
    #: The queue that the job was for.
    queue: str
    outcome: Outcome
    #: What failures of one kind have in common: :func:`laneway.deadletter.cause.cause_of`.
    cause: str
    #: When it ended, in seconds since 1970.
    at: float
    #: Who wrote the letter.
    by: Literal["worker", "keeper"]
    #: When the job failed first; equal to :attr:`at` without retries.
    first_at: float | None = None
    #: When it was published, or its ETA.
    ready_at: float | None = None
    task: str | None = None
    task_id: str | None = None
    root_id: str | None = None
    #: The entry of the schedule that made the job; see :mod:`laneway.calls.scheduled`.
    schedule: str | None = None
    #: 0 to 9.
    priority: int | None = None
    #: The class of the error, with its module unless it is built in.
    error_type: str | None = None
    #: The error's text; None on a secure queue, where it could repeat the arguments.
    message: str | None = None
    #: The function of the task's own code in which it happened, as ``module:function``.
    place: str | None = None
    #: None on a secure queue.
    traceback: str | None = None
    #: Runs of the task's code, retries among them.
    attempts: int | None = None
    #: Deliveries of the last attempt's message.
    deliveries: int | None = None
    #: How often it had been replayed when it ended.
    replays: int = 0
    #: The worker's node name, its host, and the version of the application that it ran.
    worker: str | None = None
    host: str | None = None
    version: str | None = None
    #: The Sentry event of this failure.
    event_id: str | None = None
    #: The trace of Sentry that its message carried; None if it carried none.
    trace_id: str | None = None
    #: The message; None in a report that knows only what happened (see :func:`merged`).
    original: Original | None = None

    def told(self) -> dict[str, Any]:
        """What facts say of the letter."""
        return {
            "queue": self.queue,
            "task": self.task,
            "task_id": self.task_id,
            "priority": self.priority,
            "error_type": self.error_type,
            "letter": self.id,
            "cause": self.cause,
            "outcome": self.outcome,
            "schedule": self.schedule,
        }

    def bounded(self) -> Letter:
        """The same with texts of bounded length."""
        return replace(
            self,
            message=_cut(self.message, LONGEST_MESSAGE),
            traceback=_cut(self.traceback, LONGEST_TRACEBACK, keep_end=True),
        )


def letter_id(task_id: str, replays: int) -> str:
    """The id of the letter of a job that was replayed so often."""
    return f"{task_id}.{replays}"


def replays_of(headers: Any) -> int:
    """How often a job was replayed, by its message's headers, whatever these are."""
    count = headers.get(REPLAYS_HEADER) if isinstance(headers, dict) else None
    return count if type(count) is int and 0 <= count < 2**31 else 0


def merged(one: Letter, other: Letter) -> Letter:
    """One letter of two reports of the same failure.

    The worker saw what happened, so what it says counts; the other fills what it left out.

    Raises:
        ValueError: they are reports of different failures.
    """
    if one.id != other.id:
        raise ValueError(f"expected two reports of one failure, got: {one.id} and {other.id}")
    first, second = (other, one) if (one.by, other.by) == ("keeper", "worker") else (one, other)
    missing = {
        field.name: getattr(second, field.name)
        for field in fields(Letter)
        if getattr(first, field.name) is None
    }
    return replace(first, **missing)


def _cut(text: str | None, longest: int, *, keep_end: bool = False) -> str | None:
    if text is None:
        return None
    # What cannot be written as UTF-8 (half of a surrogate pair) must not keep a letter back.
    data = text.encode("utf-8", "replace")
    if len(data) <= longest:
        return data.decode()
    kept = data[-longest:] if keep_end else data[:longest]
    rest = kept.decode("utf-8", "ignore")
    return f"… {rest}" if keep_end else f"{rest} …"
