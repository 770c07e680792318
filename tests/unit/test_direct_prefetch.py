"""How many jobs a process may hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from laneway.worker.direct.prefetch import MOST_HELD, Prefetch


def after(budget: float, runtimes: list[float]) -> Prefetch:
    prefetch, now = Prefetch(budget), 0.0
    for runtime in runtimes:
        now += max(runtime, 0.11)
        prefetch.note(runtime, now)
    return prefetch


def test_nothing_is_held_ahead_while_the_runtime_is_unknown() -> None:
    assert Prefetch(0.025).count == 1
    assert after(0.025, [0.001] * 7).count == 1


def test_short_jobs_are_held_up_to_the_budget() -> None:
    count = after(0.025, [0.001] * 20).count
    assert 10 < count <= 26


def test_there_is_a_limit_however_short_they_are() -> None:
    assert after(10.0, [0.0001] * 20).count <= MOST_HELD


def test_nothing_is_held_behind_long_jobs() -> None:
    assert after(0.025, [1.0] * 20).count == 1
    assert after(0.025, [0.001] * 20 + [1.0]).count == 1


def test_one_is_held_behind_a_job_that_hides_the_way_to_the_broker() -> None:
    assert after(0.025, [0.005] * 20).count == 2
    assert after(0.025, [0.0001] * 20 + [0.005] * 20).count == 2
    assert after(0.025, [0.001] * 20).count > 2


def test_a_moment_of_the_machines_does_not_stop_holding() -> None:
    assert after(0.025, [0.001] * 20 + [0.01] + [0.001] * 5).count > 5


def test_no_budget_holds_nothing() -> None:
    assert after(0.0, [0.001] * 50).count == 1


@given(
    st.floats(0.0, 1.0),
    st.lists(st.floats(0.00005, 2.0), min_size=1, max_size=80),
)
def test_what_is_held_fits_into_the_budget(budget: float, runtimes: list[float]) -> None:
    prefetch, now = Prefetch(budget), 0.0
    for runtime in runtimes:
        now += runtime
        before = prefetch.count
        changed = prefetch.note(runtime, now)
        assert changed == (prefetch.count != before)
        assert prefetch.expected is not None
        assert (prefetch.count - 1) * prefetch.expected <= budget + 1e-9
        assert 1 <= prefetch.count <= MOST_HELD
