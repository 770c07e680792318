"""Publishing a job so that it is accepted, or an error says why it was not.

Every publish is persistent, confirmed by the broker, mandatory (a message that no queue would get
comes back as an error), and ends within one deadline that covers waiting for a connection,
connecting, sending and the confirm. While the connection fails and time remains, the same job (same
id) is sent again: delivery is at least once.

A :class:`Publisher` serves one virtual host. Its connections are never shared between processes:
after a fork the child makes its own.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from laneway import errors
from laneway.after_fork import start_afresh_in_child
from laneway.publish.attempt import Attempt
from laneway.publish.producer import Alarm, JobProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import kombu

    from laneway.publish.frames import Publish

#: Seconds that one publish may take in all, if the application does not say otherwise.
DEFAULT_DEADLINE: Final = 10.0
#: Bytes that one serialised job may have, if nobody says otherwise (1 MiB).
DEFAULT_MAX_MESSAGE_BYTES: Final = 1024 * 1024
#: Connections of a process to one virtual host, that is, publishes at the same moment.
POOL_SIZE: Final = 10

# What a forked child inherited and must never touch: closing it would shut the parent's sockets
# down, which is what the garbage collector would do if nothing held them.
_inherited: Final[list[object]] = []


class Publisher:
    """Confirmed publishing to one virtual host, from any thread and after any fork.

    Args:
        connect: makes a lazy ``kombu.Connection`` to the virtual host with the transport options
            given to it.
        name: how messages for people call the place, without password.
        deadline: seconds one publish may take in all.
        max_message_bytes: the largest serialised job.
        traces: whether a trace may go on over it; not to the secure queues.
    """

    def __init__(
        self,
        connect: Callable[[dict[str, Any]], kombu.Connection],
        *,
        name: str,
        deadline: float = DEFAULT_DEADLINE,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        traces: bool = True,
    ) -> None:
        self.name = name
        self.deadline = deadline
        self.max_message_bytes = max_message_bytes
        self._traces = traces
        self._connect = connect
        self._pool = _Pool(self._make_producer)
        start_afresh_in_child(self)

    def publish(self, message: Publish, seconds: float | None = None) -> None:
        """Publish a message that is written already, and wait for the confirm.

        Args:
            message: what to send.
            seconds: the deadline of this call; the publisher's own if None.

        Raises:
            PublishError: one of its leaves, when the broker did not confirm in time.
        """
        deadline = self.deadline if seconds is None else seconds
        attempt = Attempt(where=self.name, seconds=deadline)
        pool = self._pool
        producer = self._take(pool, deadline)
        try:
            attempt.run(producer, functools.partial(producer.transmit, message))
        finally:
            pool.give_back(producer)

    @contextlib.contextmanager
    def producer(self, seconds: float | None = None) -> Iterator[JobProducer]:
        """Lend a producer, which nobody else uses meanwhile.

        Args:
            seconds: how long to wait for one; the publisher's deadline if None.

        Raises:
            PublishTimeout: every connection is in use all that time.
        """
        pool = self._pool
        producer = self._take(pool, self.deadline if seconds is None else seconds)
        try:
            yield producer
        finally:
            pool.give_back(producer)

    def composer(self) -> JobProducer:
        """A producer for what is composed and not sent (``into``): it never connects."""
        return self._make_producer()

    def close(self) -> None:
        """Close the connections; the next publish opens new ones."""
        pool, self._pool = self._pool, _Pool(self._make_producer)
        pool.close()

    def start_afresh(self) -> None:
        """Forget what was inherited from the parent process, without touching its sockets."""
        _inherited.append(self._pool)
        self._pool = _Pool(self._make_producer)

    def _take(self, pool: _Pool, seconds: float) -> JobProducer:
        try:
            return pool.take(seconds)
        except TimeoutError as error:
            raise errors.PublishTimeout(
                f"all {POOL_SIZE} connections to {self.name} were in use for {seconds:g} s. "
                "Nothing was sent."
            ) from error

    def _make_producer(self) -> JobProducer:
        alarm = Alarm()
        connection = self._connect(
            {
                "confirm_publish": True,
                "on_blocked": alarm.on_blocked,
                "on_unblocked": alarm.on_unblocked,
            }
        )
        return JobProducer(
            connection,
            alarm=alarm,
            attempt=lambda seconds: Attempt(
                where=self.name, seconds=self.deadline if seconds is None else seconds
            ),
            max_message_bytes=self.max_message_bytes,
            traces=self._traces,
        )


class _Pool:
    """Producers, each lent to one caller at a time; the last one used first.

    kombu's own pool makes a producer's channel anew each time that it is lent.
    """

    def __init__(self, make: Callable[[], JobProducer]) -> None:
        self._make = make
        # None stands for one that is still to be made. Taking from its end and adding there need no
        # lock, and the lock of a queue is a good part of what a call costs.
        self._free: deque[JobProducer | None] = deque([None] * POOL_SIZE)
        self._waiting = 0
        self._given_back = threading.Condition()
        # Those that are lent, too: after a fork nothing of them may be collected.
        self._made: list[JobProducer] = []
        self._closed = False

    def take(self, seconds: float) -> JobProducer:
        """Wait for one.

        Raises:
            TimeoutError: none was free in time.
        """
        try:
            producer = self._free.pop()
        except IndexError:
            producer = self._wait(seconds)
        if producer is not None:
            return producer
        try:
            producer = self._make()
        except BaseException:
            self._put(None)
            raise
        self._made.append(producer)
        return producer

    def give_back(self, producer: JobProducer) -> None:
        """The caller uses it no longer."""
        self._put(producer)
        if self._closed:
            self.close()

    def close(self) -> None:
        """Close those that are free now, and the others when they come back."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                producer = self._free.pop()
                if producer is not None:
                    producer.__connection__.release()

    def _put(self, producer: JobProducer | None) -> None:
        self._free.append(producer)
        # Whoever waits has counted himself before he looked for the last time.
        if self._waiting:
            with self._given_back:
                self._given_back.notify()

    def _wait(self, seconds: float) -> JobProducer | None:
        until = time.monotonic() + seconds
        with self._given_back:
            self._waiting += 1
            try:
                while True:
                    # Others may take what was given back without asking for the lock.
                    with contextlib.suppress(IndexError):
                        return self._free.pop()
                    remaining = until - time.monotonic()
                    if remaining <= 0:
                        raise TimeoutError
                    self._given_back.wait(remaining)
            finally:
                self._waiting -= 1
