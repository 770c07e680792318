"""A message of the short way is, header by header, the one that Celery would have published."""

from __future__ import annotations

import json
import os
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import kombu
import pytest
from celery import chain, group, signals
from celery._state import _task_stack
from celery.canvas import StampingVisitor
from celery.result import AsyncResult

from laneway.broker.address import VHOST_KINDS
from support.workers import make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kombu.message import Message

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

#: Of each publish its own, whoever writes it.
TIMES = {"laneway_ready_at"}
JOB_ID = "0f6e2a5c-7d7a-4a8e-9d52-0a7f1f6f2c11"


class Stamp(StampingVisitor):
    def on_signature(self, _sig: Any, **_: Any) -> dict[str, Any]:
        return {"tenant": "t1", "stamped_headers": ["tenant"]}


def add_with(**options: Any) -> Callable[[Laneway], Any]:
    def call(app: Laneway) -> Any:
        given = {"args": (1, 2), "task_id": JOB_ID, **options}
        return app.tasks["plain.add"].apply_async(**given)

    return call


def named_with(name: str = "plain.add", **options: Any) -> Callable[[Laneway], Any]:
    return lambda app: app.send_task(name, **{"args": (1, 2), "task_id": JOB_ID, **options})


def inside_a_job(call: Callable[[Laneway], Any], **request: Any) -> Callable[[Laneway], Any]:
    def run(app: Laneway) -> Any:
        task = app.tasks["plain.total"]
        task.push_request(id="parent", called_directly=False, **request)
        _task_stack.push(task)
        try:
            return call(app)
        finally:
            _task_stack.pop()
            task.pop_request()

    return run


def limited(app: Laneway) -> Any:
    return app.tasks["plain.limited"].apply_async((1,), task_id=JOB_ID)


def from_a_signature(app: Laneway) -> Any:
    return app.tasks["plain.add"].s(1, b="2").apply_async(task_id=JOB_ID, queue="low")


ETA = datetime.now(UTC) + timedelta(hours=1)

#: Calls that have nothing out of the ordinary: the short way must take them.
SHORT: dict[str, Callable[[Laneway], Any]] = {
    "delay": add_with(),
    "no arguments": add_with(args=None),
    "empty arguments": named_with(args=(), kwargs={}),
    "a list of arguments": add_with(args=[1, 2]),
    "only keywords": named_with(args=None, kwargs={"a": 1, "b": "ü'\n"}),
    "keywords of a task": add_with(args=None, kwargs={"a": 1, "b": "ü'\n"}),
    "texts and numbers": add_with(args=["ü'\n\"\\", -7, 2**70, "", "\ud800"]),
    "one text": add_with(args=("(",)),
    "what is not plain": add_with(args=(True, None, 1.5, [1])),
    "a text that is too long for people": add_with(args=("x" * 1019,)),
    "a task with limits": limited,
    "a signature": from_a_signature,
    "by name": named_with(),
    "an unknown task": named_with("plain.nowhere"),
    "queue": add_with(queue="low"),
    "priority": add_with(priority=9),
    "priority 0": add_with(priority=0),
    "a route's priority": named_with("plain.urgent"),
    "the secure host": named_with("vault.pay", args=(1,)),
    "limits": add_with(time_limit=7, soft_time_limit=3),
    "limits with a fraction": add_with(time_limit=7.5, soft_time_limit=0.5),
    "limits of the task": named_with("plain.limited"),
    "limits of the task taken away": named_with("plain.limited", time_limit=None),
    "shadow": add_with(shadow="another name"),
    "ignore_result": add_with(ignore_result=True),
    "ignore_result of the task": add_with(ignore_result=False),
    "root and parent": add_with(root_id="r", parent_id="p"),
    "member of a group": add_with(group_id="g", group_index=3),
    "group without index": add_with(group_id="g"),
    "inside a job": inside_a_job(add_with(), root_id="root", delivery_info={"priority": 8}),
    "inside a job of its own": inside_a_job(named_with(), delivery_info={"priority": 0}),
    "what is so anyway": add_with(serializer="json", delivery_mode=2, mandatory=True, retries=0),
    "long texts": named_with(args=("x" * 2000, ["y"] * 500)),
    "text as long as the limit": named_with(args=("x" * 1020,)),
    "nested": named_with(args=([1, {"a": [2, (3, {"b": []})]}], {"k": None, 1: True})),
    "what JSON cannot": named_with(
        args=(
            datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
            date(2024, 1, 2),
            uuid.UUID(int=5),
            Decimal("1.10"),
            b"bytes",
            b"\xff",
            float("inf"),
            2**70,
            "\ud800 a lone surrogate".encode("utf-8", "surrogatepass"),
        )
    ),
    "a large body": named_with(args=("x" * 400_000,)),
    "an odd id": add_with(task_id="mein-Auftrag-Nr-7-ü"),
}

#: Those of them that take the shortcut: of a task, outside of a job, with nothing of their own but
#: an id.
SHORTCUT: Final = {
    "delay", "no arguments", "a list of arguments", "queue", "priority", "priority 0", "limits",
    "limits with a fraction", "shadow", "ignore_result", "ignore_result of the task", "an odd id",
    "keywords of a task", "texts and numbers", "one text", "what is not plain", "a signature",
    "a text that is too long for people", "a task with limits",
}  # fmt: skip

#: What only Celery's own way does.
LONG: dict[str, Callable[[Laneway], Any]] = {
    "eta": add_with(eta=ETA),
    "countdown": add_with(countdown=3600),
    "expires": add_with(expires=ETA),
    "link": lambda app: add_with(link=app.signature("plain.add", (4,)))(app),
    "link_error": lambda app: add_with(link_error=app.signature("plain.fail"))(app),
    "retries": add_with(retries=2),
    "headers": add_with(headers={"tenant": 7}),
    "reply_to": add_with(reply_to="me"),
    "texts": add_with(argsrepr="(…)", kwargsrepr="{…}"),
    "another way to say it": add_with(delivery_mode="persistent", origin="me@here"),
    "chain": lambda app: chain(
        app.signature("plain.add", (1, 2), task_id=JOB_ID),
        app.signature("plain.add", (3,)),
        app=app,
    ).apply_async(),
    "group": lambda app: group(
        [app.signature("plain.add", (1, 2), task_id=JOB_ID, link=app.signature("plain.fail"))],
        app=app,
    ).apply_async(task_id="the group"),
    "chord": lambda app: add_with(chord=app.signature("plain.total"), group_id="g")(app),
    "stamps": lambda app: stamped(app).apply_async(task_id=JOB_ID),
}


def stamped(app: Laneway) -> Any:
    signature = app.signature("plain.add", (1, 2))
    signature.stamp(Stamp())
    return signature


class Reader:
    """Takes what a call published out of its queue."""

    #: Where a call may lead: queues of the policy, and the broker's own of a delay.
    QUEUES: Final = {
        "jobs": ("default", "low", "high", *(f"celery_delayed_{level}" for level in range(28))),
        "secure": ("secure",),
    }

    def __init__(self, address: BrokerAddress) -> None:
        self._connections: dict[str, Any] = {
            kind: kombu.Connection(address.kombu_urls(kind)) for kind in VHOST_KINDS
        }

    def close(self) -> None:
        for connection in self._connections.values():
            connection.release()

    def published(self, call: Callable[[Laneway], Any], app: Laneway) -> Message:
        """The message of the call."""
        call(app)
        for kind, queues in self.QUEUES.items():
            channel = self._connections[kind].default_channel
            for queue in queues:
                if message := channel.basic_get(queue, no_ack=True):
                    return message
        raise AssertionError("nothing was published")


@pytest.fixture(scope="module")
def reader(module_topology: BrokerAddress) -> Iterator[Reader]:
    reader = Reader(module_topology)
    yield reader
    reader.close()


def nothing(*_: Any) -> None:
    """The body of the tasks."""


def make(address: BrokerAddress) -> Laneway:
    app = make_app(address)
    for name in ("plain.add", "plain.total", "plain.limited"):
        limits = {"time_limit": 9, "soft_time_limit": 4} if name == "plain.limited" else {}
        app.task(name=name, shared=False, typing=False, **limits)(nothing)
    return app


def watch(app: Laneway) -> list[Any]:
    """What the short ways answer from now on: None where both leave a call to Celery."""
    answers: list[Any] = []
    write = app._sender.write

    def watched(*given: Any) -> Any:
        answers.append(write(*given))
        return answers[-1]

    publish = app._shortcut.publish

    def shortcut(*given: Any) -> Any:
        result = publish(*given)
        if result is not None:
            answers.append(result)
        return result

    app._sender.write = watched  # type: ignore[method-assign,assignment]
    app._shortcut.publish = shortcut  # type: ignore[method-assign,assignment]
    return answers


def compare(short: Message, celerys: Message) -> None:
    left, right = dict(short.headers), dict(celerys.headers)
    for header in TIMES:
        assert abs(left.pop(header) - right.pop(header)) < 60
    assert left == right
    assert {k: type(v) for k, v in left.items()} == {k: type(v) for k, v in right.items()}
    assert list(left) == list(right)
    mine, theirs = dict(short.properties), dict(celerys.properties)
    for properties in (mine, theirs):
        del properties["application_headers"]
        assert abs(properties.pop("timestamp") - time.time()) < 4000
    assert mine == theirs
    assert short.delivery_info["routing_key"] == celerys.delivery_info["routing_key"]
    assert short.delivery_info["exchange"] == celerys.delivery_info["exchange"]
    assert short.body == celerys.body


def listen(**_: Any) -> None:
    """A receiver of Celery's signal, which sends every call Celery's own way."""


@pytest.mark.parametrize("name", SHORT)
def test_the_short_way_writes_celerys_message(
    name: str, topology: BrokerAddress, reader: Reader
) -> None:
    app = make(topology)
    ways = watch(app)
    # Twice: the second time all is prepared.
    reader.published(SHORT[name], app)
    short = reader.published(SHORT[name], app)
    assert (
        isinstance(ways[0], AsyncResult) == isinstance(ways[1], AsyncResult) == (name in SHORTCUT)
    )
    signals.before_task_publish.connect(listen)
    try:
        celerys = reader.published(SHORT[name], app)
    finally:
        signals.before_task_publish.disconnect(listen)
    assert [way is not None for way in ways] == [True, True, False]
    compare(short, celerys)


@pytest.mark.parametrize("name", LONG)
def test_what_is_out_of_the_ordinary_goes_celerys_own_way(
    name: str, topology: BrokerAddress, reader: Reader
) -> None:
    app = make(topology)
    ways = watch(app)
    message = reader.published(LONG[name], app)
    assert not any(ways)
    assert message.headers["laneway_queue"] == "default"
    assert json.loads(message.body)[0] == [1, 2]


def test_equal_options_that_are_not_the_same_are_kept_apart(
    topology: BrokerAddress, reader: Reader
) -> None:
    app = make(topology)
    limits = []
    for limit in (1, 1.0):
        message = reader.published(named_with(time_limit=limit), app)
        limits.append(message.headers["timelimit"][0])
    assert [type(limit) for limit in limits] == [int, float]


def test_a_result_of_the_short_way_is_like_celerys(topology: BrokerAddress) -> None:
    app = make(topology)
    results = [app.tasks["plain.add"].apply_async((1, 2), ignore_result=True)]
    signals.after_task_publish.connect(listen)
    try:
        results.append(app.tasks["plain.add"].apply_async((1, 2), ignore_result=True))
    finally:
        signals.after_task_publish.disconnect(listen)
    assert type(results[0]) is type(results[1])
    assert [result.ignored for result in results] == [True, True]
    assert results[0].id != results[1].id


def test_a_job_keeps_the_jobs_that_it_published(topology: BrokerAddress) -> None:
    app = make(topology)
    children: list[Any] = []

    def call(inner: Laneway) -> None:
        add_with()(inner)
        children.extend(inner.tasks["plain.total"].request.children)

    inside_a_job(call, children=[])(app)
    assert [child.id for child in children] == [JOB_ID]


def test_a_forked_child_is_named_in_what_it_publishes(
    topology: BrokerAddress, reader: Reader
) -> None:
    app = make(topology)
    reader.published(named_with(), app)

    def fork(app: Laneway) -> None:
        child = os.fork()
        if child == 0:
            try:
                named_with(kwargs={"child": os.getpid()})(app)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    message = reader.published(fork, app)
    child = json.loads(message.body)[1]["child"]
    assert child != os.getpid()
    assert message.headers["origin"].startswith(f"gen{child}@")


@pytest.mark.parametrize("listening", [False, True], ids=["short", "celerys"])
def test_a_publish_asks_nothing_of_the_result_backend(
    topology: BrokerAddress, redis: PrivateRedis, listening: bool
) -> None:
    app = make_app(topology, redis.url)
    if listening:
        signals.before_task_publish.connect(listen)
    try:
        with app.batch():
            published = [app.send_task("plain.add", task_id="in a batch")]
        published.append(app.send_task("plain.add", (1, 2)))
        published.append(app.send_task("plain.add", (1, 2), ignore_result=True))
    finally:
        signals.before_task_publish.disconnect(listen)
    assert not app.backend.result_consumer.subscribed_to
    # Whoever wants a result listens then.
    published[1].then(lambda _: None)
    assert app.backend.result_consumer.subscribed_to == {
        app.backend.get_key_for_task(published[1].id)
    }
