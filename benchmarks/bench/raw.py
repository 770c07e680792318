"""Publishing bytes that are ready: the prefill of every system, and the yardstick of publishing.

One real message of a system is taken from its queue and encoded once. Its copies differ from it
only in the job's number and in the message's id, which are replaced in the bytes by others of the
same length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import amqp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The number of the job in the message that is copied, and of every real job: always ten digits.
MARK: Final = 4_000_000_000
#: Messages written at once, and those that may be unconfirmed.
_BATCH: Final = 64
_WINDOW: Final = 2048
#: Seconds without any confirm after which publishing is given up.
_SILENCE: Final = 60.0
#: Headers that a broker may add to what it delivers.
_BROKERS_OWN: Final = ("x-delivery-count", "x-acquired-count", "x-death")
_HEX: Final = 12


@dataclass(frozen=True, kw_only=True)
class Template:
    """A message of a system, ready to be copied."""

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    mark: bytes

    @classmethod
    def of(cls, message: Any, marks: Sequence[str]) -> tuple[Template, str]:
        """Take a message that ``channel.basic_get`` returned; also returns which mark it has.

        Args:
            message: it.
            marks: ids, one of which is in it.

        Raises:
            ValueError: the number or the id is not where it can be replaced.
        """
        fields = dict(message.properties)
        headers = dict(fields.get("application_headers") or {})
        fields["application_headers"] = {k: headers[k] for k in headers if k not in _BROKERS_OWN}
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        properties = amqp.Message(**fields)._serialize_properties()  # noqa: SLF001 (test_bench_raw.py)
        everywhere = properties + body
        for mark in marks:
            if str(MARK).encode() in body and mark.encode() in everywhere and len(mark) > _HEX:
                template = cls(
                    exchange=message.delivery_info["exchange"],
                    routing_key=message.delivery_info["routing_key"],
                    properties=properties,
                    body=body,
                    mark=mark.encode(),
                )
                return template, mark
        raise ValueError(f"expected the job {MARK} and an id of {marks} in the message: {body!r}")

    def copy(self, job: int) -> tuple[bytes, bytes]:
        """The properties and the body of the message of another job, with an id of its own."""
        number = b"%d" % job
        mark = self.mark[:-_HEX] + b"%012x" % job
        old = b"%d" % MARK
        return (
            self.properties.replace(self.mark, mark).replace(old, number),
            self.body.replace(self.mark, mark).replace(old, number),
        )


class RawPublisher:
    """A confirmed publisher of ready bytes. A context manager.

    Args:
        host, userid, password, virtual_host: where.
    """

    def __init__(self, **where: Any) -> None:
        self._connection = amqp.Connection(**where, heartbeat=0)
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.events["basic_nack"].add(self._refused)
        self._channel.events["basic_return"].add(self._returned)
        self._next_tag = 1
        self._open: dict[int, None] = {}
        #: Messages that the broker refused or could not route.
        self.refused = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def publish(self, template: Template, jobs: Iterable[int]) -> int:
        """Publish a copy for each job, many in one write; return when all are confirmed.

        Returns:
            how many were published.

        Raises:
            RuntimeError: the broker refused some, or could not route them.
        """
        method = _publish_method(template.exchange, template.routing_key)
        write = self._connection.transport.write
        batch: list[bytes] = []
        count = 0
        for job in jobs:
            properties, body = template.copy(job)
            batch.append(_frames(self._channel.channel_id, method, properties, body))
            self._open[self._next_tag] = None
            self._next_tag += 1
            count += 1
            if len(batch) >= _BATCH:
                write(b"".join(batch))
                batch.clear()
                self._wait_for_confirms(_WINDOW)
        write(b"".join(batch))
        self._wait_for_confirms(0)
        return count

    def publish_singly(self, template: Template, copies: Iterable[tuple[bytes, bytes]]) -> int:
        """Publish copies through py-amqp's own ``basic_publish``, one write each: the yardstick.

        Returns and raises as :meth:`publish`.
        """
        count = 0
        for properties, body in copies:
            self._channel.basic_publish(
                _Ready(properties, body),
                exchange=template.exchange,
                routing_key=template.routing_key,
                mandatory=True,
            )
            self._open[self._next_tag] = None
            self._next_tag += 1
            count += 1
            if count % _BATCH == 0:
                self._wait_for_confirms(_WINDOW)
        self._wait_for_confirms(0)
        return count

    def _wait_for_confirms(self, most: int) -> None:
        while len(self._open) > most:
            self._connection.drain_events(timeout=_SILENCE)
        if self.refused:
            raise RuntimeError(
                f"the broker refused {self.refused} raw messages: is the queue full?"
            )

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if not multiple:
            self._open.pop(tag, None)
            return
        while self._open and (oldest := next(iter(self._open))) <= tag:
            del self._open[oldest]

    def _refused(self, tag: int, multiple: bool) -> None:
        before = len(self._open)
        self._confirmed(tag, multiple)
        self.refused += before - len(self._open)

    def _returned(self, *_: Any) -> None:
        self.refused += 1


class _Ready(amqp.Message):
    """A message whose properties are encoded already."""

    def __init__(self, properties: bytes, body: bytes) -> None:
        super().__init__(body)
        self._ready_properties = properties

    def _serialize_properties(self) -> bytes:
        return self._ready_properties


def _publish_method(exchange: str, routing_key: str) -> bytes:
    """``basic.publish``, mandatory."""
    return struct.pack(">HHH", 60, 40, 0) + _short(exchange) + _short(routing_key) + b"\x01"


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _frames(channel: int, method: bytes, properties: bytes, body: bytes) -> bytes:
    """The three frames of one message; the body must fit into one (it is a few hundred bytes)."""
    header = struct.pack(">HHQ", 60, 0, len(body)) + properties
    return b"".join(
        struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
        for kind, payload in ((1, method), (2, header), (3, body))
    )
