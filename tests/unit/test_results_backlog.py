"""What is still to be written about jobs that have ended."""

from __future__ import annotations

import pytest

from laneway.results.backlog import Backlog, Write


def write(kind: str = "result", size: int = 1, rest: float = 0.0) -> Write:
    return Write(kind, lambda: None, size, rest)


def add(backlog: Backlog, task_id: str, what: Write | None = None, now: float = 0.0) -> list[str]:
    return [lost.task_id for lost in backlog.add(task_id, None, what or write(), now, 0.0)]


def take(backlog: Backlog, now: float = 0.0) -> str | None:
    _, job = backlog.take(now)
    return None if job is None else job.task_id


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(most=3, most_bytes=100, longest=60)


def test_the_first_is_taken_first_and_counts_until_it_is_written(backlog: Backlog) -> None:
    for name in "ab":
        add(backlog, name)
    assert take(backlog) == "a"
    assert (len(backlog), "a" in backlog, "b" in backlog) == (2, True, True)
    backlog.written("result")
    backlog.done()
    assert (len(backlog), "a" in backlog) == (1, False)


def test_the_oldest_are_given_up_for_too_many_and_for_too_much(backlog: Backlog) -> None:
    for name in "abc":
        assert add(backlog, name, write(size=30)) == []
    assert add(backlog, "d", write(size=30)) == ["a"]
    assert add(backlog, "d", write("part", size=30)) == ["b"]
    # A later write takes the place of the earlier one, in bytes too.
    for _ in range(10):
        assert add(backlog, "d", write("part", size=30)) == []


def test_what_is_written_makes_room(backlog: Backlog) -> None:
    add(backlog, "a", write(size=90))
    assert take(backlog) == "a"
    backlog.written("result")
    backlog.done()
    assert add(backlog, "b", write(size=90)) == []


def test_who_must_wait_is_waited_for(backlog: Backlog) -> None:
    assert backlog.take(0.0) == (None, None)
    backlog.add("a", None, write(), 0.0, 9.0)
    backlog.add("b", None, write(), 0.0, 5.0)
    assert backlog.take(2.0) == (3.0, None)
    assert take(backlog, 5.0) == "b"


def test_what_could_not_be_written_goes_behind_the_others_with_what_came_later(
    backlog: Backlog,
) -> None:
    old, new = write(size=40), write(size=50)
    add(backlog, "a", old)
    add(backlog, "b")
    assert take(backlog) == "a"
    add(backlog, "a", new)
    assert backlog.put_back(1.0) is None
    assert take(backlog, 1.0) == "b"
    backlog.done()
    _, job = backlog.take(1.0)
    assert job is not None
    assert list(job.writes.values()) == [new]
    backlog.put_back(1.0)
    # Counted once: 50 of it and 50 more have room.
    assert add(backlog, "c", write(size=49)) == []


def test_what_may_have_happened_in_part_rests(backlog: Backlog) -> None:
    add(backlog, "a", write(rest=7))
    assert take(backlog) == "a"
    backlog.put_back(1.0)
    assert backlog.take(1.0) == (7.0, None)


def test_what_waits_for_too_long_is_given_up(backlog: Backlog) -> None:
    add(backlog, "a")
    assert take(backlog) == "a"
    assert backlog.put_back(60.0) is None
    assert take(backlog, 60.0) == "a"
    lost = backlog.put_back(60.1)
    assert lost is not None
    assert (lost.task_id, len(backlog)) == ("a", 0)


def test_at_the_end_all_is_given_up_and_nothing_put_back(backlog: Backlog) -> None:
    for name in "abc":
        add(backlog, name)
    assert take(backlog) == "a"
    assert [left.task_id for left in backlog.clear()] == ["a", "b", "c"]
    backlog.written("result")
    assert backlog.put_back(0.0) is None
    assert len(backlog) == 0
