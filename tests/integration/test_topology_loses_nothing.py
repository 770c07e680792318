"""The broker drops nothing: all that a queue gives up, refuses or delays can be found again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from amqp import Message
from amqp.exceptions import MessageNacked
from kombu.connection import Connection
from kombu.transport.native_delayed_delivery import calculate_routing_key

from laneway.broker.management import Management
from laneway.policy import load_policy
from laneway.topology import DEAD_INBOX, LETTER_STREAM, apply_plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import TestBroker
    from laneway.broker.address import BrokerAddress
    from laneway.policy import Policy

pytestmark = pytest.mark.integration

HEADERS = {"task": "shop.pay", "nested": {"a": [1, 2]}}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The queues ``high`` and ``tiny`` (two jobs)."""
    root = tmp_path_factory.mktemp("policy")
    (root / "queues").mkdir()
    (root / "routing.py").write_text("ROUTES = []\n")
    for name, limits in {
        "default": "",
        "high": "[broker]\ndelivery_limit = 2\n",
        "tiny": "[broker]\nmax_length = 2\n",
    }.items():
        text = f'summary = "{name}"\nservice_level = "1s"\n{limits}'
        (root / "queues" / f"{name}.toml").write_text(text)
    return load_policy(root)


@pytest.fixture(scope="module")
def applied(module_address: BrokerAddress, broker: TestBroker, policy: Policy) -> BrokerAddress:
    """Virtual hosts in which the policy was applied."""
    if broker.private:
        # Queues that are declared from now on try again after 3 s (not 180) what was refused.
        setting = "dead_letter_worker_publisher_confirm_timeout"
        broker.private.ctl("eval", f"application:set_env(rabbit, {setting}, 3000).")
    with Management(module_address) as management:
        plan = make_plan(management, policy, module_address)
        apply_plan(management, plan, module_address)
    return module_address


@pytest.fixture
def channel(applied: BrokerAddress) -> Iterator[Any]:
    """A confirming channel; its test leaves the queues empty."""
    connect: Any = Connection
    url = applied.kombu_urls("jobs")
    with connect(url, transport_options={"confirm_publish": True}) as made:
        yield made.default_channel
        for queue in ("high", "tiny", DEAD_INBOX):
            assert count(made.default_channel, queue) == 0


def publish(channel: Any, key: str, body: str, exchange: str = "jobs", **properties: Any) -> None:
    properties = {"delivery_mode": 2, "application_headers": HEADERS, "priority": 7, **properties}
    channel.basic_publish(Message(body, **properties), exchange, key, mandatory=True, timeout=5)


def take(channel: Any, queue: str, *, within: float = 10.0, no_ack: bool = True) -> Any:
    until = time.monotonic() + within
    while True:
        if message := channel.basic_get(queue, no_ack=no_ack):
            return message
        assert time.monotonic() < until, f"nothing came into {queue} within {within} s"
        time.sleep(0.05)


def count(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).message_count)


def assert_letter(letter: Any, body: str, reason: str, queue: str) -> None:
    """Everything that the keeper needs came along."""
    assert letter.body == body
    assert letter.priority == 7
    assert letter.application_headers["task"] == "shop.pay"
    assert letter.application_headers["nested"] == {"a": [1, 2]}
    death = letter.application_headers["x-death"][0]
    assert (death["queue"], death["reason"]) == (queue, reason)
    assert death["routing-keys"] == [queue]
    assert letter.delivery_info["routing_key"] == queue
    # It does not expire a second time.
    assert "expiration" not in letter.properties


def test_an_expired_job_is_in_the_dead_inbox(channel: Any) -> None:
    publish(channel, "high", "late", expiration="100")
    assert_letter(take(channel, DEAD_INBOX), "late", "expired", "high")


def test_a_rejected_job_is_in_the_dead_inbox(channel: Any) -> None:
    publish(channel, "high", "bad", expiration="60000")
    message = take(channel, "high", no_ack=False)
    channel.basic_reject(message.delivery_tag, requeue=False)
    assert_letter(take(channel, DEAD_INBOX), "bad", "rejected", "high")


@pytest.mark.broker43
def test_a_job_beyond_the_delivery_limit_is_in_the_dead_inbox(channel: Any) -> None:
    publish(channel, "high", "poison")
    for _ in range(3):
        message = take(channel, "high", no_ack=False)
        channel.basic_reject(message.delivery_tag, requeue=True)
    assert_letter(take(channel, DEAD_INBOX), "poison", "delivery_limit", "high")


@pytest.mark.broker43
def test_looking_at_a_dead_letter_again_and_again_does_not_lose_it(channel: Any) -> None:
    publish(channel, "high", "bad", expiration="1")
    for _ in range(30):  # the broker's own default limit is 20
        message = take(channel, DEAD_INBOX, no_ack=False)
        channel.basic_reject(message.delivery_tag, requeue=True)
    assert take(channel, DEAD_INBOX).body == "bad"


def test_a_full_queue_refuses_and_keeps_what_it_has(channel: Any) -> None:
    accepted = []
    with pytest.raises(MessageNacked):  # noqa: PT012 -- which publish is refused is not promised
        for number in range(10):
            publish(channel, "tiny", str(number))
            accepted.append(str(number))
    assert 2 <= len(accepted) <= 4  # a quorum queue goes over its limit by about one
    assert [take(channel, "tiny").body for _ in accepted] == accepted
    assert count(channel, DEAD_INBOX) == 0


def test_a_delayed_job_comes_back_to_its_queue(channel: Any) -> None:
    started = time.monotonic()
    key = calculate_routing_key(2, "high")
    publish(channel, key, "delayed", "celery_delayed_27")
    message = take(channel, "high")
    assert time.monotonic() - started >= 1.9
    assert (message.body, message.priority) == ("delayed", 7)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_delay_that_ends_while_the_queue_is_full_is_kept(channel: Any) -> None:
    """The delay level keeps the job and tries again, every 180 s unless the broker is told else."""
    for number in range(10):
        try:
            publish(channel, "tiny", str(number))
        except MessageNacked:
            break
    held = count(channel, "tiny")
    publish(channel, calculate_routing_key(1, "tiny"), "patient", "celery_delayed_27")
    time.sleep(5)
    assert count(channel, "tiny") == held
    for _ in range(held):
        take(channel, "tiny")
    assert take(channel, "tiny", within=200).body == "patient"
    assert count(channel, DEAD_INBOX) == 0


def test_a_letter_stream_keeps_what_is_published_to_it(channel: Any) -> None:
    """By the default exchange, confirmed and mandatory; nothing is bound to it."""
    for number in range(5):
        publish(channel, LETTER_STREAM, str(number), "")
    channel.basic_qos(0, 10, False)
    bodies: list[str] = []

    def note(message: Any) -> None:
        bodies.append(message.body)
        channel.basic_ack(message.delivery_tag)

    channel.basic_consume(LETTER_STREAM, callback=note, arguments={"x-stream-offset": "first"})
    until = time.monotonic() + 60
    while len(bodies) < 5 and time.monotonic() < until:
        channel.connection.drain_events(timeout=5)
    assert bodies == ["0", "1", "2", "3", "4"]
