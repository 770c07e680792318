"""How many slots a queue needs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.policy.queues import Queue
from laneway.scaling import Load, slots_needed
from laneway.scaling.need import LATE, slots_in_time

amounts = st.floats(0, 1e6, allow_nan=False)
loads = st.builds(Load, arrivals=amounts, runtime=amounts, busy=amounts, backlog=amounts)


def queue(**scaling: object) -> Queue:
    return Queue.model_validate(
        {"summary": "x", "service_level": "30s", "name": "high", "scaling": scaling}
    )


def load(**parts: float) -> Load:
    return Load(**{"arrivals": 0, "runtime": 0, "busy": 0, "backlog": 0, **parts})


def test_the_steady_load_keeps_a_share_of_the_slots_busy() -> None:
    need = slots_needed(queue(utilisation=0.5), load(arrivals=10, runtime=0.2))
    assert (need.steady, need.catching_up, need.slots) == (4, 0, 4)
    assert need.reason == "10 jobs/s x 0.2 s / 0.5 = 4"


def erlang_slots(arrivals: float, runtime: float, level: float) -> int:
    """The exact number for M/M/n."""
    running, count, blocked = arrivals * runtime, 0, 1.0
    while True:
        count += 1
        blocked = running * blocked / (count + running * blocked)
        if count > running:
            waits = blocked / (1 - running / count * (1 - blocked))
            if waits * math.exp(-(count - running) * level / runtime) <= LATE:
                return count


@pytest.mark.parametrize(
    ("arrivals", "runtime", "level"),
    [(1, 0.2, 1), (80, 0.2, 1), (2, 1, 1), (10, 1, 1), (1, 10, 1), (5, 10, 1), (0.1, 30, 1),
     (0.3, 30, 900), (0.5, 1, 30), (100, 2, 1), (2000, 1, 1)],
)  # fmt: skip
def test_jobs_that_are_long_beside_the_service_level_need_more(
    arrivals: float, runtime: float, level: float
) -> None:
    exact = erlang_slots(arrivals, runtime, level)
    assert exact - 1 < slots_in_time(arrivals, runtime, level) < exact + 1.1


def test_what_is_in_time_is_said_where_it_decides() -> None:
    need = slots_needed(queue(utilisation=0.7), load(arrivals=0.05, runtime=60))
    assert need.slots == need.steady > 3 / 0.7
    assert need.reason.startswith("0.05 jobs/s x 60 s: 7")
    assert need.reason.endswith(", for 99 of 100 to start within 30s")


def test_what_runs_now_is_never_taken_away() -> None:
    need = slots_needed(queue(), load(arrivals=1, runtime=1, busy=9))
    assert need.slots == 9
    assert need.reason == "9 run now"


def test_a_backlog_asks_for_more_until_it_is_gone() -> None:
    need = slots_needed(queue(utilisation=0.5), load(arrivals=4, runtime=1, backlog=90))
    assert need.slots == 8 + 3
    assert need.reason == "4 jobs/s x 1 s / 0.5 = 8, and 90 wait: 3 more to drain them in 30s"


def test_a_queue_without_work_needs_none() -> None:
    assert slots_needed(queue(), load(runtime=5)).slots == 0


@given(loads, st.floats(0, 1e6))
def test_more_of_anything_never_needs_fewer(now: Load, more: float) -> None:
    base = slots_needed(queue(), now).slots
    for name in ("arrivals", "runtime", "busy", "backlog"):
        parts = {key: getattr(now, key) for key in ("arrivals", "runtime", "busy", "backlog")}
        parts[name] += more
        assert slots_needed(queue(), Load(**parts)).slots >= base


@pytest.mark.parametrize("name", ["arrivals", "runtime", "busy", "backlog"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_unknown_is_not_nothing(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a number of at least 0"):
        slots_needed(queue(), load(**{name: value}))
