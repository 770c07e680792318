"""A reader comes to its end whatever comes at once, and asks for no more than it needs."""

from __future__ import annotations

import contextlib
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from laneway.deadletter.stream import Stored, StreamReader
from laneway.errors import BrokerError


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


class Stream:
    """A broker with one stream of so many entries; also connection, channel and transport."""

    channel_id = 1

    def __init__(self, count: int, *, first: int = 0, chunk: int = 7, piece: int = 100) -> None:
        self._count, self._first, self._chunk, self._piece = count, first, chunk, piece
        self._next = self._tag = self._unacked = self._prefetch = 0
        self._out = b""
        self._ended = False
        #: Entries that were sent.
        self.sent = 0
        #: Comes before everything else.
        self.instead = b""
        self.connection = SimpleNamespace(transport=self)
        self.sock = self

    def channel(self) -> Any:
        return self

    def close(self) -> None:
        assert self._ended, "the subscription is cancelled first"

    def queue_declare(self, _name: str, *, passive: bool) -> Any:
        assert passive
        return SimpleNamespace(message_count=0)

    def basic_qos(self, _size: int, count: int, _all: bool) -> None:
        self._prefetch, self._unacked, self._tag, self._ended = count, 0, 0, False

    def basic_consume(self, _name: str, *, arguments: Any, **_: Any) -> None:
        start = arguments["x-stream-offset"]
        last_chunk = max(self._first, self._count - self._count % self._chunk)
        if last_chunk == self._count > self._first:
            last_chunk -= self._chunk
        self._next = {"first": self._first, "last": last_chunk}.get(start, start)
        self._deliver()

    def having_timeout(self, _seconds: float) -> Any:
        return contextlib.nullcontext()

    def recv(self, size: int) -> bytes:
        if self.instead:
            data, self.instead = self.instead, b""
            return data
        if not self._out:
            raise TimeoutError
        data, self._out = self._out[: self._piece], self._out[self._piece :]
        return data

    def write(self, data: bytes) -> None:
        method = data[7:11]
        if method == b"\0\x3c\0\x50":
            (tag,) = struct.unpack_from(">Q", data, 11)
            assert tag <= self._tag, "an ack of what was never sent"
            self._unacked = self._tag - tag
            self._deliver()
        elif method == b"\0\x3c\0\x0a":
            self._out += frame(1, b"\0\x3c\0\x0b")
        elif method == b"\0\x3c\0\x1e":
            self._ended = True
            self._out += frame(1, b"\0\x3c\0\x1f\0")

    def _deliver(self) -> None:
        while self._next < self._count and self._unacked < self._prefetch and not self._ended:
            self._tag += 1
            self._unacked += 1
            self.sent += 1
            body = str(self._next).encode() * (self._next % 3)
            headers = b"\x0fx-stream-offsetl" + struct.pack(">Q", self._next)
            tag = b"tag"
            deliver = b"\0\x3c\0\x3c" + bytes((len(tag),)) + tag + struct.pack(">Q", self._tag)
            properties = struct.pack(">HHQHI", 60, 0, len(body), 0x2000, len(headers)) + headers
            self._out += frame(1, deliver + b"\0\0\x06stream") + frame(2, properties)
            for at in range(0, len(body), 2):
                self._out += frame(3, body[at : at + 2])
            self._next += 1


def reader(stream: Stream) -> StreamReader:
    connection: Any = stream
    return StreamReader(connection)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.deadletter.stream._SETTLING_SECONDS", (0.0, 0.0))


@pytest.mark.parametrize("prefetch", [1, 2, 3, 10, 64, 1000])
@pytest.mark.parametrize(
    ("start", "last"), [(0, 0), (0, 99), (17, 17), (17, 18), (40, 90), (99, 99)]
)
@pytest.mark.parametrize("piece", [1, 13, 100_000])
def test_exactly_what_was_asked_for(start: int, last: int, prefetch: int, piece: int) -> None:
    stream = Stream(100, piece=piece)
    found = [
        one for some in reader(stream).entries("s", start, last, prefetch=prefetch) for one in some
    ]
    assert found == [Stored(n, str(n).encode() * (n % 3)) for n in range(start, last + 1)]
    assert stream.sent <= last - start + 1 + prefetch


def test_no_more_is_asked_for_than_is_wanted() -> None:
    stream = Stream(100, piece=13)
    assert len(list(reader(stream).entries("s", 17, 24, prefetch=10))) >= 1
    assert stream.sent == 10


@pytest.mark.parametrize(("count", "first"), [(0, 0), (1, 0), (7, 0), (14, 0), (100, 0), (100, 93)])
def test_where_a_stream_begins_and_ends(count: int, first: int) -> None:
    stream = Stream(count, first=first)
    assert reader(stream).first_offset("s") == (first if count else None)
    assert reader(stream).last_offset("s") == (count - 1 if count else None)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (frame(1, b"\0\x14\0\x28" + struct.pack(">HB", 403, 4) + b"ouch\0\0\0\0"), "403 ouch"),
        (frame(1, b"\0\x3c\0\x1e\3tag\0"), "deleted or moved"),
        (b"\1\0\1\0\0\0\0x", "end of an AMQP frame"),
        (frame(2, struct.pack(">HHQH", 60, 0, 3, 0)), "another kind of queue"),
    ],
)
def test_what_the_broker_says_instead(instead: bytes, said: str) -> None:
    stream = Stream(10)
    stream.instead = instead
    with pytest.raises(BrokerError, match=said):
        list(reader(stream).entries("s", 0, 9))


def test_a_broker_that_says_nothing_more() -> None:
    with pytest.raises(BrokerError, match="no sign"):
        list(reader(Stream(10)).entries("s", 0, 20))
