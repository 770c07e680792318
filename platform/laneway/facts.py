"""The one door through which everything that happens to a job is told.

======================  =========================================================================
kind                    told when (and by whom)
======================  =========================================================================
``published``           the broker confirmed the job (the publisher)
``refused``             a publish was refused; nothing was accepted unless ``reason`` says maybe
``deduplicated``        an equal unique job is under way: nothing was published; ``task_id`` is its
``unguarded``           Redis was away: published without a claim, or run without a lease
``received``            a worker took the job from the broker (worker parent)
``started``             task code begins; ``wait`` is set (worker process)
``succeeded``           task code returned; ``runtime`` is set
``retried``             the job will run again later; ``reason`` is the error
``failed``              the job failed for good; ``error_type``, ``reason``, ``runtime`` are set
``rejected``            the task rejected or ignored its job, or the job was revoked or expired
``quarantined``         a message that no task could be made of was put aside
``result_lost``         the job ended, and its result or its part of a chord could not be stored;
                        ``reason`` is set
``dead_lettered``       a letter of the job stands in the stream (worker or keeper); ``letter``,
                        ``cause`` and ``outcome`` are set
``replayed``            a dead letter's job was published again; ``letter`` is set
``resolved``            a replayed job succeeded; ``letter`` is set
``discarded``           somebody discarded a dead letter; ``letter`` is set
``reported``            a failure becomes an event of its own in Sentry; ``cause`` is set
``report_held``         a failure is held back, and counted on a later event of its ``cause``
``report_lost``         an event was not sent; ``reason`` is the SDK's word for why
``worker_ready``        a worker consumes its queue
``worker_stopped``      a worker left
``paused``, ``resumed`` a queue was paused or resumed and this worker obeyed
``control_ready``       a control process began to work
``control_stopped``     a control process left
``topology_drift``      what stands on the broker is not what the policy says
======================  =========================================================================

Logs, counters and the live view are listeners; nothing else calls them. A listener that fails is
reported on the ``laneway.facts`` logger and never disturbs the job.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("laneway.facts")

FactKind = Literal[
    "published",
    "refused",
    "deduplicated",
    "unguarded",
    "received",
    "started",
    "succeeded",
    "retried",
    "failed",
    "rejected",
    "quarantined",
    "result_lost",
    "dead_lettered",
    "replayed",
    "resolved",
    "discarded",
    "reported",
    "report_held",
    "report_lost",
    "worker_ready",
    "worker_stopped",
    "paused",
    "resumed",
    "control_ready",
    "control_stopped",
    "topology_drift",
]


class Fact(NamedTuple):
    """Something that happened, with named fields. Arguments and results are never among them.

    Each job makes several: a named tuple is made in a third of the time of a frozen dataclass. Give
    the fields by name.
    """

    #: What happened; see the table above.
    kind: FactKind
    #: When, in seconds since 1970 (UTC).
    at: float
    #: The queue concerned.
    queue: str | None = None
    #: The task's name.
    task: str | None = None
    #: The job's id, equal over retries.
    task_id: str | None = None
    #: 0 to 9, higher is more urgent.
    priority: int | None = None
    #: Number of this run of the job, from 1; retries count, redeliveries do not.
    attempt: int | None = None
    #: The broker says that it delivered this message before.
    redelivered: bool | None = None
    #: The worker's node name.
    worker: str | None = None
    #: Seconds from when the job could have started (published, or its ETA) to when it did.
    wait: float | None = None
    #: Seconds that the task code ran.
    runtime: float | None = None
    #: The class name of the error.
    error_type: str | None = None
    #: The error's text, or why something was done.
    reason: str | None = None
    #: The id of the dead letter.
    letter: str | None = None
    #: What failures of one kind have in common; see :mod:`laneway.deadletter.cause`.
    cause: str | None = None
    #: How the job ended; see :data:`laneway.deadletter.letter.Outcome`. Of a ``rejected`` job
    #: ``ignored``, ``rejected``, ``revoked`` or ``expired``.
    outcome: str | None = None
    #: The entry of the schedule that made the job; see :mod:`laneway.calls.scheduled`.
    schedule: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Only the fields that are set: what a log line or a metric carries."""
        named = zip(self._fields, self, strict=True)
        return {name: value for name, value in named if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Fact:
        """The reverse of :meth:`to_dict`; unknown keys (of a newer version) are dropped."""
        return cls(**{key: value for key, value in values.items() if key in cls._fields})


class Listener(Protocol):
    """Whoever wants to know. Called in the thread or process in which the fact happened."""

    def __call__(self, fact: Fact, /) -> None:
        """Take note; quickly, for the job waits."""


@dataclass(slots=True)
class Door:
    """Tells facts to listeners, in the order in which they were added.

    ``clock`` gives seconds since 1970; it is passed in so that tests need not sleep.
    """

    clock: Callable[[], float] = time.time
    _listeners: list[Listener] = field(default_factory=list)

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens: what would be told need not be put together otherwise."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> None:
        """Add a listener; adding one twice changes nothing."""
        if listener not in self._listeners:
            self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Remove a listener; removing one that is not there changes nothing."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def tell(self, kind: FactKind, **fields: Any) -> None:
        """Tell what happened now; ``fields`` are those of :class:`Fact`."""
        if not self._listeners:
            return
        fact = Fact(kind=kind, at=self.clock(), **fields)
        for listener in tuple(self._listeners):
            try:
                listener(fact)
            except Exception:
                log.exception("a listener failed on %r: %r", fact.kind, listener)
