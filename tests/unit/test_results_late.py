"""Results that wait for their backend, with one that can be away."""

from __future__ import annotations

import logging
import os
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from laneway.results.backlog import Write
from laneway.results.late import LateResults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What a result says that nobody may read in a log.
SECRET = "hunter2"


class Backend:
    """Notes what is written, unless it is away."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.away = False
        self.asked = 0
        self.refused: set[str] = set()

    def write(self, what: str, kind: str = "result", size: int = 1, rest: float = 0.0) -> Write:
        def write() -> None:
            self.asked += 1
            if self.away or what in self.refused:
                raise ConnectionError(f"no answer to SET {SECRET}")
            self.written.append(what)

        return Write(kind, write, size, rest)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def lost() -> list[tuple[str | None, str | None, str]]:
    return []


@pytest.fixture
def make(lost: list[tuple[str | None, str | None, str]]) -> Iterator[Callable[..., LateResults]]:
    made: list[LateResults] = []

    def make(**given: float) -> LateResults:
        options: dict[str, object] = {"first_pause": 0.01, **given}
        late = LateResults(lambda *what: lost.append(what), **options)  # type: ignore[arg-type]
        made.append(late)
        return late

    yield make
    for late in made:
        late.close(0)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_waits_is_written_in_order_once_the_backend_is_back(
    make: Callable[..., LateResults], backend: Backend, lost: list[object]
) -> None:
    late = make()
    backend.away = True
    for name in "abc":
        late.add(name, "task", backend.write(name))
    until(lambda: backend.asked > 2)
    assert late.waiting == 3
    assert late.is_away()
    assert late.holds("b")
    backend.away = False
    until(lambda: not late.waiting)
    assert sorted(backend.written) == ["a", "b", "c"]
    assert not late.troubled
    assert not late.is_away()
    assert lost == []


def test_while_it_is_away_only_the_thread_asks_and_ever_more_seldom(
    make: Callable[..., LateResults], backend: Backend
) -> None:
    late = make(first_pause=0.1)
    backend.away = True
    for number in range(100):
        late.add(str(number), None, backend.write(str(number)))
    time.sleep(0.5)
    assert 2 <= backend.asked <= 6


def test_of_one_job_the_last_result_is_written_and_before_its_part_of_a_chord(
    make: Callable[..., LateResults], backend: Backend
) -> None:
    late = make(first_pause=0.1)
    backend.away = True
    late.add("a", None, backend.write("failed"))
    until(lambda: backend.asked)
    late.add("a", None, backend.write("succeeded"))
    late.add("a", None, backend.write("counted", "part"))
    assert late.waiting == 1
    backend.away = False
    until(lambda: not late.waiting)
    assert backend.written == ["succeeded", "counted"]


def test_a_result_that_comes_while_an_older_one_is_tried_takes_its_place(
    make: Callable[..., LateResults], backend: Backend
) -> None:
    late = make()
    tried, go_on = threading.Event(), threading.Event()

    def old() -> None:
        tried.set()
        go_on.wait(10)
        backend.asked += 1
        if backend.asked == 1:
            raise ConnectionError
        backend.written.append("old")

    late.add("a", None, Write("result", old))
    assert tried.wait(10)
    assert late.holds("a")
    late.add("a", None, backend.write("new"))
    assert late.waiting == 2
    go_on.set()
    until(lambda: not late.waiting)
    assert backend.written == ["new"]


def test_one_that_is_refused_does_not_hold_up_the_others(
    make: Callable[..., LateResults], backend: Backend, lost: list[object]
) -> None:
    late = make(longest=0.3)
    backend.refused = {"a"}
    for name in "abc":
        late.add(name, "task", backend.write(name))
    until(lambda: len(backend.written) == 2)
    assert late.holds("a")
    until(lambda: lost)
    assert lost == [("task", "a", "not stored for 0.3 s (ConnectionError)")]
    assert late.waiting == 0


def test_what_may_have_happened_in_part_is_left_alone_for_a_while(
    make: Callable[..., LateResults], backend: Backend
) -> None:
    late = make()
    backend.refused = {"counted"}
    began = time.monotonic()
    late.add("a", None, backend.write("counted", "part", rest=0.5))
    until(lambda: backend.asked == 1)
    backend.refused.clear()
    until(lambda: backend.written)
    assert time.monotonic() - began >= 0.5
    assert backend.asked == 2


@pytest.mark.parametrize("bound", [{"most": 2}, {"most_bytes": 20}])
def test_too_many_give_up_the_oldest(
    make: Callable[..., LateResults], backend: Backend, lost: list[tuple[object, ...]],
    bound: dict[str, int],
) -> None:  # fmt: skip
    late = make(first_pause=5, **bound)
    late.failed(ConnectionError())
    for name in "abcd":
        late.add(name, "task", backend.write(name, size=10))
    assert [one[1] for one in lost] == ["a", "b"]
    assert "too many" in str(lost[0][2])
    assert late.waiting == 2


def test_at_the_end_it_writes_what_it_can_within_its_time(
    make: Callable[..., LateResults], backend: Backend, lost: list[object]
) -> None:
    late = make(first_pause=5)
    late.failed(ConnectionError())
    for number in range(50):
        late.add(str(number), None, backend.write(str(number)))
    began = time.monotonic()
    late.close(2)
    assert time.monotonic() - began < 0.9
    assert len(backend.written) == 50
    assert lost == []


def test_at_the_end_what_could_not_be_written_is_told(
    make: Callable[..., LateResults], backend: Backend, lost: list[tuple[object, ...]]
) -> None:
    late = make()
    backend.away = True
    for name in "ab":
        late.add(name, "task", backend.write(name))
    began = time.monotonic()
    late.close(0.5)
    assert 0.4 < time.monotonic() - began < 2
    assert sorted(str(one[1]) for one in lost) == ["a", "b"]
    assert "ended" in str(lost[0][2])


def test_the_number_of_those_that_wait_is_shown(
    make: Callable[..., LateResults], backend: Backend
) -> None:
    gauge = SimpleNamespace(results_waiting=7)
    late = make()
    late.show(gauge)
    assert gauge.results_waiting == 0
    backend.away = True
    late.add("a", None, backend.write("a"))
    assert gauge.results_waiting == 1
    backend.away = False
    until(lambda: gauge.results_waiting == 0)


def test_a_failure_is_forgotten_after_a_while_when_nothing_waits(
    make: Callable[..., LateResults],
) -> None:
    late = make(away=0.1)
    late.failed(ConnectionError())
    assert late.is_away()
    time.sleep(0.15)
    assert not late.is_away()
    assert not late.troubled


def test_a_forked_process_begins_anew(make: Callable[..., LateResults], backend: Backend) -> None:
    late = make(first_pause=5)
    late.failed(ConnectionError())
    late.add("a", None, backend.write("a"))
    pid = os.fork()
    if not pid:
        written = 1
        try:
            assert not late.is_away()
            late.add("b", None, backend.write("b"))
            late.close(5)
            written = backend.written != ["b"]
        finally:
            os._exit(int(written))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert late.waiting == 1


def test_the_log_says_once_that_results_wait_and_never_what(
    make: Callable[..., LateResults], backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    late = make()
    backend.away = True
    late.add("a", None, backend.write("a"))
    until(lambda: backend.asked > 3)
    backend.away = False
    until(lambda: not late.waiting)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "does not take results (ConnectionError)" in caplog.text
    assert SECRET not in caplog.text
