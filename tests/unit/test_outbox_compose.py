"""Calls become rows: everything that can be wrong with a call is said there, without a broker."""

from __future__ import annotations

import contextvars
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from amqp.serialization import loads
from celery import chain, group
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

import laneway
from laneway import Laneway
from laneway.broker import broker_address
from laneway.outbox.compose import call, composing
from laneway.outbox.sqlalchemy import Outbox
from laneway.policy import load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.outbox import Row
    from laneway.publish.frames import Publish

POLICY = Path(__file__).parents[1] / "support" / "policy"


@pytest.fixture
def app() -> Iterator[Laneway]:
    """An application whose broker nobody can reach."""
    made = Laneway(
        "t",
        policy=load_policy(POLICY),
        address=broker_address("amqp://nobody:nothing@127.0.0.1:1", env={}, vhost_prefix=""),
        backend="disabled://",
        set_as_current=False,
    )

    @made.task(name="plain.add", shared=False)
    def add(a: int, b: int) -> int:
        return a + b

    yield made
    made.close()


def message_of(publish: Publish) -> tuple[str, str, dict[str, Any], Any]:
    """Exchange, routing key, properties and the decoded body."""
    (_, exchange, key, _, _), _ = loads("Bssbb", publish.method[11:-1], 0)
    message = amqp.Message()
    message._load_properties(60, publish.properties, 0)
    return exchange, key, message.properties, json.loads(publish.body)


def composed(app: Laneway, signature: Any, key: str | None = None) -> list[Row]:
    with composing(app, key) as made:
        call(app, signature)
    return made.rows


def headers_of(app: Laneway, **options: Any) -> dict[str, Any]:
    with composing(app, None) as made:
        app.tasks["plain.add"].apply_async((2, 3), **options)
    [row] = made.rows
    _, _, properties, _ = message_of(row.message)
    headers: dict[str, Any] = properties["application_headers"]
    return headers


def test_a_countdown_is_the_brokers_alone_and_an_eta_stays(app: Laneway) -> None:
    """The clock of whoever publishes, or of a worker, must not make five seconds an hour."""
    due = datetime.now(UTC) + timedelta(hours=1)
    assert headers_of(app, countdown=5)["eta"] is None
    # As Celery has it, a countdown wins.
    assert headers_of(app, countdown=5, eta=due)["eta"] is None
    stays = datetime.fromisoformat(headers_of(app, eta=due)["eta"])
    assert 0 <= (stays - due).total_seconds() < 2


def test_a_call_becomes_what_would_be_published(app: Laneway) -> None:
    with composing(app, "order-7") as made:
        result = app.tasks["plain.add"].apply_async((2, 3), priority=7)
    [row] = made.rows
    assert (row.job_id, row.task, row.queue) == (result.id, "plain.add", "default")
    assert (row.priority, row.vhost, row.order_key) == (7, "jobs", "order-7")
    exchange, routing_key, properties, body = message_of(row.message)
    assert (exchange, routing_key) == ("jobs", "default")
    assert properties["priority"] == 7
    assert properties["delivery_mode"] == 2
    assert properties["correlation_id"] == result.id
    assert properties["application_headers"]["id"] == result.id
    assert body[0] == [2, 3]


@pytest.mark.parametrize(
    "options",
    [{"countdown": 60}, {"link": "signature"}, {"expires": 60}, {"headers": {"a": 1}}],
    ids=str,
)
def test_what_goes_celerys_own_way_needs_no_broker_either(
    app: Laneway, options: dict[str, Any]
) -> None:
    if "link" in options:
        options = {"link": app.signature("plain.add", (1,))}
    [row] = composed(app, app.signature("plain.add", (2, 3), **options))
    exchange, routing_key, properties, body = message_of(row.message)
    assert row.queue == "default"
    assert properties["correlation_id"] == row.job_id
    assert body[0] == [2, 3]
    if "countdown" in options:
        assert exchange.startswith("celery_delayed")
        assert routing_key.endswith(".default")
    if "link" in options:
        assert body[2]["callbacks"][0]["task"] == "plain.add"


def test_a_secure_route_keeps_its_virtual_host(app: Laneway) -> None:
    [row] = composed(app, app.signature("vault.pay", (1,)))
    assert (row.queue, row.vhost) == ("secure", "secure")


def test_a_chain_is_one_row_and_a_group_one_for_each(app: Laneway) -> None:
    step = app.signature("plain.add", (1, 2))
    [first] = composed(app, chain(step, step, step, app=app))
    assert len(message_of(first.message)[3][2]["chain"]) == 2
    assert [row.task for row in composed(app, group(step, step, app=app))] == ["plain.add"] * 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"queue": "hgih"}, laneway.UnknownQueue),
        ({"priority": 11}, laneway.InvalidPriority),
        ({"args": (object(),)}, laneway.ArgumentsNotSerializable),
        ({"args": ("x" * 1_100_000,)}, laneway.MessageTooLarge),
        ({"countdown": 60, "args": (object(),)}, laneway.ArgumentsNotSerializable),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_call_is_refused_where_it_is_made(
    app: Laneway, options: dict[str, Any], error: type[Exception]
) -> None:
    with composing(app) as made, pytest.raises(error):
        call(app, app.signature("plain.total", **options))
    assert made.rows == []


@pytest.mark.parametrize("key", ["", "x" * 201, 7, "a\0b"])
def test_a_key_that_no_database_could_hold(app: Laneway, key: Any) -> None:
    with pytest.raises(laneway.OptionRefused, match="expected key"), composing(app, key):
        pass


def test_what_is_no_signature(app: Laneway) -> None:
    with composing(app), pytest.raises(laneway.OptionRefused, match="expected a signature"):
        call(app, "plain.add")


def test_only_the_calls_of_the_block_and_its_thread(app: Laneway) -> None:
    app.publish_deadline = 0.2
    elsewhere: list[BaseException] = []

    def other_thread() -> None:
        try:
            app.send_task("plain.add", (1, 2))
        except laneway.PublishError as error:
            elsewhere.append(error)

    with composing(app) as made:
        app.send_task("plain.add", (1, 2))
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join(20)
    assert len(elsewhere) == 1
    with pytest.raises(laneway.BrokerUnreachable):
        app.send_task("plain.add", (1, 2))
    assert len(made.rows) == 1


def test_a_copied_context_takes_nothing_into_another_thread_or_after_the_end(app: Laneway) -> None:
    """``asend`` and asyncio's tasks copy the context; a session belongs to its thread and block."""
    app.publish_deadline = 0.2
    with composing(app) as made:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(context.run, app.send_task, "plain.add", (1, 2))
            assert isinstance(sending.exception(20), laneway.BrokerUnreachable)
    with pytest.raises(laneway.BrokerUnreachable):
        context.run(app.send_task, "plain.add", (1, 2))
    assert made.rows == []


def test_a_failing_insert_shows_no_job(app: Laneway) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(SQLAlchemyError) as caught:
        Outbox(app).add(connection, app.signature("plain.add", ("the-argument", 2)))
    assert "no such table" in str(caught.value)
    assert "the-argument" not in str(caught.value)
    engine.dispose()


def test_the_innermost_block_takes_the_call(app: Laneway) -> None:
    with composing(app, "outer") as outer:
        with app.batch(), composing(app, "inner") as inner:
            app.send_task("plain.add", (1, 2))
        app.send_task("plain.add", (3, 4))
    assert len(inner.rows) == len(outer.rows) == 1


def test_nothing_is_told_before_the_broker_has_it(app: Laneway) -> None:
    facts: list[laneway.Fact] = []
    app.facts.listen(facts.append)
    composed(app, app.signature("plain.add", (1, 2)))
    assert facts == []


def test_an_outbox_asks_for_no_database_library_that_it_does_not_use() -> None:
    code = "import sys, laneway.outbox; print({'django.db', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
