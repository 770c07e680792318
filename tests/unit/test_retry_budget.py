"""The retry budget: what a broken dependency may add to the load."""

from __future__ import annotations

import pytest

from laneway.facts import Fact
from laneway.retry.budget import FLOOR, RetryBudget

STARTED = Fact(kind="started", at=0.0, attempt=1)
AGAIN = Fact(kind="started", at=0.0, attempt=2)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def spend_savings(budget: RetryBudget) -> None:
    while budget.reserve(0) is not None:
        pass


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_whatever_fails_the_load_is_bounded_by_the_share(share: float) -> None:
    """50 jobs a second, each of which fails and asks for its next attempt, for ten minutes."""
    clock = Clock()
    budget = RetryBudget(share, clock=clock)
    turns = []
    for _ in range(30_000):
        clock.now += 0.02
        budget.hear(STARTED)
        turn = budget.reserve(60)
        if turn is not None:
            turns.append(clock.now + turn)
    minutes = [
        sum(1 for turn in turns if 100 + 60 * minute <= turn < 160 + 60 * minute)
        for minute in range(3, 9)
    ]
    expected = 60 * min(50, 50 * share + FLOOR)
    assert all(0.9 * expected <= count <= 1.1 * expected for count in minutes), minutes


def test_a_quiet_queue_may_always_retry() -> None:
    clock = Clock()
    budget = RetryBudget(0.0, clock=clock)
    for _ in range(100):
        clock.now += 10
        assert [budget.reserve(0) for _ in range(10)] == [0.0] * 10


def test_without_budget_a_retry_waits_for_its_turn_or_is_refused() -> None:
    budget = RetryBudget(0.2, clock=Clock())
    spend_savings(budget)
    assert budget.reserve(60) == pytest.approx(1.0, rel=0.1)
    assert budget.reserve(60) == pytest.approx(2.0, rel=0.1)
    assert budget.reserve(0.5) is None
    # What was refused took nothing.
    assert budget.reserve(60) == pytest.approx(3.0, rel=0.1)


def test_a_busy_queue_s_turns_come_as_fast_as_its_jobs_earn_them() -> None:
    clock = Clock()
    budget = RetryBudget(0.2, clock=clock)
    for _ in range(50 * 120):
        clock.now += 0.02
        budget.hear(STARTED)
    spend_savings(budget)
    turns = [budget.reserve(600) or 0.0 for _ in range(110)]
    assert turns[-1] == pytest.approx(110 / (50 * 0.2 + FLOOR), rel=0.1)


def test_only_first_attempts_earn() -> None:
    clock = Clock()
    earned, not_earned = RetryBudget(1.0, clock=clock), RetryBudget(1.0, clock=clock)
    for budget, fact in ((earned, STARTED), (not_earned, AGAIN)):
        spend_savings(budget)
        budget.hear(fact)
    assert earned.reserve(0) == 0
    assert not_earned.reserve(0) is None


def test_a_clock_that_goes_back_takes_nothing() -> None:
    clock = Clock()
    budget = RetryBudget(0.2, clock=clock)
    clock.now -= 50
    assert budget.reserve(0) == 0
