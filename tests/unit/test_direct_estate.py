"""What the parent tells the broker in the stead of a process that is gone."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Literal

import pytest

from laneway.worker.direct import frames
from laneway.worker.direct.estate import Estate
from laneway.worker.direct.slots import Slots

if TYPE_CHECKING:
    from laneway.worker.direct.runner import Verdict
    from laneway.worker.direct.slots import Slot


@pytest.fixture
def slot() -> Slot:
    slot = Slots(1)[0]
    slot.channel, slot.consumer_tag = 1, b"low.1"
    return slot


def told(slot: Slot, verdict: Verdict | Literal["give-back"] | None) -> bytes:
    """What arrives at the other end, which answers the close behind half a frame."""
    ours, theirs = socket.socketpair()
    heard = b""

    def broker() -> None:
        nonlocal heard
        theirs.settimeout(10)
        while frames.close_channel(1) not in heard:
            heard += theirs.recv(65536)
        theirs.sendall(b"half of a delivery" + frames.channel_closed(1))

    thread = threading.Thread(target=broker)
    thread.start()
    try:
        assert Estate.of(slot, ours).settle(verdict)
    finally:
        thread.join(10)
        theirs.close()
    assert ours.fileno() == -1
    return heard


def run(slot: Slot, tag: int) -> None:
    slot.begin(tag, "id", "task", redelivered=False, hard=0, soft=0)


HEAD, TAIL = frames.cancel(1, b"low.1"), frames.give_back_all(1) + frames.close_channel(1)


@pytest.mark.parametrize(
    ("verdict", "settlement"),
    [
        ("ack", frames.ack_one(1, 5)),
        ("dead-letter", frames.reject(1, 5, requeue=False)),
        ("requeue", frames.reject(1, 5, requeue=True)),
        (None, frames.reject(1, 5, requeue=True)),
        ("give-back", b""),
    ],
)
def test_the_job_that_ran_gets_its_verdict(
    slot: Slot, verdict: Verdict | Literal["give-back"] | None, settlement: bytes
) -> None:
    slot.finished = slot.settled = 4
    run(slot, 5)
    assert told(slot, verdict) == HEAD + settlement + TAIL


def test_what_had_ended_well_is_acknowledged(slot: Slot) -> None:
    slot.finished, slot.settled = 4, 2
    run(slot, 5)
    assert told(slot, "ack") == HEAD + frames.ack(1, 4) + frames.ack_one(1, 5) + TAIL


def test_a_job_that_had_ended_needs_no_verdict(slot: Slot) -> None:
    run(slot, 5)
    slot.finished = 5
    assert told(slot, "dead-letter") == HEAD + frames.ack(1, 5) + TAIL


def test_nothing_is_added_to_half_a_frame(slot: Slot) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        slot.writing = 1
        assert not Estate.of(slot, ours).settle("dead-letter")
        assert theirs.recv(1) == b""


def test_a_broker_that_is_gone_is_no_error(slot: Slot) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    assert not Estate.of(slot, ours).settle(None)
