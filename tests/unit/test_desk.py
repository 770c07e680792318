"""The desk: work aside, settled in the loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from laneway.worker.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Callable


def test_work_is_done_aside_and_settled_when_the_loop_says_so() -> None:
    asked: list[Callable[[], None]] = []
    came = threading.Event()
    settled: list[Any] = []

    def in_loop(call: Callable[[], None]) -> None:
        asked.append(call)
        came.set()

    desk = Desk(in_loop)
    desk.do(threading.get_ident, settled.append)
    assert came.wait(10)
    assert settled == []
    asked[0]()
    assert settled != [threading.get_ident()]
    assert len(settled) == 1


def test_closing_waits_for_what_is_under_way_and_settles_it() -> None:
    settled: list[str] = []
    go_on = threading.Event()
    desk = Desk(lambda _: None)
    desk.do(lambda: go_on.wait(10), lambda _: settled.append("late"))
    desk.do(lambda: None, lambda _: settled.append("early"))
    threading.Timer(0.2, go_on.set).start()
    desk.close(10)
    assert sorted(settled) == ["early", "late"]


def test_closing_leaves_what_takes_too_long() -> None:
    settled: list[str] = []
    go_on = threading.Event()
    desk = Desk(lambda _: None)
    desk.do(lambda: go_on.wait(10), lambda _: settled.append("too late"))
    desk.close(0.05)
    assert settled == []
    go_on.set()


def test_work_that_fails_settles_nothing_and_stops_nobody() -> None:
    settled: list[Any] = []
    desk = Desk(lambda _: None)
    desk.do(lambda: 1 // 0, settled.append)
    desk.do(lambda: 7, settled.append)
    desk.close(10)
    assert settled == [7]
