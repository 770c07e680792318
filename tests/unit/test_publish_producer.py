"""Waiting for the confirm of one message, whatever else the broker says first."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from amqp.exceptions import MessageNacked, RecoverableConnectionError

from laneway.publish import frames
from laneway.publish.producer import Alarm, JobProducer

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE = frames.Publish(frames.publish_method("jobs", "low"), b"\0\0", b"{}")
HEARTBEAT = struct.pack(">BHI", 8, 0, 0) + b"\xce"
BLOCKED = struct.pack(">BHIHH", 1, 0, 8, 10, 60) + b"\x03low\xce"


def answer(method: int, tag: int, *, multiple: bool = False) -> bytes:
    payload = struct.pack(">HHQB", 60, method, tag, multiple)
    return struct.pack(">BHI", 1, frames.CHANNEL, len(payload)) + payload + b"\xce"


ACK = answer(80, 1)


class Wired:
    """A producer whose broker is the other end of a socket."""

    def __init__(self) -> None:
        ours, self.broker = socket.socketpair()
        self.alarm = Alarm()
        connection = amqp.Connection(on_blocked=self.alarm.on_blocked)
        connection.transport = amqp.transport.TCPTransport("nowhere")
        connection.transport.sock = ours
        connection.transport._setup_transport()
        connection.transport.connected = True
        connection.on_inbound_frame = connection.frame_handler_cls(
            connection, connection.on_inbound_method
        )
        self.transport = connection.transport
        producer: Any = JobProducer.__new__(JobProducer)
        producer.alarm, producer.tag = self.alarm, 0
        producer._confirming = amqp.Channel(connection, 1, auto_decode=False)
        self.producer: JobProducer = producer

    def close(self) -> None:
        self.transport.sock.close()
        self.broker.close()


@pytest.fixture
def wired() -> Iterator[Wired]:
    wired = Wired()
    yield wired
    wired.close()


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (ACK, b""),
        (answer(80, 1, multiple=True), b""),
        (HEARTBEAT + ACK, b""),
        (BLOCKED + ACK, b""),
        (ACK + HEARTBEAT, HEARTBEAT),
    ],
    ids=["confirm", "confirm of all before", "heartbeat", "alarm", "more behind it"],
)
def test_a_confirm_is_found(wired: Wired, said: bytes, left: bytes) -> None:
    wired.broker.sendall(said)
    wired.producer.transmit(MESSAGE, 3)
    assert wired.broker.recv(999) == MESSAGE.frames(131072)
    assert wired.transport._read_buffer == left
    assert wired.transport.sock.gettimeout() is None
    assert (wired.alarm.reason is not None) == (said == BLOCKED + ACK)


def test_what_was_left_is_read_first(wired: Wired) -> None:
    wired.broker.sendall(ACK + HEARTBEAT + answer(80, 2))
    wired.producer.transmit(MESSAGE, 3)
    wired.producer.transmit(MESSAGE, 3)
    assert wired.transport._read_buffer == b""


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_confirm_may_come_in_pieces(wired: Wired, cut: int) -> None:
    wired.broker.sendall(ACK[:cut])
    later = threading.Timer(0.05, wired.broker.sendall, [ACK[cut:]])
    later.start()
    wired.producer.transmit(MESSAGE, 3)
    later.join()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (answer(120, 1), MessageNacked),
        (answer(80, 7), RecoverableConnectionError),
        (ACK[:-1] + b"\0", amqp.exceptions.UnexpectedFrame),
        (b"", TimeoutError),
        (ACK[:9], TimeoutError),
    ],
    ids=["refused", "of another message", "no frame", "silence", "half a confirm"],
)
def test_all_else_is_an_error_within_the_deadline(
    wired: Wired, said: bytes, error: type[Exception]
) -> None:
    wired.broker.sendall(said)
    began = time.monotonic()
    with pytest.raises(error):
        wired.producer.transmit(MESSAGE, 0.2)
    assert time.monotonic() - began < 1


def test_a_connection_that_ends_is_lost(wired: Wired) -> None:
    wired.broker.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError, match="closed"):
        wired.producer.transmit(MESSAGE, 3)
    assert not wired.producer.ready()


def test_a_timeout_of_tls_is_a_timeout(wired: Wired) -> None:
    def read(_size: int) -> bytes:
        raise ssl.SSLError("The read operation timed out")

    wired.transport._quick_recv = read
    with pytest.raises(TimeoutError):
        wired.producer.transmit(MESSAGE, 3)


def test_it_is_ready_while_it_is_connected_and_no_alarm_is_on(wired: Wired) -> None:
    producer: Any = wired.producer
    assert producer.ready()
    wired.alarm.on_blocked("low on memory")
    assert not producer.ready()
    wired.alarm.on_unblocked()
    assert producer.ready()
    producer._confirming.connection = None
    assert not producer.ready()
    producer._confirming = None
    assert not producer.ready()
