"""What of a call is heard, refused or kept; the router has tests of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from laneway.calls import call
from laneway.errors import OptionRefused, RouteIsSecure
from laneway.policy import load_policy
from support.workers import POLICY

if TYPE_CHECKING:
    from laneway.policy.router import Decision

ROUTER = load_policy(POLICY).router


def decide(name: str = "plain.add", kwargs: Any = None, **options: Any) -> Decision:
    task, parent = options.pop("task", None), options.pop("parent", None)
    return call.decide(ROUTER, name, kwargs, options, task=task, parent=parent)


def job(priority: int = 4, task_id: str = "p1", retries: int = 0) -> Any:
    info = {"priority": priority}
    return SimpleNamespace(request=SimpleNamespace(id=task_id, retries=retries, delivery_info=info))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("exchange", "x"),
        ("routing_key", "low"),
        ("declare", [1]),
        ("immediate", True),
        ("serializer", "pickle"),
        ("delivery_mode", 1),
        ("mandatory", False),
    ],
)
def test_options_around_the_policy_are_refused(option: str, value: Any) -> None:
    with pytest.raises(OptionRefused, match=option):
        decide(**{option: value})


def test_options_that_say_what_is_so_anyway_pass() -> None:
    said: dict[str, Any] = {
        "serializer": "json",
        "delivery_mode": 2,
        "mandatory": True,
        "exchange": None,
    }
    assert decide(**said).queue == "default"


def test_what_equals_the_tasks_attribute_was_not_said_by_the_call() -> None:
    task = SimpleNamespace(queue="low", priority=2)
    decision = decide(task=task, queue="low", priority=2)
    assert "attribute" in decision.queue_reason
    assert "attribute" in decision.priority_reason
    assert "call" in decide(task=task, queue="high", priority=2).queue_reason


def test_a_retry_keeps_its_queue_and_priority() -> None:
    kept = decide(redelivered=False, exchange="jobs", routing_key="low", priority=7)
    assert (kept.queue, kept.priority) == ("low", 7)
    delayed = decide(redelivered=True, exchange="d", routing_key="0.0.1.high", priority=7)
    assert delayed.queue == "high"


def test_a_retry_of_a_queue_that_is_gone_is_routed_anew() -> None:
    assert decide(redelivered=False, exchange="", routing_key="celery").queue == "default"


def test_a_retry_over_the_default_exchange_is_known_by_its_id() -> None:
    kept = decide(task_id="p1", retries=1, queue="celery", parent=job(task_id="p1"))
    assert kept.queue == "default"


def test_a_secure_route_holds_for_retries_too() -> None:
    with pytest.raises(RouteIsSecure):
        decide("vault.pay", redelivered=False, exchange="jobs", routing_key="low")


def test_the_priority_is_inherited_unless_said() -> None:
    assert decide(parent=job(priority=8)).priority == 8
    assert decide(parent=job(priority=8), priority=1).priority == 1
    assert decide().priority == 4


def test_a_carrier_is_routed_as_what_it_carries() -> None:
    carried = {"task": {"task": "vault.pay"}, "it": [1]}
    assert decide("celery.map", carried).queue == "secure"
    with pytest.raises(RouteIsSecure):
        decide("celery.map", carried, queue="low")


def test_the_decision_replaces_every_word_about_the_destination() -> None:
    options = {"queue": "x", "exchange": "y", "routing_key": "z", "expires": 5}
    placed = call.Decided(decide(queue="low", priority=3)).route(options)
    assert placed.pop("queue").name == "low"
    assert placed == {"priority": 3, "expires": 5}


@pytest.mark.parametrize("limit", ["time_limit", "soft_time_limit"])
def test_a_limit_that_the_pool_would_ignore_is_refused(limit: str) -> None:
    queue = load_policy(POLICY).queues["low"]
    threads = queue.model_copy(
        update={"worker": queue.worker.model_copy(update={"pool": "threads"})}
    )
    call.refuse_limits("plain.add", {limit: 5}, queue)
    call.refuse_limits("plain.add", {limit: None}, threads)
    call.refuse_limits("plain.add", {limit: 5, "redelivered": False}, threads)
    with pytest.raises(OptionRefused, match=f"{limit}=5 .* 'threads'"):
        call.refuse_limits("plain.add", {limit: 5}, threads)
