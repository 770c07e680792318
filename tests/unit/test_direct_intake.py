"""One process's end of the broker, used by two threads: what one of them meets, the other tells."""

from __future__ import annotations

import socket
from struct import pack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from amqp.exceptions import ConnectionForced

from laneway.broker.deliveries import METHOD
from laneway.worker.direct import frames
from laneway.worker.direct.intake import Intake
from laneway.worker.direct.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.worker.direct.slots import Slot

#: A frame of channel 0, which only py-amqp understands.
FOREIGN = pack(">BHI", METHOD, 0, 0) + b"\xce"


class Channel(amqp.Channel):
    """py-amqp's channel, as far as an intake asks for it."""

    def __init__(self, connection: Any) -> None:
        self.channel_id, self.connection = 1, connection

    def send_method(self, *_: Any, **__: Any) -> None:
        """Write something."""
        self.connection.transport.write(b"method")


class Ends:
    """An intake, and the broker's end of its connection."""

    def __init__(self, slot: Slot | None = None) -> None:
        ours, self.broker = socket.socketpair()
        self.wake, self._parent = socket.socketpair()

        def close(_: object) -> None:
            """What py-amqp does where the broker says that it closes the connection."""
            ours.close()
            raise ConnectionForced("the broker is shut down")

        self.transport = SimpleNamespace(sock=ours, write=ours.sendall)
        connection = SimpleNamespace(
            transport=self.transport, frame_max=131_072, on_inbound_frame=close
        )
        self.slot = slot or Slots(1)[0]
        lent: Any = SimpleNamespace(default_channel=Channel(connection))
        self.intake = Intake(lent, "low", self.slot, self.wake)
        self._ours = ours

    def close(self) -> None:
        for one in (self._ours, self.broker, self.wake, self._parent):
            one.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def test_what_closes_the_connection_is_told_by_whichever_thread_goes_on(ends: Ends) -> None:
    ends.broker.sendall(FOREIGN)
    # The pulse thread, while a job runs.
    with pytest.raises(ConnectionForced):
        ends.intake.hold_nothing()
    assert ends.intake.lost()
    # The main thread, when the job has ended; not "bad file descriptor".
    with pytest.raises(ConnectionError, match="the broker is shut down"):
        ends.intake.refuse(1, requeue=False)
    with pytest.raises(ConnectionError, match="the broker is shut down"):
        ends.intake.take(0)


def test_nothing_is_added_to_a_write_that_failed(ends: Ends) -> None:
    tries: list[bytes] = []

    def write(data: bytes) -> None:
        tries.append(data)
        raise TimeoutError("half of it is out")

    ends.transport.write = write
    with pytest.raises(TimeoutError):
        ends.intake.finish(1)
    with pytest.raises(ConnectionError, match="half of it is out"):
        ends.intake.settle()
    assert tries == [frames.ack(1, 1)]
    assert ends.slot.settled == 0
    # Nor may the parent.
    assert ends.slot.writing


def test_a_connection_that_is_whole_is_not_lost(ends: Ends) -> None:
    ends.intake.finish(1)
    ends.intake.settle()
    assert ends.broker.recv(100) == frames.ack(1, 1)
    assert not ends.intake.lost()
    assert not ends.slot.writing
    ends.broker.shutdown(socket.SHUT_RDWR)
    assert ends.intake.lost()


def test_a_fresh_connection_has_nothing_under_way() -> None:
    slot = Slots(1)[0]
    slot.writing = slot.tag = slot.finished = 1
    Ends(slot).close()

    assert (slot.writing, slot.tag, slot.finished) == (0, 0, 0)
