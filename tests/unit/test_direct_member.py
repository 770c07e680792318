"""One place in a direct group, and the process that fills it."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from laneway.worker.direct.member import Member
from laneway.worker.direct.slots import ABSENT, CONSUME, Slots

if TYPE_CHECKING:
    from collections.abc import Iterator


class Nursery:
    """Forks processes that only wait to be ended."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.theirs: list[socket.socket] = []

    def fork(self, index: int) -> socket.socket:
        del index
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        pid = os.fork()
        if not pid:
            while True:
                signal.pause()
        self.pids.append(pid)
        self.theirs.append(theirs)
        return ours

    def status(self) -> int:
        """How the last process ended."""
        _, status = os.waitpid(self.pids.pop(), 0)
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for theirs in self.theirs:
            theirs.close()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def member(nursery: Nursery) -> Iterator[Member]:
    """A place whose process is there and consumes."""
    member = Member(0, Slots(1)[0])
    fill(member, nursery)
    yield member
    member.close()


def fill(member: Member, nursery: Any) -> None:
    member.wanted = True
    member.fork(nursery, CONSUME)
    member.arrived(nursery.pids[-1])


def begin(member: Member, *, hard: float = 0.0, soft: float = 0.0) -> None:
    member.slot.begin(7, "an-id", "a.task", redelivered=False, hard=hard, soft=soft)


def test_the_record_says_the_first_order_before_the_process_is_there(nursery: Nursery) -> None:
    member = Member(0, Slots(1)[0])
    member.slot.events, member.slot.order = 1, 0
    fill(member, nursery)
    assert (member.slot.order, member.slot.events) == (CONSUME, 1)
    member.close()


def test_a_job_beyond_its_hard_limit_is_ended_with_its_process(
    member: Member, nursery: Nursery
) -> None:
    begin(member, hard=5)
    assert member.keep_limits(time.monotonic()) is None
    limited = member.keep_limits(time.monotonic() + 5)
    assert limited is not None
    ended, left = limited
    assert (ended.why, ended.task_id, ended.task) == ("limit", "an-id", "a.task")
    assert ended.limit == pytest.approx(5)
    assert left.tag == 7
    assert nursery.status() == -signal.SIGKILL
    # What is ended is ended once, by whomever.
    assert member.killed
    assert member.keep_limits(time.monotonic() + 5) is None
    assert member.end_job(member.slot.turn, "revoked") is None
    assert member.kill() is None


@pytest.mark.parametrize("why_not", ["it has ended", "it writes"])
def test_a_job_that_settles_itself_goes_on(member: Member, nursery: Nursery, why_not: str) -> None:
    begin(member)
    turn = member.slot.turn
    if why_not == "it writes":
        member.slot.writing = 1
    else:
        member.slot.end()
    assert member.end_job(turn, "revoked") is None
    assert not member.killed
    [pid] = nursery.pids
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        assert file.read().rpartition(")")[2].split()[0] != "T"


def test_what_a_process_reported_of_a_job_is_of_that_job_only(
    member: Member, nursery: Nursery
) -> None:
    begin(member)
    nursery.theirs[-1].send(b'{"turn": %d, "request": {"args": [1]}}' % member.slot.turn)
    seen = [member.request]
    member.listen()
    seen.append(member.request)
    member.slot.end()
    begin(member)
    seen.append(member.request)
    assert seen == [None, {"args": [1]}, None]


def test_a_process_that_fails_to_start_is_not_replaced_at_once(
    member: Member, nursery: Nursery
) -> None:
    pauses = []
    for _ in range(10):
        now = time.monotonic()
        member.gone(1, now)
        assert (member.slot.state, member.present, member.pid) == (ABSENT, False, 0)
        pauses.append(next(p for p in (0, 0.5, 1, 2, 4, 8, 16, 30) if member.missing(now + p)))
        fill(member, nursery)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    begin(member)
    member.gone(1, now := time.monotonic())
    assert member.missing(now)
    member.wanted = False
    assert not member.missing(now)
