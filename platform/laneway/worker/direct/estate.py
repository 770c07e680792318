"""What a process leaves unsettled when it is killed or dies, settled by the parent in its stead.

The parent holds a duplicate of the process's connection, so the connection outlives the process,
and with it the deliveries. What had ended well is acknowledged (no duplicate), the job that ran
gets its verdict, and everything else is given back, which RabbitMQ 4.3 does not count as a failed
delivery: a job that never began is not charged for its neighbour.
"""

from __future__ import annotations

import logging
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from laneway.worker.direct import frames

if TYPE_CHECKING:
    import socket

    from laneway.worker.direct.runner import Verdict
    from laneway.worker.direct.slots import Slot

log = logging.getLogger(__name__)

#: Seconds that the broker may take to answer.
_ANSWER: Final = 10.0


@dataclass(frozen=True, slots=True)
class Estate:
    """The deliveries of a process that is gone, and the connection that they belong to."""

    #: None where nobody else can write to it (TLS): the broker then gives all back, and counts.
    connection: socket.socket | None
    channel: int
    consumer_tag: bytes
    #: The delivery that ran; 0 if none did.
    tag: int
    #: Up to here all jobs had ended well; up to ``settled`` the broker knew it.
    finished: int
    settled: int

    @classmethod
    def of(cls, slot: Slot, connection: socket.socket | None) -> Estate:
        """Read the record of a process that is stopped or dead.

        A process that died while it wrote leaves half a frame: then nothing may be added.
        """
        if slot.writing and connection is not None:
            connection.close()
            connection = None
        runs = slot.running and slot.tag > slot.finished
        return cls(
            connection,
            slot.channel,
            slot.consumer_tag,
            slot.tag if runs else 0,
            slot.finished,
            slot.settled,
        )

    @property
    def is_the_brokers(self) -> bool:
        """Whether the broker gives all of it to others anyway, for the connection is gone."""
        return self.connection is None or is_cut(self.connection)

    def settle(self, verdict: Verdict | Literal["give-back"] | None) -> bool:
        """Tell the broker and close; whether it has taken note.

        Args:
            verdict: what becomes of the delivery that ran; None leaves it to the broker.
        """
        if self.connection is None:
            return False
        try:
            self.connection.settimeout(_ANSWER)
            self.connection.sendall(self._frames(verdict))
            return self._closed(self.connection)
        except OSError as error:
            log.warning("what a process left was not settled, the broker gives it back: %s", error)
            return False
        finally:
            self.connection.close()

    def give_back(self) -> bool:
        """Return everything to the queue, uncharged: an operator, not a job, ended the process."""
        return self.settle("give-back")

    def _frames(self, verdict: Verdict | Literal["give-back"] | None) -> bytes:
        # First of all: what is given back must not come to this connection again.
        parts = [frames.cancel(self.channel, self.consumer_tag)]
        if self.finished > self.settled:
            parts.append(frames.ack(self.channel, self.finished))
        if self.tag:
            match verdict:
                case "ack":
                    parts.append(frames.ack_one(self.channel, self.tag))
                case "dead-letter":
                    parts.append(frames.reject(self.channel, self.tag, requeue=False))
                case "give-back":
                    pass
                case _:
                    # Counted by the broker: whatever it was, this delivery ended badly.
                    parts.append(frames.reject(self.channel, self.tag, requeue=True))
        parts.append(frames.give_back_all(self.channel))
        parts.append(frames.close_channel(self.channel))
        return b"".join(parts)

    def _closed(self, connection: socket.socket) -> bool:
        """Wait for the answer: what comes before it begins in the middle of a frame, maybe."""
        answer = frames.channel_closed(self.channel)
        seen = b""
        until = time.monotonic() + _ANSWER
        while time.monotonic() < until:
            data = connection.recv(65536)
            if not data:
                return False
            seen = seen[-len(answer) :] + data
            if answer in seen:
                return True
        return False


def is_cut(connection: socket.socket) -> bool:
    """Whether the other end is gone, without reading from the connection."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
