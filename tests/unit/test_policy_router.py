"""The router: what wins, what is refused, and that nothing else has a say.

The oracle below decides by brute force over split names; it shares no code with the router.
"""

from __future__ import annotations

import pickle
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from laneway.errors import CallError, InvalidPriority, RouteIsSecure, UnknownQueue
from laneway.policy.queues import BrokerLimits, Queue
from laneway.policy.route import Route
from laneway.policy.router import CACHED_NAMES, Decision, Router

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


def make_queue(name: str, *, secure: bool = False) -> Queue:
    limits = BrokerLimits(vhost="secure" if secure else "jobs")
    return Queue(name=name, summary="for tests", service_level="1s", broker=limits)


QUEUES = {
    "default": make_queue("default"),
    "high": make_queue("high"),
    "low": make_queue("low"),
    "secure": make_queue("secure", secure=True),
    "vault": make_queue("vault", secure=True),
}
SECURE = {"secure", "vault"}

ROUTES = [
    Route("billing.*", queue="default", priority=5),
    Route("billing.charge", queue="high", priority=9),
    Route("billing.reports.*", queue="low"),
    Route("payroll.*", queue="secure"),
]


@pytest.fixture
def router() -> Router:
    return Router(ROUTES, QUEUES)


# --- The oracle ------------------------------------------------------------------------------


def oracle_route(task: str, routes: Sequence[Route]) -> Route | None:
    """Every route that names the task, then the one that says most about it."""
    name = task.split(".")
    fitting: list[tuple[int, Route]] = []
    for route in routes:
        pattern = route.pattern.split(".")
        if pattern[-1] == "*":
            module = pattern[:-1]
            if len(name) > len(module) and name[: len(module)] == module:
                fitting.append((len(module), route))
        elif pattern == name:
            fitting.append((1000, route))
    return max(fitting, key=lambda item: item[0])[1] if fitting else None


def oracle(task: str, routes: Sequence[Route], said: dict[str, Any]) -> tuple[str, int] | type:
    """The queue and the priority, or the class of the refusal."""
    route = oracle_route(task, routes)
    routed = route.queue if route else "default"
    kept = said["kept_queue"] if said["kept_queue"] in QUEUES else None
    named = [kept] if kept else [said["queue"], said["attribute_queue"]]
    named = [name for name in named if name is not None]
    for name in named:
        if name not in QUEUES:
            return UnknownQueue
        if name != routed and {name, routed} & SECURE:
            return RouteIsSecure
    queue = routed if routed in SECURE else [*named, routed][0]
    if said["kept_priority"] is not None:
        return queue, said["kept_priority"]
    for value in (said["priority"], said["attribute_priority"]):
        if value is not None and (type(value) is not int or value not in range(10)):
            return InvalidPriority
    order = [
        said["priority"],
        said["attribute_priority"],
        route.priority if route else None,
        said["parent_priority"],
        4,
    ]
    return queue, next(value for value in order if value is not None)


# Few parts, so that names and patterns meet often.
parts = st.sampled_from(["a", "b", "ab"])
names = st.lists(parts, min_size=1, max_size=4).map(".".join)
patterns = st.one_of(names, names.map(lambda module: f"{module}.*"))
levels = st.integers(0, 9)
routes_ = st.lists(
    st.builds(
        Route,
        patterns,
        queue=st.sampled_from(sorted(QUEUES)),
        priority=st.none() | levels,
    ),
    unique_by=lambda route: route.pattern,
    max_size=12,
)
queue_words = st.none() | st.sampled_from([*QUEUES, "gone", "hgih"])
priority_words = st.none() | levels | st.sampled_from([-1, 10, 255, True, "9", 4.0])
calls = st.fixed_dictionaries(
    {
        "queue": queue_words,
        "priority": priority_words,
        "attribute_queue": queue_words,
        "attribute_priority": priority_words,
        "parent_priority": st.none() | levels,
        "kept_queue": queue_words,
        "kept_priority": st.none() | levels,
    }
)


def decide(router: Router, task: str, said: dict[str, Any]) -> tuple[str, int] | type:
    try:
        decision = router.decide(task, **said)
    except CallError as error:
        return type(error)
    return decision.queue, decision.priority


# --- Properties ------------------------------------------------------------------------------


@given(names, routes_, calls)
def test_every_decision_is_the_oracles(
    task: str, routes: list[Route], said: dict[str, Any]
) -> None:
    assert decide(Router(routes, QUEUES), task, said) == oracle(task, routes, said)


@given(names, routes_, calls, st.randoms())
def test_the_order_of_the_list_never_matters(
    task: str, routes: list[Route], said: dict[str, Any], rng: random.Random
) -> None:
    shuffled = list(routes)
    rng.shuffle(shuffled)
    one, other = Router(routes, QUEUES), Router(shuffled, QUEUES)
    assert one.route_of(task) == other.route_of(task)
    assert decide(one, task, said) == decide(other, task, said)


@given(names, routes_)
def test_the_most_specific_route_wins(task: str, routes: list[Route]) -> None:
    winner = Router(routes, QUEUES).route_of(task)
    fitting = [route for route in routes if route.matches(task)]
    assert (winner is None) == (not fitting)
    if winner:
        assert winner.matches(task)
        assert all(
            winner.pattern == task or len(route.pattern) <= len(winner.pattern) for route in fitting
        )


@given(names, routes_, calls)
def test_a_secure_queue_is_entered_by_a_route_and_left_by_nothing(
    task: str, routes: list[Route], said: dict[str, Any]
) -> None:
    result = decide(Router(routes, QUEUES), task, said)
    assume(isinstance(result, tuple))
    assert isinstance(result, tuple)
    route = oracle_route(task, routes)
    routed = route.queue if route else "default"
    assert (result[0] in SECURE) == (routed in SECURE)
    if routed in SECURE:
        assert result[0] == routed


@given(names, routes_, routes_, calls)
def test_a_retry_keeps_what_it_was_given_when_the_policy_changes(
    task: str, old: list[Route], new: list[Route], said: dict[str, Any]
) -> None:
    fresh = {**said, "kept_queue": None, "kept_priority": None}
    first = decide(Router(old, QUEUES), task, fresh)
    assume(isinstance(first, tuple))
    assert isinstance(first, tuple)
    again = {"kept_queue": first[0], "kept_priority": first[1]}
    second = decide(Router(new, QUEUES), task, {**said, **again})
    route = oracle_route(task, new)
    routed = route.queue if route else "default"
    if first[0] != routed and {first[0], routed} & SECURE:
        assert second is RouteIsSecure
    else:
        assert second == first


@given(names, routes_)
def test_a_route_that_is_taken_away_leaves_the_wider_one(task: str, routes: list[Route]) -> None:
    winner = oracle_route(task, routes)
    if winner is not None:
        rest = [route for route in routes if route != winner]
        assert Router(routes, QUEUES).wider_route(winner) == oracle_route(task, rest)


# --- Patterns --------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["billing.x", "billing.a.b"])
def test_a_module_names_everything_under_it(router: Router, task: str) -> None:
    assert router.route_of(task) == ROUTES[0]


@pytest.mark.parametrize("task", ["billing", "billingx", "billingx.a", "a.billing.x", "", "."])
def test_a_module_names_nothing_else(router: Router, task: str) -> None:
    assert router.route_of(task) is None


def test_a_route_remembers_where_it_was_written() -> None:
    here = Path(__file__)
    route = Route("a.*", queue="high")  # this line
    line = (
        here.read_text().splitlines().index('    route = Route("a.*", queue="high")  # this line')
    )
    assert route.where == f"{here.name}:{line + 1}"
    assert str(route) == f"route 'a.*' ({here.name}:{line + 1})"


def test_the_place_is_no_part_of_a_routes_value() -> None:
    one = Route("a.*", queue="high")
    other = Route("a.*", queue="high")
    assert one.where != other.where
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)).where == one.where


# --- Reasons ---------------------------------------------------------------------------------


def reasons(decision: Decision) -> tuple[str, str]:
    return decision.queue_reason, decision.priority_reason


def test_a_decision_says_why(router: Router) -> None:
    exact, module = str(ROUTES[1]), str(ROUTES[0])
    assert reasons(router.decide("billing.charge")) == (exact, exact)
    assert reasons(router.decide("billing.x", queue="low", priority=0)) == (
        "given in the call: queue='low'",
        "given in the call: priority=0",
    )
    assert reasons(router.decide("billing.x", attribute_queue="low", attribute_priority=1)) == (
        "the task's attribute: queue='low'",
        "the task's attribute: priority=1",
    )
    assert reasons(router.decide("billing.x", kept_queue="low", kept_priority=1)) == (
        "kept from before: queue='low'",
        "kept from before: priority=1",
    )
    assert reasons(router.decide("nobody.knows", parent_priority=7)) == (
        "no route names it: the default queue 'default'",
        "inherited from the parent job: priority=7",
    )
    assert reasons(router.decide("billing.reports.x"))[1] == "nobody said one: 4"
    assert reasons(router.decide("billing.x", kept_queue="removed"))[0] == module


def test_the_call_may_repeat_what_the_secure_route_says(router: Router) -> None:
    decision = router.decide("payroll.run", queue="secure", attribute_queue="secure")
    assert (decision.queue, decision.queue_reason) == ("secure", str(ROUTES[3]))


def test_the_default_queue_is_the_policys() -> None:
    assert Router([], QUEUES, "low").decide("x").queue == "low"


# --- Refusals --------------------------------------------------------------------------------


def test_an_unknown_queue_names_the_queues_and_the_nearest(router: Router) -> None:
    with pytest.raises(UnknownQueue) as refusal:
        router.decide("billing.x", queue="hgih")
    assert str(refusal.value) == (
        "task 'billing.x', given in the call: queue='hgih': expected one of the queues default, "
        "high, low, secure, vault, got: 'hgih', did you mean 'high'?"
    )


@pytest.mark.parametrize("queue", ["", "HIGH", 3, b"high", QUEUES["high"], ["high"]])
def test_a_queue_is_its_name_and_nothing_else(router: Router, queue: Any) -> None:
    with pytest.raises(UnknownQueue):
        router.decide("billing.x", queue=queue)


def test_a_wrong_attribute_is_refused_though_the_call_overrides_it(router: Router) -> None:
    with pytest.raises(UnknownQueue, match="the task's attribute: queue='lwo'"):
        router.decide("billing.x", queue="low", attribute_queue="lwo")
    with pytest.raises(InvalidPriority, match="the task's attribute: priority=11"):
        router.decide("billing.x", priority=1, attribute_priority=11)


@pytest.mark.parametrize("priority", [10, -1, "9", "high", True, False, 4.0, float("nan"), [1]])
def test_a_priority_is_a_whole_number_from_0_to_9(router: Router, priority: object) -> None:
    with pytest.raises(InvalidPriority) as refusal:
        router.decide("billing.x", priority=priority)
    assert str(refusal.value).endswith(
        f"expected a whole number from 0 to 9 (higher is more urgent), got: {priority!r}"
    )


def test_a_projects_own_enumeration_is_a_number(router: Router) -> None:
    level = IntEnum("level", {"URGENT": 9}).URGENT  # type: ignore[attr-defined]
    assert type(router.decide("billing.x", priority=level).priority) is int


def test_leaving_a_secure_queue_names_the_route(router: Router) -> None:
    with pytest.raises(RouteIsSecure) as refusal:
        router.decide("payroll.run", queue="low")
    assert str(refusal.value) == (
        "task 'payroll.run', given in the call: queue='low': expected queue 'secure' or none, "
        f"because {ROUTES[3]} leads to a secure queue, which nothing overrides; remove queue=, or "
        "change the route"
    )


def test_entering_a_secure_queue_names_the_route_that_decides(router: Router) -> None:
    with pytest.raises(RouteIsSecure) as refusal:
        router.decide("billing.x", attribute_queue="secure")
    assert str(refusal.value) == (
        "task 'billing.x', the task's attribute: queue='secure': only a route leads into the "
        f"secure queue 'secure', and this task goes to 'default' ({ROUTES[0]}); remove queue=, or "
        "write a route for it in routing.py"
    )


@pytest.mark.parametrize(("task", "kept"), [("payroll.run", "low"), ("billing.x", "secure")])
def test_a_retry_does_not_cross_into_or_out_of_secure(router: Router, task: str, kept: str) -> None:
    with pytest.raises(RouteIsSecure, match="kept from before"):
        router.decide(task, kept_queue=kept)


@pytest.mark.parametrize(("given_before", "level"), [(255, 9), (-1, 0), (0, 0), (9, 9)])
def test_a_foreign_priority_on_the_wire_is_brought_into_range(
    router: Router, given_before: int, level: int
) -> None:
    assert router.decide("billing.x", kept_priority=given_before).priority == level
    assert router.decide("nobody.knows", parent_priority=given_before).priority == level


# --- The cache -------------------------------------------------------------------------------


def test_the_memory_of_a_router_is_bounded(router: Router) -> None:
    for number in range(CACHED_NAMES + 100):
        router.route_of(f"billing.task{number}")
    info = router._cached_route.cache_info()
    assert info.currsize == info.maxsize == CACHED_NAMES
