"""Traces and check-ins with real workers: what a server of Sentry's would have got."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import kombu
import pytest
import sentry_sdk
from celery import chain, group
from celery.beat import Scheduler

from laneway.calls.scheduled import name_entries
from laneway.sentry.spans import PublishSpans
from laneway.sentry.trace import hex_of
from support.envelopes import EnvelopeSink
from support.scheduled_tasks import SCHEDULE
from support.workers import ControlProcess, WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = [pytest.mark.integration, pytest.mark.broker43]

SECRET: Final = "canary-4242"


@pytest.fixture
def sink() -> Iterator[EnvelopeSink]:
    with EnvelopeSink() as sink:
        yield sink


@pytest.fixture
def web(sink: EnvelopeSink) -> Iterator[None]:
    """This process is a web service that traces all of its requests."""
    scope = sentry_sdk.get_global_scope()
    before = scope.client
    client = sentry_sdk.Client(
        dsn=sink.dsn(), default_integrations=False, traces_sample_rate=1.0, release="web-1"
    )
    scope.set_client(client)
    yield
    client.close(timeout=5)
    scope.set_client(before)


@contextmanager
def request() -> Iterator[str]:
    """A web request; its trace's id."""
    with (
        sentry_sdk.isolation_scope(),
        sentry_sdk.start_transaction(op="http.server", name="GET /") as transaction,
    ):
        # A trace of its own, as every web integration begins one.
        transaction.trace_id = uuid.uuid4().hex
        yield transaction.trace_id
    sentry_sdk.get_client().flush(5)


def nothing(*_: object, **__: object) -> None:
    """What only the workers do."""


def service(address: BrokerAddress, backend: str | None = None) -> Laneway:
    app = make_app(address, backend)
    app.tracer = PublishSpans()
    for name in ("plain.add", "vault.pay"):
        app.task(name=name, shared=False)(nothing)
    return app


def messages(address: BrokerAddress, queue: str = "low", vhost: Any = "jobs") -> list[Any]:
    """What lies in a queue, which is empty afterwards."""
    found = []
    with kombu.Connection(address.kombu_urls(vhost)) as connection:
        while message := connection.default_channel.basic_get(queue, no_ack=True):
            found.append(message)
    return found


def in_batch(app: Laneway, **options: Any) -> None:
    with app.batch():
        app.tasks["plain.add"].apply_async((1, 2), queue="low", **options)


WAYS: Final[dict[str, Callable[[Laneway], Any]]] = {
    "the shortcut": lambda app: app.tasks["plain.add"].apply_async((1, 2), queue="low"),
    "by name": lambda app: app.send_task("plain.add", (1, 2), queue="low"),
    "celery's own way": lambda app: app.tasks["plain.add"].apply_async(
        (1, 2), queue="low", headers={"tenant": 7}
    ),
    "many": lambda app: app.publish_many([app.tasks["plain.add"].s(1, 2).set(queue="low")]),
    "a batch": in_batch,
    "a batch, celery's own way": lambda app: in_batch(app, headers={"tenant": 7}),
    "asyncio": lambda app: asyncio.run(app.asend("plain.add", (1, 2), queue="low")),
    "a chain": lambda app: chain(
        app.tasks["plain.add"].si(1, 2).set(queue="low"), app.tasks["plain.add"].s(3), app=app
    ).apply_async(),
    "a group": lambda app: group(
        [app.tasks["plain.add"].s(1, 2).set(queue="low")], app=app
    ).apply_async(),
}


def test_every_way_of_publishing_carries_the_trace(
    topology: BrokerAddress, sink: EnvelopeSink, web: None
) -> None:
    app = service(topology)
    for way, call in WAYS.items():
        sink.clear()
        with request() as trace:
            call(app)
        [message] = messages(topology)
        [transaction] = sink.wait_for("transaction")
        [span] = transaction["spans"]
        told = (way, message.headers["sentry-trace"])
        assert told == (way, f"{trace}-{span['span_id']}-1")
        assert f"sentry-trace_id={trace}" in message.headers["baggage"]
        assert span["op"] == "queue.publish"
        assert span["status"] == "ok"
        assert span["data"]["messaging.destination.name"] == "low"
        assert span["data"]["messaging.message.id"] == message.headers["id"]
        assert span["data"]["messaging.message.body.size"] == len(message.body)


def test_a_secure_message_carries_no_trace(
    topology: BrokerAddress, sink: EnvelopeSink, web: None
) -> None:
    app = service(topology)
    with request() as trace:
        app.tasks["vault.pay"].delay(1)
        app.tasks["vault.pay"].apply_async((1,), headers={"sentry-trace": f"{trace}-{'0' * 16}-1"})
        in_batch(app)
    for message in messages(topology, "secure", "secure"):
        told = json.dumps(message.headers)
        assert trace not in told
        assert "sentry" not in told
        assert "baggage" not in told
    [transaction] = sink.wait_for("transaction")
    assert [span["description"] for span in transaction["spans"]] == ["plain.add"]


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_one_trace_from_the_request_through_a_chain_over_two_queues(
    pool: str, topology: BrokerAddress, redis: PrivateRedis, sink: EnvelopeSink, web: None
) -> None:
    app = service(topology, redis.url)
    env = environment(topology, redis.url, LANEWAY_SENTRY_DSN=sink.dsn())
    with ExitStack() as stack:
        workers = [
            stack.enter_context(WorkerProcess(queue, env, "--pool", pool))
            for queue in ("low", "default")
        ]
        with request() as trace:
            steps = chain(
                app.tasks["plain.add"].s(1, 2).set(queue="low"),
                app.tasks["plain.add"].s(3).set(queue="default"),
                app=app,
            )
            last = steps.apply_async(countdown=2)
        # And one that nobody traces, which is not sampled here either.
        app.tasks["plain.add"].apply_async((4, 5), queue="low").get(timeout=30)
        assert last.get(timeout=30) == 6
        for worker in workers:
            assert worker.stop() == 0
    transactions = {one["contexts"]["trace"]["op"]: one for one in sink.wait_for("transaction", 3)}
    jobs = [
        one for one in sink.of("transaction") if one["contexts"]["trace"]["op"] != "http.server"
    ]
    assert len(jobs) == 2
    first, second = sorted(jobs, key=lambda one: one["start_timestamp"])
    assert {one["contexts"]["trace"]["trace_id"] for one in sink.of("transaction")} == {trace}
    [asked] = transactions["http.server"]["spans"]
    [passed_on] = first["spans"]
    assert first["contexts"]["trace"]["parent_span_id"] == asked["span_id"]
    assert passed_on["parent_span_id"] == first["contexts"]["trace"]["span_id"]
    assert second["contexts"]["trace"]["parent_span_id"] == passed_on["span_id"]
    assert passed_on["data"]["messaging.destination.name"] == "default"
    assert second["spans"] == []
    for job, queue, job_id, published in (
        (first, "low", last.parent.id, asked),
        (second, "default", last.id, passed_on),
    ):
        context = job["contexts"]["trace"]
        assert (context["op"], context["status"]) == ("queue.process", "ok")
        assert job["transaction"] == "plain.add"
        data = context["data"]
        assert data["messaging.destination.name"] == queue
        assert data["messaging.message.id"] == job_id
        assert data["messaging.message.retry.count"] == 0
        size = published["data"]["messaging.message.body.size"]
        assert data["messaging.message.body.size"] == size
        # The first step was delayed by two seconds.
        assert 0 <= data["messaging.message.receive.latency"] < 1500


def test_workers_sample_what_nobody_has_decided(
    topology: BrokerAddress, redis: PrivateRedis, sink: EnvelopeSink
) -> None:
    app = service(topology, redis.url)
    env = environment(
        topology, redis.url, LANEWAY_SENTRY_DSN=sink.dsn(), LANEWAY_SENTRY_TRACES="0,low=1"
    )
    with WorkerProcess("low", env) as worker:
        result = app.send_task("plain.flaky", (1,), queue="low")
        assert result.get(timeout=30)["attempt"] == 2
        worker.stop()
    runs = sorted(sink.wait_for("transaction", 2), key=lambda one: one["start_timestamp"])
    contexts = [one["contexts"]["trace"] for one in runs]
    assert [one["data"]["messaging.message.retry.count"] for one in contexts] == [0, 1]
    assert [one["status"] for one in contexts] == ["internal_error", "ok"]
    assert {one["trace_id"] for one in contexts} == {uuid.UUID(result.id).hex}
    [again] = runs[0]["spans"]
    assert again["data"]["messaging.message.retry.count"] == 1
    assert contexts[1]["parent_span_id"] == again["span_id"]


# -- crons -------------------------------------------------------------------------------------


def call_entries(address: BrokerAddress, *names: str) -> dict[str, str]:
    """Make the jobs of entries with beat's own code; the check-in's id of each."""
    app = make_app(address)
    app.conf.beat_schedule = SCHEDULE
    scheduler = Scheduler(app)
    name_entries(scheduler)
    ids = {}
    for name in names:
        result = scheduler.apply_async(scheduler.schedule[name], advance=False)
        ids[name] = hex_of(result.id)
    return ids


def statuses(sink: EnvelopeSink, check_in: str) -> list[str]:
    return [one["status"] for one in sink.of("check_in") if one["check_in_id"] == check_in]


def test_scheduled_jobs_check_in_and_out(
    topology: BrokerAddress, redis: PrivateRedis, sink: EnvelopeSink
) -> None:
    env = environment(topology, redis.url, LANEWAY_SENTRY_DSN=sink.dsn())
    names = ("Add up!", "flaky", "fails", "gives up", "hangs", "vanishes", "too often", "left out")
    tasks = "support.scheduled_tasks:app"
    with ExitStack() as stack:
        control = stack.enter_context(ControlProcess(env))
        low = stack.enter_context(WorkerProcess("low", env, app=tasks))
        stack.enter_context(WorkerProcess("default", env, app=tasks))
        ids = call_entries(topology, *names)
        ids["pays"] = call_entries(topology, "pays")["pays"]
        control.wait_for("dead_lettered", outcome="lost")
        sink.wait_for("check_in", 2 + 3 + 2 + 3 + 2 + 3)
        low.wait_for("succeeded", 4)
        said = [line for line in low.lines if "Sentry's monitors" in line]
    found = {name: statuses(sink, check_in) for name, check_in in ids.items()}
    assert found.pop("vanishes")[-1] == "error"
    assert found == {
        "Add up!": ["in_progress", "ok"],
        "flaky": ["in_progress", "in_progress", "ok"],
        "fails": ["in_progress", "error"],
        "gives up": ["in_progress", "in_progress", "error"],
        "hangs": ["in_progress", "error"],
        "too often": [],
        "left out": [],
        "pays": [],
    }
    assert len(said) == 1
    assert "'too often' is not watched" in said[0]
    [first] = [one for one in sink.of("check_in") if one["status"] == "ok"
               and one["check_in_id"] == ids["Add up!"]]  # fmt: skip
    assert first["monitor_slug"] == "add-up"
    assert first["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "0 0 29 2 *"},
        "timezone": "UTC",
        "checkin_margin": 5,
        "max_runtime": 30,
        "owner": "team:sums",
    }
    assert first["duration"] < 1


def test_crons_can_be_turned_off(
    topology: BrokerAddress, redis: PrivateRedis, sink: EnvelopeSink
) -> None:
    env = environment(topology, redis.url, LANEWAY_SENTRY_DSN=sink.dsn(), LANEWAY_SENTRY_CRONS="0")
    with WorkerProcess("low", env, app="support.scheduled_tasks:app") as worker:
        call_entries(topology, "Add up!")
        worker.wait_for("succeeded")
        worker.stop()
    assert sink.of("check_in") == []


def test_secure_scheduled_jobs_check_in_only_at_their_own_address(
    topology: BrokerAddress, redis: PrivateRedis, sink: EnvelopeSink
) -> None:
    tasks = "support.scheduled_tasks:app"
    env = environment(
        topology, redis.url, LANEWAY_SENTRY_DSN=sink.dsn("1"), LANEWAY_SENTRY_TRACES="1"
    )
    with WorkerProcess("secure", env, app=tasks) as worker:
        call_entries(topology, "pays")
        worker.wait_for("succeeded")
        worker.stop()
    assert sink.items == []
    with WorkerProcess(
        "secure", {**env, "LANEWAY_SENTRY_SECURE_DSN": sink.dsn("2")}, app=tasks
    ) as worker:
        ids = call_entries(topology, "pays")
        worker.wait_for("succeeded")
        worker.stop()
    assert sink.of("check_in", "1") == []
    sent = sink.wait_for("check_in", 2, project="2")
    assert statuses(sink, ids["pays"]) == ["in_progress", "ok"]
    for one in sent:
        assert set(one) <= {
            "type", "check_in_id", "monitor_slug", "status", "duration", "environment",
            "monitor_config",
        }  # fmt: skip
    assert sink.of("transaction") == []
