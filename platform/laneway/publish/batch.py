"""Many jobs as one batch: each call returns at once, the end of the batch waits for all confirms.

What fails ends the batch, and one error carries the account of it (:mod:`laneway.account`).
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

from laneway.account import BatchAccount, Positions, Unsettled
from laneway.errors import BatchIncomplete, LanewayError
from laneway.publish import taker
from laneway.publish.pipeline import Job, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.broker import VhostKind
    from laneway.facts import Door
    from laneway.publish.frames import Publish
    from laneway.publish.producer import JobProducer
    from laneway.publish.publisher import Publisher

#: Jobs of a batch that may be on their way, for each virtual host.
DEFAULT_WINDOW: Final = 1000


class Batch:
    """Jobs that are sent one behind the other; it belongs to the thread that made it.

    Args:
        publisher: of a virtual host.
        facts: the door through which accepted and refused jobs are told.
        window: jobs that may be on their way for each virtual host, at least 1.
        on_accepted: called with position and id of each job that the broker confirmed, in the order
            of the confirms.
    """

    def __init__(
        self,
        publisher: Callable[[VhostKind], Publisher],
        *,
        facts: Door,
        window: int = DEFAULT_WINDOW,
        on_accepted: Callable[[int, str], None] | None = None,
    ) -> None:
        if type(window) is not int or window < 1:
            raise ValueError(f"expected window to be a whole number of at least 1, got: {window!r}")
        self._publisher = publisher
        self._facts = facts
        self._window = window
        self._on_accepted = on_accepted
        self._thread = threading.get_ident()
        self._lent = contextlib.ExitStack()
        self._pipelines: dict[VhostKind, Pipeline] = {}
        self._producers: dict[VhostKind, JobProducer] = {}
        self._taken = 0
        self._accepted = Positions()
        self._refused: list[Unsettled] = []
        # What ended the batch.
        self._reason: BaseException | None = None
        # Whether calls are taken: not after the end, and not those of whoever is being told.
        self._open = True

    @property
    def is_open(self) -> bool:
        """Whether it takes calls of this thread now."""
        return self._open and self._thread == threading.get_ident()

    @contextlib.contextmanager
    def around_calls(self) -> Iterator[Batch]:
        """Take the calls of a block; at its end all of them are accepted, or it raises.

        Raises:
            BatchIncomplete: not every job was accepted; its cause says why.
        """
        try:
            with self.as_current():
                yield self
        except BaseException as error:
            self._finish(error)
            raise
        self._finish(None)

    @contextlib.contextmanager
    def as_current(self) -> Iterator[None]:
        """Take the calls of a block, and leave the end to the caller."""
        with taker.taking(self):
            yield

    def producer(self, vhost: VhostKind) -> JobProducer:
        """The producer on which the jobs of a virtual host are sent.

        Raises:
            PublishTimeout: every connection is in use until the deadline.
        """
        if vhost not in self._producers:
            publisher = self._publisher(vhost)
            producer = self._lent.enter_context(publisher.producer())
            self._producers[vhost] = producer
            self._pipelines[vhost] = Pipeline(
                producer,
                where=publisher.name,
                deadline=publisher.deadline,
                window=self._window,
                listener=self,
            )
        return self._producers[vhost]

    def add(
        self,
        vhost: VhostKind,
        task_id: str,
        name: str,
        queue: str,
        priority: int,
        message: Publish,
    ) -> None:
        """Take a job.

        Raises:
            BatchIncomplete: an earlier job was not accepted, so no more are taken.
        """
        self.raise_if_ended()
        self.producer(vhost)
        job = Job(self._taken, task_id, name, queue, priority, message)
        self._taken += 1
        try:
            self._pipelines[vhost].add(job)
        except Exception as error:  # noqa: BLE001 (whatever it is, the account must be told)
            self._end(error)
        self.raise_if_ended()

    def raise_if_ended(self) -> None:
        """Take no more after the first job that was not accepted.

        Raises:
            BatchIncomplete: that is so; the account is complete at the end of the batch.
        """
        if self._reason is not None:
            raise self._incomplete() from self._reason

    def refuse(self, task_id: str | None, error: Exception) -> None:
        """Note a job that was refused before it could be sent."""
        self._refused.append(Unsettled(self._taken, task_id, error))
        self._taken += 1
        self._end(error)

    def count_eager(self) -> None:
        """Note a job that was run at once (``task_always_eager``)."""
        self._accepted.add(self._taken)
        self._taken += 1

    def count_at_once(self, task_id: str) -> None:
        """Note a job that was published, and confirmed, on its own."""
        self._accepted.add(self._taken)
        self._taken += 1
        if self._on_accepted is not None:
            self._on_accepted(self._taken - 1, task_id)

    # -- what the pipelines tell ---------------------------------------------------------------

    def accepted(self, job: Job) -> None:
        """The broker confirmed it."""
        self._accepted.add(job.position)
        # Being in the middle of reading, the batch takes no job that a listener publishes.
        is_open, self._open = self._open, False
        try:
            self._facts.tell("published", **_told(job))
            if self._on_accepted is not None:
                self._on_accepted(job.position, job.task_id)
        finally:
            self._open = is_open

    def refused(self, job: Job, error: Exception) -> None:
        """The broker refused it."""
        if isinstance(error, LanewayError):
            error.task_id = job.task_id
        self._refused.append(Unsettled(job.position, job.task_id, error))
        self._end(error)
        reason = {"error_type": type(error).__name__, "reason": str(error)}
        is_open, self._open = self._open, False
        try:
            self._facts.tell("refused", **_told(job), **reason)
        finally:
            self._open = is_open

    # -- the end -------------------------------------------------------------------------------

    @property
    def account(self) -> BatchAccount:
        """What is known by now; complete after the end of the batch."""
        left = [job for one in self._pipelines.values() for job in one.unsettled]
        left.sort(key=lambda job: job.position)
        return BatchAccount(
            taken=self._taken,
            accepted=tuple(self._accepted),
            refused=tuple(sorted(self._refused, key=lambda job: job.position)),
            maybe_accepted=tuple(Unsettled(j.position, j.task_id) for j in left if j.sent),
            unsent=tuple(Unsettled(j.position, j.task_id) for j in left if not j.sent),
            sent_twice=sum(one.sent_twice for one in self._pipelines.values()),
        )

    def finish(self, error: BaseException | None = None) -> BatchAccount:
        """Wait for what is on its way; the batch takes no more jobs.

        Args:
            error: what ended the batch from outside.

        Raises:
            BatchIncomplete: not every job was accepted, or ``error`` ended the batch.
        """
        self._finish(error)
        if error is None:
            return self.account
        if not isinstance(error, Exception):
            raise error
        raise self._incomplete(error) from (self._reason or error)

    def _finish(self, error: BaseException | None) -> None:
        self._open = False
        with self._lent:
            try:
                if error is None or isinstance(error, Exception):
                    self._wait_for_all()
            finally:
                for pipeline in self._pipelines.values():
                    pipeline.leave()
        if self._reason is None or isinstance(error, BatchIncomplete):
            if isinstance(error, BatchIncomplete):
                # What was on its way when it was raised has its answer now.
                error.account = self.account
            return
        if error is not None and not isinstance(error, Exception):
            return
        raise self._incomplete() from self._reason

    def _wait_for_all(self) -> None:
        for pipeline in self._pipelines.values():
            try:
                pipeline.finish()
            except Exception as error:  # noqa: BLE001 (whatever it is, the account must be told)
                if self._reason is not None:
                    self._reason.add_note(f"And then, while the rest was waited for: {error}")
                self._end(error)

    def _end(self, error: Exception) -> None:
        if self._reason is None:
            self._reason = error

    def _incomplete(self, error: BaseException | None = None) -> BatchIncomplete:
        account = self.account
        reason = self._reason or error
        return BatchIncomplete(
            f"the batch is not complete: {account}. The first reason: {type(reason).__name__}: "
            f"{reason} Publish again what was refused or never sent; what may be accepted only if "
            "running it twice does no harm (.account says which).",
            account=account,
        )


def _told(job: Job) -> dict[str, Any]:
    return {
        "task": job.name,
        "task_id": job.task_id,
        "attempt": 1,
        "queue": job.queue,
        "priority": job.priority,
    }
