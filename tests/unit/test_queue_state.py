"""What the broker's answers mean: a number is a number, and silence is None."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.queue_state import ready_by_priority, vhost_state


@pytest.mark.parametrize(
    ("entry", "counts"),
    [
        # As RabbitMQ 4.3 says it of a quorum queue.
        ({"messages_by_priority": {"0": 3, "4": 0, "9": 2}}, {0: 3, 9: 2}),
        # As RabbitMQ 3.10 says it of a classic queue with x-max-priority.
        ({"backing_queue_status": {"priority_lengths": {"1": 5, "2": 0}}}, {1: 5}),
        ({"backing_queue_status": "undefined"}, None),
        ({}, None),
    ],
)
def test_waiting_messages_by_priority(entry: dict[str, Any], counts: dict[int, int] | None) -> None:
    assert ready_by_priority(entry, ready=5) == counts


def test_an_empty_queue_needs_no_statistics() -> None:
    assert ready_by_priority({"messages_by_priority": {"9": 2}}, ready=0) == {}


def test_delays_are_counted_over_all_levels() -> None:
    state = vhost_state(
        "jobs",
        {
            "celery_delayed_0": {"messages": 2},
            "celery_delayed_27": {"messages": 3},
            "dead.inbox": {"messages": 1, "consumers": 2},
            "high": {"messages": 100},
        },
    )
    assert (state.delayed, state.dead_inbox, state.dead_letters) == (5, 1, None)
    assert state.keepers == 2


def test_one_unknown_level_makes_the_sum_unknown() -> None:
    state = vhost_state("jobs", {"celery_delayed_0": {"messages": 2}, "celery_delayed_1": {}})
    assert state.delayed is None


def test_numbers_of_another_moment_are_unknown() -> None:
    assert ready_by_priority({"messages_by_priority": {"9": 1}}, ready=2) is None
