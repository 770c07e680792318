"""Streams in memory: a broker with one, and both of them as a reader of streams gives them."""

from __future__ import annotations

import contextlib
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from laneway.deadletter import audit, envelope
from laneway.deadletter.audit import Entry
from laneway.deadletter.stream import Stored
from laneway.topology import AUDIT_STREAM, LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.deadletter.audit import Verb
    from laneway.deadletter.letter import Letter
    from laneway.deadletter.stream import Start


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def deliver(tag: int) -> bytes:
    return frame(1, b"\0\x3c\0\x3c\3tag" + struct.pack(">Q", tag) + b"\0\0\6stream")


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
        #: It has closed the connection; the reader let go of it without a word.
        self.closed = self.collected = False
        #: Comes before everything else.
        self.instead = b""
        self.connection = SimpleNamespace(transport=self, frame_max=131_072)
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
        places = {"first": self._first, "last": last_chunk}
        self._next = places[start] if isinstance(start, str) else max(self._first, start)
        self._deliver()

    def having_timeout(self, _seconds: float) -> Any:
        return contextlib.nullcontext()

    def collect(self) -> None:
        self.collected = True

    def recv(self, size: int) -> bytes:
        if self.closed:
            return b""
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
            properties = struct.pack(">HHQHI", 60, 0, len(body), 0x2000, len(headers)) + headers
            self._out += deliver(self._tag) + frame(2, properties)
            for at in range(0, len(body), 2):
                self._out += frame(3, body[at : at + 2])
            self._next += 1


class Streams:
    """Streams in memory, which are read as those of a broker are."""

    def __init__(self) -> None:
        self.stored: dict[str, list[Stored]] = {LETTER_STREAM: [], AUDIT_STREAM: []}
        self.read = 0

    def post(self, *letters: Letter | bytes) -> None:
        for one in letters:
            self._append(LETTER_STREAM, one if isinstance(one, bytes) else envelope.encode(one))

    def note(self, verb: Verb, *letters: str, **given: Any) -> None:
        entry = Entry(verb=verb, at=given.pop("at", 5.0), by="me", letters=letters, **given)
        self._append(AUDIT_STREAM, audit.encode(entry))

    def forget(self, stream: str, before: int) -> None:
        self.stored[stream] = [one for one in self.stored[stream] if one.offset >= before]

    def first_offset(self, stream: str) -> int | None:
        return self.stored[stream][0].offset if self.stored[stream] else None

    def last(self, stream: str, *, has_some: bool = False) -> Stored | None:
        return self.stored[stream][-1] if self.stored[stream] else None

    def entries(self, stream: str, start: Start, last: int) -> Iterator[list[Stored]]:
        first = start if isinstance(start, int) else 0
        found = [one for one in self.stored[stream] if first <= one.offset <= last]
        self.read += len(found)
        for at in range(0, len(found), 3):
            yield found[at : at + 3]

    def _append(self, stream: str, body: bytes) -> None:
        stored = self.stored[stream]
        stored.append(Stored(stored[-1].offset + 1 if stored else 0, body))
