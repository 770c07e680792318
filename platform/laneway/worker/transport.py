"""py-amqp as workers need it: no message can stop the connection, and its bytes are kept.

py-amqp decodes properties and headers where it reads frames. What it cannot decode (a time after
the year 9999, text that is no UTF-8, tables inside each other without end) raises there, outside of
all that knows of messages: the connection is lost, the broker delivers the message again, and so
without end. And kombu decompresses a body before anybody has seen its size. Here such a message
arrives like any other, and :mod:`laneway.worker.gate` refuses it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import amqp
from amqp import spec
from amqp.exceptions import UnexpectedFrame
from kombu.message import Message
from kombu.transport import TRANSPORT_ALIASES, pyamqp

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.worker.gate import Run
    from laneway.worker.letters import Failure

_METHOD: Final = 1
_HEADER: Final = 2
_BODY: Final = 3
_HEARTBEAT: Final = 8
#: Bytes before the properties in a content header: class, weight and the body's size.
_BEFORE_PROPERTIES: Final = 12
_CONTENT_METHODS: Final = frozenset({spec.Basic.Return, spec.Basic.Deliver, spec.Basic.GetOk})
_signature = Struct(">HH").unpack_from

# What kombu calls the transports: it takes the one of the scheme when it goes to the next member of
# a cluster, and forgets the class that it was given.
_SCHEMES: Final = {"pyamqp": "laneway-amqp", "amqps": "laneway-amqps"}


class JobMessage(Message):
    """A message as kombu and Celery know it, with what the platform needs to know of it."""

    #: What the gate made of it: what Celery then gets for its parts.
    job: Run | None = None
    #: Makes a dead letter of it instead of rejecting it.
    bury: Callable[[Failure], None] | None = None
    #: Whether that was done.
    buried = False

    def __init__(self, incoming: Incoming, channel: Any = None, **more: Any) -> None:
        properties = incoming.properties
        # Without its headers: kombu would decompress the body as they say, without a bound.
        super().__init__(
            body=incoming.body,
            channel=channel,
            delivery_tag=incoming.delivery_tag,
            content_type=properties.get("content_type"),
            content_encoding=properties.get("content_encoding"),
            delivery_info=incoming.delivery_info,
            properties=properties,
            **more,
        )
        self.headers = properties.get("application_headers") or {}
        #: Flags and values of the properties, and the body, as they came.
        self.raw_properties = incoming.raw_properties
        self.raw_body = incoming.body
        #: Whether the properties could be decoded.
        self.readable = incoming.readable

    def decode(self) -> Any:
        """The parts of the job, which the gate has decoded already."""
        if self.job is not None:
            return self.job.args, self.job.kwargs, self.job.embed
        return super().decode()


class Incoming(amqp.Message):
    """A message under way, whose properties need not be any."""

    raw_properties = b""
    readable = True

    def inbound_header(self, buf: bytes, offset: int = 0) -> int:
        """py-amqp's hook for the content header."""
        start = offset + _BEFORE_PROPERTIES
        self.raw_properties = bytes(buf[start:])
        try:
            return int(super().inbound_header(buf, offset))
        except Exception:  # noqa: BLE001 (the decoder raises whatever wrong bytes make it raise)
            self.readable = False
            self.properties: dict[str, Any] = {}
            self.ready = not self.body_size
            return start


class FrameHandler:
    """py-amqp's frame handler, for :class:`Incoming`.

    Args:
        connection: counts what it received.
        callback: takes each method with its channel, arguments and message, if it has one.
    """

    def __init__(self, connection: Any, callback: Callable[..., Any]) -> None:
        self._connection = connection
        self._callback = callback
        self._under_way: dict[int, Incoming] = {}
        self._has_header: set[int] = set()

    def __call__(self, frame: tuple[int, int, bytes]) -> bool:
        """Take a frame; whether it completed something.

        Raises:
            UnexpectedFrame: the broker does not keep to the protocol.
        """
        kind, channel, payload = frame
        self._connection.bytes_recv += 1
        if kind == _HEARTBEAT:
            return False
        message = self._under_way.get(channel)
        if kind == _METHOD and message is None:
            method = _signature(payload)
            if method in _CONTENT_METHODS:
                self._under_way[channel] = Incoming(frame_method=method, frame_args=payload)
                return False
            self._callback(channel, method, payload, None)
            return True
        if message is None or kind != (_BODY if channel in self._has_header else _HEADER):
            raise UnexpectedFrame(f"expected another frame on channel {channel}, got: {kind}")
        if kind == _HEADER:
            message.inbound_header(payload)
            self._has_header.add(channel)
        else:
            message.inbound_body(payload)
        if not message.ready:
            return False
        del self._under_way[channel]
        self._has_header.discard(channel)
        self._callback(channel, message.frame_method, message.frame_args, message)
        return True


class Channel(pyamqp.Channel):
    """kombu's channel, for :class:`JobMessage`."""

    Message = JobMessage


class Connection(pyamqp.Connection):
    """kombu's connection, for :class:`Incoming`."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "frame_handler": FrameHandler})


class Transport(pyamqp.Transport):
    """kombu's transport over py-amqp."""

    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection = Connection


def worker_urls(urls: str) -> str:
    """The URLs of a cluster (``;`` between members) for these transports; makes kombu know them."""
    TRANSPORT_ALIASES[_SCHEMES["pyamqp"]] = f"{__name__}:Transport"
    TRANSPORT_ALIASES[_SCHEMES["amqps"]] = f"{__name__}:SSLTransport"
    members = (url.partition("://") for url in urls.split(";"))
    return ";".join(f"{_SCHEMES[scheme]}://{rest}" for scheme, _, rest in members)
