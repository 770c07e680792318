"""The dead inbox of one virtual host: raw messages out, acknowledgements in, on one connection.

The frames are read as the worker's processes read theirs (:mod:`laneway.broker.deliveries`),
because the properties are wanted as bytes and may be nothing that can be decoded.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import amqp.spec

from laneway.broker.deliveries import Delivery, Reader
from laneway.topology import DEAD_INBOX
from laneway.worker.direct import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kombu.connection import Connection

_RECV_BYTES: Final = 256 * 1024


class Inbox:
    """A subscription to the dead inbox.

    Args:
        connection: open, and used by nobody else from now on.
        prefetch: messages that may be held at a time.
        name: what the broker's list of consumers shows.
    """

    def __init__(self, connection: Connection, prefetch: int, name: str) -> None:
        channel: Any = connection.default_channel
        self._id: int = channel.channel_id
        self._amqp = channel.connection
        self._transport = self._amqp.transport
        self._socket: socket.socket = self._transport.sock
        self._secured = hasattr(self._socket, "pending")
        self._reader = Reader(self._id, self._on_other, self._amqp.frame_max)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._heartbeat: float = self._amqp.heartbeat or 60
        self._heard_at = self._written_at = time.monotonic()
        # What is acknowledged up to here may be acknowledged as one.
        self._unbroken = True
        channel.send_method(amqp.spec.Basic.Qos, "lBb", (0, prefetch, False))
        channel.send_method(
            amqp.spec.Basic.Consume,
            "BssbbbbF",
            (0, DEAD_INBOX, f"{name}.{self._id}", False, False, False, True, {}),
        )

    def take(self, wait: float) -> list[Delivery]:
        """Messages that are there, oldest first; none if none came within ``wait`` seconds.

        Raises:
            OSError, amqp.AMQPError: the connection or the subscription is lost.
        """
        found = self._reader.deliveries
        if not found:
            self._receive(wait)
        # What the broker has sent already goes with the same batch.
        while found and self._receive(0):
            pass
        self.beat()
        taken = list(found)
        found.clear()
        return taken

    def ack(self, tags: Sequence[int]) -> None:
        """Settle messages, the oldest first; those before them that were not named stay held.

        Raises:
            OSError: the connection is lost.
        """
        if not tags:
            return
        if self._unbroken:
            self._send(frames.ack(self._id, tags[-1]))
        else:
            self._send(b"".join(frames.ack_one(self._id, tag) for tag in tags))

    def hold(self) -> None:
        """From now on some messages stay unsettled among others that are settled."""
        self._unbroken = False

    def beat(self) -> None:
        """Let the broker hear of us; to be called every few seconds.

        Raises:
            OSError: the connection is lost, or nothing was heard of the broker for too long.
        """
        now = time.monotonic()
        if now - self._written_at > self._heartbeat / 3:
            self._send(frames.HEARTBEAT)
        if now - self._heard_at > self._heartbeat:
            # What came meanwhile, while something else was done, counts.
            self._receive(0)
        if now - self._heard_at > 2 * self._heartbeat:
            raise ConnectionError(f"nothing heard from the broker for {2 * self._heartbeat:g} s")

    def _receive(self, wait: float) -> bool:
        """Read once, if there is something within ``wait`` seconds."""
        pending = self._secured and self._socket.pending()  # type: ignore[attr-defined]
        if not pending and not self._poll.poll(wait * 1000):
            return False
        try:
            # (TLS sockets take no flags; one that is readable has at least a record to come.)
            data = self._socket.recv(_RECV_BYTES, 0 if self._secured else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionError("the broker closed the connection")
        self._heard_at = time.monotonic()
        self._reader.feed(data)
        return True

    def _on_other(self, kind: int, channel: int, payload: bytes) -> None:
        """What is no delivery: py-amqp knows what to do, and raises what went wrong."""
        if kind != 8:
            self._amqp.on_inbound_frame((kind, channel, payload))

    def _send(self, data: bytes) -> None:
        self._transport.write(data)
        self._written_at = time.monotonic()
