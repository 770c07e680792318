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
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

import kombu
from kombu import serialization
from kombu.connection import ConnectionPool
from kombu.exceptions import EncodeError, LimitExceeded
from kombu.pools import ProducerPool

from laneway import errors
from laneway.refusal import is_final, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that one publish may take in all, if the application does not say otherwise.
DEFAULT_DEADLINE: Final = 10.0
#: Bytes that one serialised job may have, if nobody says otherwise (1 MiB).
DEFAULT_MAX_MESSAGE_BYTES: Final = 1024 * 1024
#: Seconds that one attempt to connect may take: several must fit into a deadline.
_CONNECT_TIMEOUT: Final = 4.0
#: Connections of a process to one virtual host, that is, publishes at the same moment.
_POOL_SIZE: Final = 10

# What a forked child inherited and must never touch: closing it would shut the parent's sockets
# down, which is what the garbage collector would do if nothing held them.
_inherited: Final[list[object]] = []
_publishers: Final[weakref.WeakSet[Publisher]] = weakref.WeakSet()


class _Connections(ConnectionPool):
    close_after_fork = False


class _Producers(ProducerPool):
    close_after_fork = False


class JobProducer(kombu.Producer):
    """A kombu producer that confirms, returns and times out as the platform promises.

    Celery calls :meth:`publish` with everything it knows of a message; what would weaken a
    promise (``retry``, ``declare``, ``mandatory=False``) is not passed on.
    """

    #: Set by the publisher that made this producer.
    owner: Publisher

    def publish(
        self,
        body: Any,
        routing_key: str | None = None,
        *,
        exchange: Any = None,
        headers: dict[str, Any] | None = None,
        serializer: str | None = None,
        timeout: float | None = None,
        **properties: Any,
    ) -> Any:
        """Publish and wait for the confirm.

        Args:
            body: what kombu's JSON can write.
            routing_key: the queue's name, or kombu's key for a delay.
            exchange: a name or a ``kombu.Exchange``.
            headers: the message's headers.
            serializer: the name of the serializer; the platform's profile allows only JSON.
            timeout: seconds for the whole call; the publisher's deadline if None.
            properties: further message properties.

        Raises:
            ArgumentsNotSerializable: the body cannot be written.
            MessageTooLarge: the written body is larger than the publisher's limit.
            PublishError: one of its leaves, when the broker did not confirm in time.
        """
        for useless in ("retry", "retry_policy", "declare", "mandatory", "immediate"):
            properties.pop(useless, None)
        properties.pop("confirm_timeout", None)
        if not properties.get("content_type"):
            content_type, content_encoding, body = self._write(body, serializer or "json")
            properties |= {"content_type": content_type, "content_encoding": content_encoding}
        attempt = _Attempt(
            owner=self.owner, seconds=self.owner.deadline if timeout is None else timeout
        )
        return attempt.run(
            self,
            lambda remaining: super(JobProducer, self).publish(
                body,
                routing_key,
                exchange=exchange,
                headers=headers,
                mandatory=True,
                retry=False,
                timeout=remaining,
                confirm_timeout=remaining,
                **properties,
            ),
        )

    def _write(self, body: Any, serializer: str) -> tuple[str, str, Any]:
        try:
            content_type, content_encoding, payload = serialization.dumps(body, serializer)
        except EncodeError as error:
            raise errors.ArgumentsNotSerializable(
                f"expected arguments that JSON can carry, got: {error}. Pass plain values (an id "
                "instead of an object), or convert them first. Nothing was published."
            ) from error
        size = len(payload.encode() if isinstance(payload, str) else payload)
        if size > self.owner.max_message_bytes:
            raise errors.MessageTooLarge(
                f"expected a job of at most {self.owner.max_message_bytes} bytes, got {size}. Put "
                "the data elsewhere and pass a reference, or raise LANEWAY_MAX_MESSAGE_BYTES. "
                "Nothing was published."
            )
        return content_type, content_encoding, payload


class _Attempt:
    """One call of publish: tries until confirmed, refused or out of time."""

    def __init__(self, *, owner: Publisher, seconds: float) -> None:
        self.owner = owner
        self.seconds = seconds
        self.until = time.monotonic() + seconds
        self.sent = False

    def run(self, producer: JobProducer, send: Callable[[float], Any]) -> Any:
        while True:
            try:
                self._connect(producer)
                self._wait_while_blocked(producer)
                self.sent = True
                return send(self._remaining())
            except Exception as error:
                blocked = self.owner.blocked
                self._discard(producer)
                if is_final(error) or time.monotonic() >= self.until - 0.01:
                    reason = refusal(
                        error,
                        where=self.owner.name,
                        seconds=self.seconds,
                        sent=self.sent,
                        blocked=blocked,
                    )
                    if reason is error:
                        raise
                    raise reason from error
                time.sleep(min(0.05, self._remaining()))

    def _remaining(self) -> float:
        """Seconds left, at least a millisecond so that no wait becomes endless."""
        return max(0.001, self.until - time.monotonic())

    def _connect(self, producer: JobProducer) -> None:
        connection = producer.__connection__
        if not connection.connected:
            connection.connect_timeout = min(_CONNECT_TIMEOUT, self._remaining())
            connection.ensure_connection(
                interval_start=0.1,
                interval_step=0.2,
                interval_max=1.0,
                timeout=self._remaining(),
                reraise_as_library_errors=False,
            )
            producer.revive(connection)

    def _wait_while_blocked(self, producer: JobProducer) -> None:
        """Send nothing into an alarm: what is not sent is certainly not accepted."""
        while self.owner.blocked is not None:
            if time.monotonic() >= self.until:
                raise TimeoutError
            with contextlib.suppress(TimeoutError):
                producer.__connection__.drain_events(timeout=min(0.1, self._remaining()))

    def _discard(self, producer: JobProducer) -> None:
        """Drop the connection: a late confirm on it would be taken for another message's."""
        self.owner.blocked = None
        producer.__connection__.collect()


class Publisher:
    """Confirmed publishing to one virtual host, from any thread and after any fork.

    Args:
        connect: makes a lazy ``kombu.Connection`` to the virtual host with the transport options
            given to it.
        name: how messages for people call the place, without password.
        deadline: seconds one publish may take in all.
        max_message_bytes: the largest serialised job.
    """

    def __init__(
        self,
        connect: Callable[[dict[str, Any]], kombu.Connection],
        *,
        name: str,
        deadline: float = DEFAULT_DEADLINE,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        self.name = name
        self.deadline = deadline
        self.max_message_bytes = max_message_bytes
        #: Why the broker takes no publishes now; None while it does.
        self.blocked: str | None = None
        self._connect = connect
        self._pool: ProducerPool | None = None
        self._lock = threading.Lock()
        _publishers.add(self)

    @contextlib.contextmanager
    def producer(self) -> Iterator[JobProducer]:
        """Lend a producer.

        Raises:
            PublishTimeout: every connection is in use until the deadline.
        """
        try:
            producer = self._producers().acquire(block=True, timeout=self.deadline)
        except LimitExceeded as error:
            raise errors.PublishTimeout(
                f"all {_POOL_SIZE} connections to {self.name} were in use for {self.deadline:g} s. "
                "Nothing was sent."
            ) from error
        try:
            yield producer
        finally:
            producer.release()

    def close(self) -> None:
        """Close the connections; the next publish opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.force_close_all()
            pool.connections.force_close_all()

    def start_afresh(self) -> None:
        """Forget what was inherited from the parent process, without touching its sockets."""
        if self._pool is not None:
            _inherited.append(self._pool)
        self._pool = None
        self._lock = threading.Lock()
        self.blocked = None

    def _producers(self) -> ProducerPool:
        with self._lock:
            if self._pool is None:
                self._pool = self._make_pool()
            return self._pool

    def _make_pool(self) -> ProducerPool:
        connection = self._connect(
            {
                "confirm_publish": True,
                "on_blocked": self._note_blocked,
                "on_unblocked": self._note_unblocked,
            }
        )

        def make(channel: Any) -> JobProducer:
            producer = JobProducer(channel, auto_declare=False)
            producer.owner = self
            return producer

        connections = _Connections(connection, limit=_POOL_SIZE)
        return _Producers(connections, limit=_POOL_SIZE, Producer=make)

    def _note_blocked(self, reason: str) -> None:
        self.blocked = reason

    def _note_unblocked(self) -> None:
        self.blocked = None


def _start_afresh_in_child() -> None:
    for publisher in tuple(_publishers):
        publisher.start_afresh()


os.register_at_fork(after_in_child=_start_afresh_in_child)
