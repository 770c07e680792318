"""One process's end of the broker: what it takes, holds and settles."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

import amqp.spec
from amqp import Channel

from laneway.broker.deliveries import Delivery, Reader
from laneway.worker.direct import frames
from laneway.worker.direct.estate import is_cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    import kombu

    from laneway.worker.direct.slots import Slot

#: Seconds that a finished job's acknowledgement may wait for others to go with.
LONGEST_ACK_WAIT: Final = 0.05
_RECV_BYTES: Final = 256 * 1024
#: Jobs between two looks for more while some are held: each look is a system call or two.
_LOOK_EVERY: Final = 4
#: Seconds that the broker may take to answer a cancel.
_ANSWER: Final = 10.0


class Intake:
    """Deliveries in, settlements out, on one connection.

    The main thread takes and settles. The pulse thread may settle and send heartbeats meanwhile:
    every write holds the lock, and is announced in the record that the parent reads.

    Args:
        connection: open, and used by nobody else.
        queue: where jobs are taken from.
        slot: the process's record.
        wake: a socket that becomes readable when there is an order of the parent.
    """

    def __init__(
        self, connection: kombu.Connection, queue: str, slot: Slot, wake: socket.socket
    ) -> None:
        self._queue = queue
        self._slot = slot
        channel = connection.default_channel
        assert isinstance(channel, Channel)
        self._channel = channel
        self._id: int = channel.channel_id
        self._amqp = channel.connection
        self._transport = self._amqp.transport
        self.socket: socket.socket = self._transport.sock
        self._secured = hasattr(self.socket, "pending")
        self._lock = threading.Lock()
        self._reader = Reader(self._id, self._on_other, self._amqp.frame_max)
        self._held = self._reader.deliveries
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)
        self._poll.register(wake, select.POLLIN)
        self._wake = wake.fileno()
        self._subscriptions = self._cancels = 0
        self._return_held = False
        self._consumer_tag: bytes | None = None
        self._unsettled_since = 0.0
        self._batch = 1
        self._written_at = self._heard_at = time.monotonic()
        #: What broke the connection, whichever thread saw it.
        self._failure: Exception | None = None
        slot.channel = self._id
        slot.tag = slot.finished = slot.settled = slot.held = slot.writing = 0

    # -- subscription ------------------------------------------------------------------------

    @property
    def consuming(self) -> bool:
        """Whether the broker sends jobs."""
        return self._consumer_tag is not None

    def consume(self, prefetch: int) -> None:
        """Subscribe, holding at most ``prefetch`` deliveries; to be called when none is held.

        The broker counts for each subscription: what is held of another one would come on top.
        """
        self._subscriptions += 1
        tag = f"{self._queue}.{self._slot.pid}.{self._subscriptions}"
        # Half: while the other half runs, the broker sends as much again.
        self._batch = max(1, prefetch // 2)
        self._slot.prefetch = prefetch
        with self._writing():
            # Quorum queues fix it when a consumer starts, so each change is a new subscription.
            self._channel.send_method(amqp.spec.Basic.Qos, "lBb", (0, prefetch, False))
            self._channel.send_method(
                amqp.spec.Basic.Consume,
                "BssbbbbF",
                (0, self._queue, tag, False, False, False, True, {}),
            )
        self._consumer_tag = self._slot.consumer_tag = tag.encode()

    def stop_soon(self, *, return_held: bool = False) -> None:
        """Unsubscribe without waiting for the answer.

        Args:
            return_held: what is held then is given back before the next subscription.
        """
        self._return_held = self._return_held or return_held
        tag, self._consumer_tag = self._consumer_tag, None
        if tag is None:
            return
        with self._writing():
            self._channel.send_method(amqp.spec.Basic.Cancel, "sb", (tag.decode(), False))
            self._cancels += 1

    def stop(self) -> None:
        """Unsubscribe, and wait until the broker sends nothing more.

        Raises:
            ConnectionError: the broker did not answer.
        """
        self.stop_soon()
        self._await_cancels()

    def holds_nothing(self) -> bool:
        """Whether the last subscription has ended and all that came of it has begun.

        Raises:
            ConnectionError: the broker did not answer the end of the subscription.
        """
        self._await_cancels()
        if self._return_held:
            # Only now is everything here that was on its way: it goes back in its order.
            self.give_back_held()
            self._return_held = False
        return not self._held

    def _await_cancels(self) -> None:
        until = time.monotonic() + _ANSWER
        while self._reader.cancelled < self._cancels:
            if time.monotonic() > until:
                raise ConnectionError("the broker did not answer basic.cancel")
            self._receive(0.5)

    def give_back_held(self) -> None:
        """Give back what has not begun. The broker does not count it (4.3)."""
        with self._writing():
            if self._held:
                # One by one: "all" would mean the delivery that runs as well.
                self._send(b"".join(frames.give_back(self._id, d.tag) for d in self._held))
                self._held.clear()
            self._slot.held = 0

    # -- deliveries --------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Deliveries that have not begun."""
        return len(self._held)

    def take(self, wait: float) -> Delivery | None:
        """The next delivery; None if there is none within ``wait`` seconds or an order came."""
        if not self._held:
            self.settle()
            self._receive(wait)
        elif (left := len(self._held)) < self._batch and left % _LOOK_EVERY == 0:
            # Little may wait unread behind a job that turns out to be long.
            self._receive(0)
        with self._lock:
            if not self._held:
                return None
            delivery = self._held.popleft()
            self._slot.held = len(self._held)
        return delivery

    def _receive(self, wait: float) -> None:
        self._refuse_if_broken()
        if not (self._secured and self.socket.pending()):  # type: ignore[attr-defined]
            ready = self._poll.poll(wait * 1000)
            if not any(descriptor != self._wake for descriptor, _ in ready):
                return
        self.absorb()

    def absorb(self) -> None:
        """Read what is there, without waiting.

        Raises:
            ConnectionError: the broker has closed the connection.
        """
        with self._lock:
            try:
                # (TLS sockets take no flags. There the main thread alone reads, when it is ready.)
                data = self.socket.recv(_RECV_BYTES, 0 if self._secured else socket.MSG_DONTWAIT)
                if not data:
                    raise ConnectionError("the broker closed the connection")
                self._heard_at = time.monotonic()
                self._reader.feed(data)
            except BlockingIOError:
                return
            except Exception as error:
                self._failure = error
                raise
            self._slot.held = len(self._held)

    def hold_nothing(self) -> None:
        """What the pulse thread does while a long job runs: others may have what is held."""
        self.stop_soon(return_held=True)
        if not self._secured:
            self.absorb()
        self.give_back_held()

    def _on_other(self, kind: int, channel: int, payload: bytes) -> None:
        """What is no delivery: py-amqp knows what to do, and raises what went wrong."""
        if kind != 8:
            self._amqp.on_inbound_frame((kind, channel, payload))

    # -- settlements -------------------------------------------------------------------------

    def finish(self, tag: int) -> None:
        """The job of this delivery has ended well: acknowledge it, soon and with others."""
        slot = self._slot
        if slot.finished == slot.settled:
            self._unsettled_since = time.monotonic()
        slot.finished = tag
        if tag - slot.settled >= self._batch:
            self.settle()

    def settle(self) -> None:
        """Acknowledge everything that has ended."""
        slot = self._slot
        if slot.finished <= slot.settled:
            return
        with self._writing():
            tag = slot.finished
            if tag > slot.settled:
                self._send(frames.ack(self._id, tag))
                slot.settled = tag

    def refuse(self, tag: int, *, requeue: bool) -> None:
        """Reject this delivery: a dead letter, or back to the queue."""
        self.settle()
        with self._writing():
            self._send(frames.reject(self._id, tag, requeue=requeue))
            self._slot.finished = self._slot.settled = tag

    def beat(self, now: float, every: float) -> None:
        """What the pulse thread does: nothing waits too long, and the broker hears of us."""
        slot = self._slot
        if slot.finished > slot.settled and now - self._unsettled_since > LONGEST_ACK_WAIT:
            self.settle()
        if now - self._written_at > every:
            with self._writing():
                self._send(frames.HEARTBEAT)

    def idle(self, now: float, heartbeat: float) -> None:
        """Look whether the broker still speaks; to be called while no job runs.

        Raises:
            ConnectionError: nothing came for two heartbeats.
        """
        self._receive(0)
        if now - self._heard_at > 2 * heartbeat:
            raise ConnectionError(f"nothing heard from the broker for {2 * heartbeat:g} s")

    def lost(self) -> bool:
        """Whether the connection is gone, without reading from it."""
        return self._failure is not None or is_cut(self.socket)

    def _refuse_if_broken(self) -> None:
        """Stop a thread that would go on after what another has met.

        The pulse thread can be the first to read that the broker closes the connection, and
        py-amqp then closes the socket under the main thread.
        """
        if self._failure is not None:
            raise ConnectionError(str(self._failure)) from self._failure

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._refuse_if_broken()
            self._slot.writing = 1
            try:
                yield
            except Exception as error:
                self._failure = error
                raise
            # Not after an error: half a frame may be out, and nobody may add to it.
            self._slot.writing = 0

    def _send(self, data: bytes) -> None:
        self._transport.write(data)
        self._written_at = time.monotonic()
