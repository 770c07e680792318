"""One connection that publishes, confirmed: kombu's producer, kept to the platform's promises.

It sends in two ways: what Celery and kombu compose (:meth:`JobProducer.publish`), and messages that
are written already (:meth:`JobProducer.transmit`). Both wait for the broker's confirm.
"""

from __future__ import annotations

import inspect
import ssl
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import amqp
import kombu
from amqp.exceptions import MessageNacked, RecoverableConnectionError
from kombu import serialization
from kombu.exceptions import EncodeError

from laneway.publish import arguments, frames, tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.publish.attempt import Attempt
    from laneway.publish.frames import Publish

# Bytes that are read at once: a confirm has 21.
_AT_ONCE: Final = 4096
# What kombu's publish is, as long as no tracing package has put its own in its place.
_KOMBUS_PUBLISH: Final = kombu.Producer.publish
_IS_WRAPPED: Final = hasattr(_KOMBUS_PUBLISH, "__wrapped__")


def is_kombus_own() -> bool:
    """Whether kombu's ``publish`` is untouched: a package that wrapped it wants to be called."""
    return kombu.Producer.publish is _KOMBUS_PUBLISH and not _IS_WRAPPED


class Alarm:
    """Whether the broker takes publishes on one connection, as the broker last said."""

    def __init__(self) -> None:
        #: Why it takes none now; None while it does.
        self.reason: str | None = None

    def on_blocked(self, reason: str) -> None:
        """The broker's memory or disk alarm went on."""
        self.reason = reason

    def on_unblocked(self) -> None:
        """It is over."""
        self.reason = None


class JobProducer(kombu.Producer):
    """A kombu producer that confirms, returns and times out as the platform promises.

    Celery calls :meth:`publish` with everything it knows of a message; what would weaken a
    promise (``retry``, ``declare``, ``mandatory=False``) is not passed on.

    Args:
        connection: lazy; it belongs to this producer alone.
        alarm: what the connection tells of alarms.
        attempt: starts an attempt that may take so many seconds (None: the usual deadline).
        max_message_bytes: the largest serialised job.
        traces: whether a message may carry the headers of a trace.
    """

    def __init__(
        self,
        connection: kombu.Connection,
        *,
        alarm: Alarm,
        attempt: Callable[[float | None], Attempt],
        max_message_bytes: int,
        traces: bool = True,
    ) -> None:
        # The channel on which the broker was asked for confirms.
        self._confirming: Any = None
        super().__init__(connection, auto_declare=False)
        self.alarm = alarm
        self._attempt = attempt
        self._max_message_bytes = max_message_bytes
        self._traces = traces
        #: Bytes of the last body that was written here, before any compression.
        self.body_size = 0
        #: Who takes the messages that Celery composes, while they are not to be sent one by one.
        self.into: Callable[[Publish], None] | None = None
        #: The delivery tag of the last message on the open channel: the broker counts them from 1,
        #: whoever sent them, and its confirms name them.
        self.tag = 0

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
        self.body_size = 0
        if not properties.get("content_type"):
            content_type, content_encoding, body = self._write(body, serializer or "json")
            properties |= {"content_type": content_type, "content_encoding": content_encoding}
        # Not `super()`: where nothing may be traced, whatever a tracing package has put around it.
        kombus_publish = kombu.Producer.publish
        if not self._traces:
            kombus_publish = inspect.unwrap(kombus_publish)
            headers = tracing.without_traces(headers or {})
        if self.into is not None:
            composer = kombu.Producer(_Composer(self.connection, self.into), auto_declare=False)
            return kombus_publish(
                composer, body, routing_key, exchange=exchange, headers=headers, **properties
            )

        def send(remaining: float) -> Any:
            self.confirming()
            self.tag += 1
            return kombus_publish(
                self,
                body,
                routing_key,
                exchange=exchange,
                headers=headers,
                mandatory=True,
                retry=False,
                timeout=remaining,
                confirm_timeout=remaining,
                **properties,
            )

        return self._attempt(timeout).run(self, send)

    def transmit(self, message: Publish, seconds: float) -> None:
        """Send a message that is written already, once, and wait for the confirm.

        Args:
            message: it has never been sent, or its confirm never came.
            seconds: how long it may take.

        Raises:
            TimeoutError: not sent or not confirmed in time.
            MessageNacked: the queue refuses it.
            OSError: the connection is lost.
            amqp.AMQPError: the broker's own words.
        """
        until = time.monotonic() + seconds
        connection = self.confirming().connection
        transport = connection.transport
        self.tag += 1
        # Not py-amqp's context manager: whoever sees an error here drops the connection.
        transport.sock.settimeout(seconds)
        try:
            transport.write(message.frames(connection.frame_max))
            if not transport._read_buffer:  # noqa: SLF001 (see test_celery_contract.py)
                # Nearly always the confirm and nothing else.
                received = transport._quick_recv(_AT_ONCE)  # noqa: SLF001 (the same)
                if received == frames.confirm(self.tag):
                    transport.sock.settimeout(None)
                    return
                transport._read_buffer = received  # noqa: SLF001 (the same)
        except ssl.SSLError as error:
            if "timed out" in str(error):
                raise TimeoutError from error
            raise
        transport.sock.settimeout(None)
        self._await_confirm(connection, until)

    def _await_confirm(self, connection: Any, until: float) -> None:
        """Take frames until the confirm is among them; all else is py-amqp's."""
        while True:
            transport = connection.transport
            with transport.having_timeout(max(0.001, until - time.monotonic())):
                frame = transport.read_frame()
            answer = frames.answer(frame)
            if answer == frames.NACK:
                raise MessageNacked
            if answer == frames.ACK:
                break
            # A returned message, an alarm, a heartbeat, a closed channel.
            connection.on_inbound_frame(frame)
        if frames.unpack_answer(frame[2], 4)[0] != self.tag:
            raise RecoverableConnectionError("a confirm of another message")

    def ready(self) -> bool:
        """Whether a message can be sent at once: connected, with confirms, and no alarm."""
        channel = self._confirming
        return (
            channel is not None
            and self.alarm.reason is None
            and channel.connection is not None
            and channel.connection.connected
        )

    def revive(self, channel: Any) -> None:
        """Go on with another connection (kombu's own word)."""
        self._confirming = None
        super().revive(channel)

    def discard(self) -> None:
        """Drop the connection: a late confirm on it would be taken for another message's."""
        self.alarm.reason = None
        self._confirming = None
        self.__connection__.collect()

    def confirming(self) -> Any:
        """The open channel, on which the broker confirms; the connection must be there."""
        channel = self._confirming
        if channel is None:
            channel = self.channel
            if channel.channel_id != frames.CHANNEL:
                raise RecoverableConnectionError(f"a fresh connection's channel {channel!r}")
            channel.confirm_select()
            self._confirming, self.tag = channel, 0
        if channel.connection is None:
            raise RecoverableConnectionError("the connection was closed")
        return channel

    def _write(self, body: Any, serializer: str) -> tuple[str, str, Any]:
        try:
            content_type, content_encoding, payload = serialization.dumps(body, serializer)
        except EncodeError as error:
            raise arguments.not_serializable(error) from error
        self.body_size = len(payload.encode() if isinstance(payload, str) else payload)
        arguments.check_size(self.body_size, self._max_message_bytes)
        return content_type, content_encoding, payload


class _Composer:
    """The channel of a kombu producer that composes a message and sends nothing."""

    def __init__(self, client: kombu.Connection, into: Callable[[Publish], None]) -> None:
        #: Where kombu, and packages that trace it, look for the connection.
        self.connection = SimpleNamespace(client=client)
        self._into = into

    def prepare_message(self, body: Any, *given: Any) -> amqp.Message:
        """What kombu's own channel makes of a message."""
        priority, content_type, content_encoding, headers, properties = given
        return amqp.Message(
            body,
            priority=priority,
            content_type=content_type,
            content_encoding=content_encoding,
            application_headers=headers,
            **properties,
        )

    def basic_publish(
        self, message: amqp.Message, *, exchange: str, routing_key: str, **_: Any
    ) -> None:
        """Take it."""
        body = message.body
        self._into(
            frames.Publish(
                frames.publish_method(exchange, routing_key),
                message._serialize_properties(),  # noqa: SLF001 (see test_celery_contract.py)
                body.encode() if isinstance(body, str) else body,
            )
        )
