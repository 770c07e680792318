"""Closing events: at the end of a storm, and of the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from laneway.sentry.closing import Closer
from laneway.sentry.storm import BURST, QUIET, Held, Storm
from support.clock import Clock
from support.forked import true_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK = 0.01


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storm(clock: Clock) -> Storm:
    return Storm(clock=clock)


@pytest.fixture
def sent() -> list[Held]:
    return []


@pytest.fixture
def closer(storm: Storm, sent: list[Held]) -> Iterator[Closer]:
    closer = Closer(storm, sent.append, tick=TICK)
    yield closer
    closer.close(5)


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "storm-closing"]


def hold(storm: Storm, cause: str, times: int) -> None:
    for _ in range(BURST + times):
        storm.admit(cause)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.usefixtures("closer")
def test_without_anything_held_back_there_is_no_thread(storm: Storm) -> None:
    hold(storm, "a", 0)
    assert not threads()


@pytest.mark.usefixtures("closer")
def test_what_is_quiet_is_sent(storm: Storm, clock: Clock, sent: list[Held]) -> None:
    hold(storm, "a", 4)
    [thread] = threads()
    assert thread.daemon
    time.sleep(5 * TICK)
    assert sent == []
    clock.now += QUIET
    until(lambda: sent)
    hold(storm, "b", 2)
    assert threads() == [thread]
    clock.now += QUIET
    until(lambda: len(sent) == 2)
    assert [(held.cause, held.count) for held in sent] == [("a", 4), ("b", 2)]


def test_at_the_end_all_is_sent_and_the_thread_ends(
    storm: Storm, closer: Closer, sent: list[Held]
) -> None:
    hold(storm, "a", 1)
    hold(storm, "b", 2)
    closer.close(5)
    assert [(held.cause, held.count) for held in sent] == [("a", 1), ("b", 2)]
    assert not threads()


def test_after_the_end_it_begins_anew(storm: Storm, closer: Closer, sent: list[Held]) -> None:
    hold(storm, "a", 1)
    closer.close(5)
    hold(storm, "b", 2)
    assert len(threads()) == 1
    closer.close(5)
    assert [(held.cause, held.count) for held in sent] == [("a", 1), ("b", 2)]


def test_an_event_that_cannot_be_made_keeps_no_other_back(
    storm: Storm, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Held] = []

    def send(held: Held) -> None:
        if held.cause == "a":
            raise ValueError("no event")
        sent.append(held)

    closer = Closer(storm, send, tick=TICK)
    hold(storm, "a", 3)
    hold(storm, "b", 1)
    clock.now += QUIET
    until(lambda: sent)
    assert len(threads()) == 1
    hold(storm, "b", 5)
    closer.close(5)
    assert [(held.cause, held.count) for held in sent] == [("b", 1), ("b", 7)]
    assert "no closing event of a: 3 failures" in caplog.text


def test_the_end_waits_no_longer_than_it_may(
    storm: Storm, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def send(_: Held) -> None:
        entered.set()
        leave.wait(30)

    closer = Closer(storm, send, tick=TICK)
    hold(storm, "a", 1)
    clock.now += QUIET
    assert entered.wait(10)
    hold(storm, "b", 2)
    began = time.monotonic()
    closer.close(0.2)
    assert 0.15 < time.monotonic() - began < 2
    leave.set()
    until(lambda: not threads())
    assert "no time for a closing event of b: 2 failures" in caplog.text


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_has_a_thread_of_its_own(storm: Storm, closer: Closer, sent: list[Held]) -> None:
    hold(storm, "a", 1)

    def has_its_own() -> bool:
        had_none = not threads()
        hold(storm, "b", 2)
        has_one = len(threads()) == 1
        closer.close(5)
        return had_none and has_one and [(one.cause, one.count) for one in sent] == [("b", 2)]

    with closer._lock:
        assert true_in_child(has_its_own)
    closer.close(5)
    assert [(held.cause, held.count) for held in sent] == [("a", 1)]


def test_no_process_is_kept_from_ending() -> None:
    code = (
        "from laneway.sentry.closing import Closer\n"
        "from laneway.sentry.storm import Storm\n"
        "storm = Storm()\n"
        "closer = Closer(storm, print)\n"
        "print([storm.admit('a') for _ in range(5)], flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[0, 0, 0, None, None]\n"
    assert done.stderr == ""
