"""Many jobs on one connection: sent one behind the other, confirmed as the broker gets to them.

A confirm takes the broker a write to disk, and it answers hundreds of jobs with one. So a pipeline
does not wait for each: it lets a bounded window of jobs be on their way. Every job keeps what a
single publish promises: it is persistent, mandatory, and confirmed, or somebody is told why not.

When the connection is lost, what was not confirmed is sent again, with the same ids: at least once.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from amqp.exceptions import MessageNacked

from laneway.broker.refusal import refusal
from laneway.publish import frames
from laneway.publish.attempt import Attempt

if TYPE_CHECKING:
    from laneway.publish.frames import Publish
    from laneway.publish.producer import JobProducer

#: Bytes that are gathered for one write.
_GATHERED_BYTES: Final = 64 * 1024
#: Seconds after which gathered jobs are sent when the next one comes.
_GATHERED_SECONDS: Final = 0.05
#: Bytes of jobs on their way, whatever their number.
_WINDOW_BYTES: Final = 8 * 1024 * 1024


class Job:
    """A job on its way."""

    __slots__ = (
        "message", "name", "position", "priority", "queue", "refused", "sent", "size", "task_id"
    )  # fmt: skip

    def __init__(
        self, position: int, task_id: str, name: str, queue: str, priority: int, message: Publish
    ) -> None:
        self.position = position
        self.task_id = task_id
        self.name = name
        self.queue = queue
        self.priority = priority
        self.message = message
        #: It was written to a connection at least once.
        self.sent = False
        #: The broker gave it back; its confirm means only that.
        self.refused = False
        #: Bytes, nearly.
        self.size = len(message.body) + len(message.properties)


class Listener(Protocol):
    """Who wants to know what became of the jobs."""

    def accepted(self, job: Job) -> None:
        """The broker confirmed it."""

    def refused(self, job: Job, error: Exception) -> None:
        """The broker refused it."""


class Pipeline:
    """Jobs on their way over one producer.

    Args:
        producer: lent to the pipeline alone.
        where: how people call the place, without password.
        deadline: seconds that may pass without any confirm while the pipeline waits for one.
        window: jobs that may be on their way.
        listener: told of each job's end.
    """

    def __init__(
        self,
        producer: JobProducer,
        *,
        where: str,
        deadline: float,
        window: int,
        listener: Listener,
    ) -> None:
        self._producer = producer
        self._where = where
        self._deadline = deadline
        self._window = window
        self._listener = listener
        self._channel: Any = None
        # Gathered, and not sent on this connection.
        self._waiting: deque[Job] = deque()
        self._waiting_bytes = 0
        self._waiting_since = 0.0
        # By delivery tag, in the order of sending.
        self._on_their_way: dict[int, Job] = {}
        self._bytes_on_their_way = 0
        self._tag = 0
        self._last_answer = 0.0
        #: Jobs that were sent again after a connection was lost.
        self.sent_twice = 0

    @property
    def unsettled(self) -> list[Job]:
        """The jobs without an answer; those with ``sent`` may have been accepted."""
        way = [job for job in self._on_their_way.values() if not job.refused]
        return [*way, *self._waiting]

    def add(self, job: Job) -> None:
        """Take a job: sent soon, at the latest with :meth:`finish`.

        Raises:
            PublishError: the broker cannot be reached, or confirms nothing any more.
        """
        if not self._waiting:
            self._waiting_since = time.monotonic()
        self._waiting.append(job)
        self._waiting_bytes += job.size
        if (
            self._waiting_bytes >= _GATHERED_BYTES
            or len(self._waiting) * 4 >= self._window
            or time.monotonic() - self._waiting_since >= _GATHERED_SECONDS
        ):
            self._advance(self._window - len(self._waiting))

    def finish(self) -> None:
        """Send what was gathered and wait until every job has its answer.

        Raises:
            PublishError: the broker cannot be reached, or confirms nothing any more.
        """
        while self._waiting or self._on_their_way:
            self._advance(self._window - len(self._waiting) if self._waiting else 0)

    def settle(self, most: int) -> None:
        """Send what was gathered, then wait until at most so many jobs are on their way.

        Raises:
            PublishError: the broker cannot be reached, or confirms nothing any more.
        """
        while self._waiting:
            self._advance(self._window - len(self._waiting))
        self._advance(most)

    def leave(self) -> None:
        """Give the producer up: what is still unanswered on its connection is nobody's any more."""
        if self._on_their_way:
            self._producer.discard()
        elif self._channel is not None:
            self._forget(self._channel)

    def _advance(self, room: int) -> None:
        """Wait until at most ``room`` jobs are on their way, then send what was gathered."""
        attempt = Attempt(where=self._where, seconds=self._deadline)
        self._last_answer = time.monotonic()
        attempt.run(self._producer, lambda _remaining: self._exchange(attempt, max(0, room)))

    def _exchange(self, attempt: Attempt, room: int) -> None:
        channel = self._producer.confirming()
        if channel is not self._channel:
            self._begin(channel)
        # A large job needs room as well, whatever the number.
        while len(self._on_their_way) > room or (
            self._on_their_way and self._bytes_on_their_way > _WINDOW_BYTES
        ):
            self._read(channel, attempt)
        self._send(channel)

    def _begin(self, channel: Any) -> None:
        """Start counting on a new connection; what the last one left unanswered goes first."""
        again = [job for job in self._on_their_way.values() if not job.refused]
        self.sent_twice += len(again)
        self._waiting.extendleft(reversed(again))
        self._on_their_way.clear()
        self._bytes_on_their_way = 0
        self._tag = self._producer.tag
        self._channel = channel
        channel.events["basic_return"].add(self._on_return)
        # py-amqp reads too, for example while a result backend declares its queue.
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)

    def _forget(self, channel: Any) -> None:
        for event, callback in (
            ("basic_return", self._on_return),
            ("basic_ack", self._on_ack),
            ("basic_nack", self._on_nack),
        ):
            channel.events[event].discard(callback)

    def _send(self, channel: Any) -> None:
        connection = channel.connection
        frame_max, data = connection.frame_max, []
        while self._waiting:
            job = self._waiting.popleft()
            job.sent = True
            self._tag += 1
            self._on_their_way[self._tag] = job
            self._bytes_on_their_way += job.size
            data.append(job.message.frames(frame_max))
            if self._bytes_on_their_way > _WINDOW_BYTES or len(self._on_their_way) >= self._window:
                break
        self._producer.tag = self._tag
        self._waiting_bytes = sum(job.size for job in self._waiting)
        if data:
            transport = connection.transport
            with transport.having_timeout(self._deadline):
                transport.write(b"".join(data))

    def _read(self, channel: Any, attempt: Attempt) -> None:
        """Read until there is an answer to one job at least."""
        connection = channel.connection
        transport = connection.transport
        with transport.having_timeout(self._deadline):
            frame = transport.read_frame()
        answer = frames.answer(frame)
        before = self._tag_answered()
        if answer in {frames.ACK, frames.NACK}:
            tag, flags = frames.unpack_answer(frame[2], 4)
            self._answered(tag, bool(flags & 1), nacked=answer == frames.NACK)
        else:
            connection.on_inbound_frame(frame)
        now = time.monotonic()
        if self._tag_answered() != before:
            self._last_answer = now
            attempt.begin_again()
        elif now - self._last_answer > self._deadline:
            raise TimeoutError

    def _tag_answered(self) -> int:
        return self._tag - len(self._on_their_way)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._answered(tag, multiple, nacked=False)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._answered(tag, multiple, nacked=True)

    def _answered(self, tag: int, multiple: bool, *, nacked: bool) -> None:
        if not multiple:
            tags = [tag] if tag in self._on_their_way else []
        else:
            tags = []
            for one in self._on_their_way:
                if one > tag:
                    break
                tags.append(one)
        for one in tags:
            job = self._on_their_way.pop(one)
            self._bytes_on_their_way -= job.size
            if job.refused:
                continue
            if nacked:
                self._refuse(job, MessageNacked())
            else:
                self._listener.accepted(job)

    def _on_return(self, error: Exception, _exchange: Any, _key: Any, message: Any) -> None:
        """The broker gives a message back before it confirms it; its id is the job's."""
        task_id = message.properties.get("correlation_id")
        for job in self._on_their_way.values():
            if job.task_id == task_id and not job.refused:
                self._refuse(job, error)
                return

    def _refuse(self, job: Job, error: Exception) -> None:
        job.refused = True
        reason = refusal(error, where=self._where, seconds=self._deadline, sent=True, blocked=None)
        reason.__cause__ = error
        self._listener.refused(job, reason)
