"""Groups, chords, chains, links and retries work, also across the two virtual hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import chain, chord, group
from celery.canvas import xmap

import laneway
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def workers(
    module_topology: BrokerAddress, redis: PrivateRedis
) -> Iterator[dict[str, WorkerProcess]]:
    env = environment(module_topology, redis.url)
    with (
        WorkerProcess("default", env) as default,
        WorkerProcess("high", env) as high,
        WorkerProcess("secure", env) as secure,
    ):
        yield {"default": default, "high": high, "secure": secure}


@pytest.fixture
def app(
    workers: dict[str, WorkerProcess], module_topology: BrokerAddress, redis: PrivateRedis
) -> Laneway:
    for worker in workers.values():
        worker.facts.clear()
    return make_app(module_topology, redis.url)


def test_a_chain_goes_to_the_secure_host_and_back(app: Laneway) -> None:
    steps = chain(
        app.signature("plain.add", (1, 2)),
        app.signature("vault.pay"),
        app.signature("plain.add", (4,)),
        app=app,
    )
    assert steps.apply_async().get(timeout=60) == 304


def test_a_chain_that_starts_in_the_secure_host(app: Laneway) -> None:
    steps = chain(
        app.signature("vault.pay", (1,)),
        app.signature("plain.add", (1,)),
        app.signature("vault.pay"),
        app=app,
    )
    assert steps.apply_async().get(timeout=60) == 10100


def test_a_chord_gathers_from_both_hosts(app: Laneway) -> None:
    header = [
        app.signature("plain.add", (1, 1)),
        app.signature("vault.pay", (1,)),
        app.signature("plain.add", (2, 2), queue="high"),
    ]
    body = app.signature("plain.total")
    assert chord(header, body, app=app).apply_async().get(timeout=60) == 106


def test_a_chord_whose_body_is_secure(app: Laneway) -> None:
    header = [app.signature("plain.total", ([i],)) for i in range(3)]
    body = app.signature("vault.sum")
    assert chord(header, body, app=app).apply_async().get(timeout=60) == 3


def test_a_group_runs_on_both_hosts(app: Laneway) -> None:
    members = [app.signature("plain.add", (i, i)) for i in range(4)]
    members.append(app.signature("vault.pay", (7,)))
    assert group(members, app=app).apply_async().get(timeout=60) == [0, 2, 4, 6, 700]


@pytest.mark.parametrize(
    ("first", "then"), [("plain.add", "vault.pay"), ("vault.sum", "plain.total")]
)
def test_a_link_crosses_in_both_directions(
    app: Laneway, workers: dict[str, WorkerProcess], first: str, then: str
) -> None:
    arguments = (1, 2) if first == "plain.add" else ([1, 2],)
    if then == "plain.total":
        link = app.signature("plain.total", ([4],), immutable=True)
    else:
        link = app.signature(then)
    app.send_task(first, arguments, link=link)
    target = "secure" if then.startswith("vault") else "default"
    workers[target].wait_for("succeeded", task=then)


def test_a_retry_stays_in_the_secure_host(app: Laneway) -> None:
    assert app.send_task("vault.flaky", (1,)).get(timeout=60) == "secure"


def test_a_job_inherits_its_parents_priority_unless_the_call_says_one(
    app: Laneway, workers: dict[str, WorkerProcess]
) -> None:
    inherited = app.send_task("plain.publish", ("plain.where", {}), priority=8).get(timeout=60)
    said = app.send_task("plain.publish", ("plain.where", {"priority": 2}), priority=8).get(
        timeout=60
    )
    default = workers["default"]
    assert default.wait_for("started", task_id=inherited)[0].priority == 8
    assert default.wait_for("started", task_id=said)[0].priority == 2


def test_a_chain_step_keeps_the_queue_and_priority_it_was_given(app: Laneway) -> None:
    steps = chain(
        app.signature("plain.add", (1, 2), priority=3),
        app.signature("plain.where").set(queue="high", priority=9),
        app=app,
    )
    where = steps.apply_async().get(timeout=60)
    assert (where["queue"], where["priority"]) == ("high", 9)


def test_a_chain_step_inherits_the_priority_of_the_step_before(app: Laneway) -> None:
    steps = chain(
        app.signature("plain.add", (1, 2), priority=7), app.signature("plain.where"), app=app
    )
    assert steps.apply_async().get(timeout=60)["priority"] == 7


def test_a_mapped_secure_task_stays_secure(app: Laneway, workers: dict[str, WorkerProcess]) -> None:
    result = xmap(app.signature("vault.pay"), [1, 2], app=app).apply_async()
    assert result.get(timeout=60) == [100, 200]
    workers["secure"].wait_for("succeeded", task_id=result.id)


def test_a_secure_task_inside_a_job_cannot_be_sent_elsewhere(app: Laneway) -> None:
    result = app.send_task("plain.publish", ("vault.pay", {"args": [1], "queue": "default"}))
    with pytest.raises(Exception, match="vault") as caught:
        result.get(timeout=60)
    assert type(caught.value).__name__ == laneway.RouteIsSecure.__name__
