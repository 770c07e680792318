"""The transport over the C client, as kombu uses it, on real brokers."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import amqp.exceptions
import kombu
import pytest
from kombu.asynchronous import Hub

from laneway.errors import SettingsError

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress

if find_spec("librabbitmq") is None:
    pytest.skip(
        "the extra laneway[librabbitmq] is not installed (no wheel for this platform)",
        allow_module_level=True,
    )

from laneway.broker import librabbitmq as over_c

pytestmark = pytest.mark.integration


@pytest.fixture
def plain(bare_address: BrokerAddress) -> Any:
    over_c.register()
    address = bare_address.kombu_urls("jobs").replace("pyamqp://", f"{over_c.SCHEME}://")
    with kombu.Connection(address) as connection:
        yield connection


@pytest.fixture
def queue() -> kombu.Queue:
    exchange = kombu.Exchange("x", type="topic", durable=True)
    arguments = {"x-queue-type": "quorum"}
    return kombu.Queue("q", exchange, routing_key="q", queue_arguments=arguments)


def take(connection: Any, queue: kombu.Queue, count: int) -> list[Any]:
    found: list[Any] = []
    with kombu.Consumer(connection, [queue], on_message=found.append) as consumer:
        consumer.qos(prefetch_count=count)
        until_then = time.monotonic() + 40
        while len(found) < count and time.monotonic() < until_then:
            connection.drain_events(timeout=40)
        for message in found:
            message.ack()
    return found


def test_messages_arrive_whole(plain: Any, queue: kombu.Queue) -> None:
    producer = kombu.Producer(plain)
    headers = {"none": None, "text": "é", "list": ["a", None, 1.5], "table": {"n": 2**40}}
    # One frame and several.
    bodies = [bytes([65 + n]) * size for n, size in enumerate([10, 1000, 300_000, 300_000])]
    for body in bodies:
        producer.publish(
            body,
            exchange=queue.exchange,
            routing_key="q",
            declare=[queue],
            headers=headers,
            priority=3,
            correlation_id="c",
            content_type="application/data",
            content_encoding="binary",
        )
    found = take(plain, queue, 4)
    assert [message.body for message in found] == bodies
    # Not a view of memory that the library will use again.
    assert {type(message.body) for message in found} == {bytes}
    assert found[0].headers == headers
    assert found[0].properties["priority"] == 3
    assert found[0].properties["correlation_id"] == "c"


def test_what_a_cancelled_consumer_held_or_would_have_got_goes_back(
    plain: Any, queue: kombu.Queue
) -> None:
    producer = kombu.Producer(plain)
    for number in range(200):
        producer.publish(number, exchange=queue.exchange, routing_key="q", declare=[queue])
    for _ in range(5):
        taken: list[Any] = []
        channel = plain.channel()
        tag = channel.basic_consume("q", callback=taken.append)
        plain.drain_events(timeout=40)
        # Some of the rest lies in the library's memory by now.
        channel.basic_cancel(tag)
        while True:
            try:
                plain.drain_events(timeout=0.2)
            except TimeoutError:
                break
        assert len(taken) == 1
        channel.close()
    assert len(take(plain, queue, 200)) == 200


def test_the_event_loop_hears_of_what_was_read_while_waiting_for_an_answer(
    plain: Any, queue: kombu.Queue
) -> None:
    hub = Hub()
    hub.timer.call_repeatedly(0.05, lambda: None)  # so that a turn of the loop ends
    plain.register_with_event_loop(hub)
    for number in range(5):
        kombu.Producer(plain).publish(
            number, exchange=queue.exchange, routing_key="q", declare=[queue]
        )
    taken: list[Any] = []
    with kombu.Consumer(plain, [queue], on_message=taken.append) as consumer:
        channel = consumer.channel
        end = time.monotonic() + 40
        while channel.queue_declare("q", passive=True).message_count:
            assert time.monotonic() < end
        # All are on their way: this answer comes behind them, and the socket is empty afterwards.
        channel.queue_declare("q", passive=True)
        assert taken == []
        while len(taken) < 5 and time.monotonic() < end:
            hub.run_once()
        assert len(taken) == 5
    hub.close()


def test_no_call_harms_the_interpreter(plain: Any) -> None:
    """The library frees what it makes of a text without the interpreter's lock."""
    channel = plain.default_channel
    for number in range(200):
        name = f"a-rather-long-name-that-nothing-else-has-{number}"
        channel.queue_declare(name, durable=True)
        assert channel.basic_get(queue=name) is None
        channel.basic_cancel(channel.basic_consume(name, consumer_tag=f"tag-{name}"))
        channel.queue_purge(queue=name)
        channel.queue_delete(queue=name)
    assert plain.connected


def test_what_a_callback_raises_arrives_as_itself(plain: Any, queue: kombu.Queue) -> None:
    kombu.Producer(plain).publish({}, exchange=queue.exchange, routing_key="q", declare=[queue])

    def callback(message: Any) -> None:
        message.ack()
        raise KeyError("mine")

    with (
        kombu.Consumer(plain, [queue], on_message=callback),
        pytest.raises(KeyError, match="mine"),
    ):
        plain.drain_events(timeout=40)
    assert plain.connected


def test_errors_are_those_of_py_amqp(plain: Any, bare_address: BrokerAddress) -> None:
    with pytest.raises(amqp.exceptions.NotFound):
        plain.default_channel.queue_declare("missing", passive=True)
    with pytest.raises(TimeoutError):
        plain.drain_events(timeout=0.05)
    wrong = bare_address.as_user("nobody", "wrong").kombu_urls("jobs")
    with pytest.raises(amqp.exceptions.AccessRefused):
        kombu.Connection(wrong.replace("pyamqp", over_c.SCHEME)).connect()


def test_a_password_is_never_shown(plain: Any) -> None:
    assert plain.connection.password not in repr(plain.connection)


@pytest.mark.parametrize("asked", [{"mandatory": True}, {"confirm_timeout": 1.0}, {"timeout": 1.0}])
def test_a_publish_that_asks_for_a_promise_is_refused(plain: Any, asked: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="py-amqp"):
        kombu.Producer(plain).publish({}, routing_key="q", **asked)


@pytest.mark.parametrize("asked", [{"ssl": True}, {"transport_options": {"confirm_publish": True}}])
def test_a_connection_that_asks_for_a_promise_is_refused(
    bare_address: BrokerAddress, asked: dict[str, Any]
) -> None:
    over_c.register()
    url = bare_address.kombu_urls("jobs").replace("pyamqp://", f"{over_c.SCHEME}://")
    with pytest.raises(SettingsError, match=r"librabbitmq has no (TLS|confirms)"):
        kombu.Connection(url, **asked).connect()
