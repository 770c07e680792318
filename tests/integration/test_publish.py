"""A publish is accepted, or one error says why it was not, within the deadline."""

from __future__ import annotations

import gc
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import kombu
import pytest
from celery import signals

import laneway
from laneway.broker import BrokerAddress
from support.brokers import depth, elsewhere, port_of, room_for
from support.proxy import Proxy
from support.workers import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True, params=["short", "celerys"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways of a call keep the same promises; a receiver sends it Celery's own way."""

    def listen(**_: Any) -> None:
        """A receiver."""

    if request.param == "celerys":
        signals.before_task_publish.connect(listen)
    yield
    signals.before_task_publish.disconnect(listen)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_an_accepted_job_lies_in_the_queue_that_the_policy_chose(topology: BrokerAddress) -> None:
    app = make_app(topology)
    app.send_task("plain.urgent")
    app.send_task("plain.other")
    app.send_task("vault.pay", (1,))
    assert depth(topology, "high") == 1
    assert depth(topology, "default") == 1
    assert depth(topology, "secure", "secure") == 1


def test_the_message_carries_priority_and_persistence(topology: BrokerAddress) -> None:
    app = make_app(topology)
    app.send_task("plain.urgent", priority=7)
    with kombu.Connection(topology.kombu_urls("jobs")) as connection:
        message = connection.default_channel.basic_get("high", no_ack=True)
    assert message.properties["priority"] == 7
    assert message.properties["delivery_mode"] == 2
    assert message.headers["laneway_queue"] == "high"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"queue": "hgih"}, laneway.UnknownQueue),
        ({"priority": 10}, laneway.InvalidPriority),
        ({"priority": -1}, laneway.InvalidPriority),
        ({"priority": "9"}, laneway.InvalidPriority),
        ({"priority": True}, laneway.InvalidPriority),
        ({"queue": "secure"}, laneway.RouteIsSecure),
        ({"args": (object(),)}, laneway.ArgumentsNotSerializable),
        ({"args": ("x" * 1_100_000,)}, laneway.MessageTooLarge),
        ({"routing_key": "low"}, laneway.OptionRefused),
        ({"serializer": "pickle"}, laneway.OptionRefused),
        ({"countdown": 2**28}, laneway.OptionRefused),
    ],
)
def test_a_wrong_call_publishes_nothing(
    topology: BrokerAddress, options: dict[str, Any], error: type[Exception]
) -> None:
    app = make_app(topology)
    facts: list[laneway.Fact] = []
    app.facts.listen(facts.append)
    with pytest.raises(error):
        app.send_task("plain.add", **options)
    assert depth(topology, "default") == depth(topology, "high") == 0
    assert [fact.kind for fact in facts] == ["refused"]


def test_a_secure_task_cannot_leave(topology: BrokerAddress) -> None:
    with pytest.raises(laneway.RouteIsSecure, match="vault"):
        make_app(topology).send_task("vault.pay", (1,), queue="low")
    assert depth(topology, "low") == 0


def test_broker_down(topology: BrokerAddress) -> None:
    app = make_app(elsewhere(topology, port=free_port()), publish_deadline=1.0)
    began = time.monotonic()
    with pytest.raises(laneway.BrokerUnreachable) as caught:
        app.send_task("plain.add")
    assert time.monotonic() - began < 8
    assert not caught.value.maybe_accepted


def test_wrong_password_is_said_at_once_and_never_printed(topology: BrokerAddress) -> None:
    app = make_app(elsewhere(topology, password="wr0ng-one"))
    began = time.monotonic()
    with pytest.raises(laneway.BrokerRefusedLogin) as caught:
        app.send_task("plain.add")
    assert time.monotonic() - began < 8
    assert "wr0ng-one" not in str(caught.value)


def test_missing_virtual_host(topology: BrokerAddress) -> None:
    app = make_app(elsewhere(topology, prefix="nobody-made-this-"))
    with pytest.raises(laneway.VirtualHostMissing, match="topology apply"):
        app.send_task("plain.add")


def test_unroutable_and_the_connection_is_usable_afterwards(topology: BrokerAddress) -> None:
    app = make_app(topology)
    app.send_task("plain.add", queue="low")
    with kombu.Connection(topology.kombu_urls("jobs")) as connection:
        channel = connection.default_channel
        for key in ("low", "#.low"):
            channel.queue_unbind("low", "jobs", key)
        try:
            with pytest.raises(laneway.Unroutable, match="topology plan"):
                app.send_task("plain.add", queue="low")
        finally:
            for key in ("low", "#.low"):
                channel.queue_bind("low", "jobs", key)
    app.send_task("plain.add", queue="low")
    assert depth(topology, "low") == 2


def test_no_topology(bare_address: BrokerAddress) -> None:
    with pytest.raises(laneway.TopologyMissing, match="topology apply"):
        make_app(bare_address).send_task("plain.add")


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(topology: BrokerAddress) -> None:
    app = make_app(topology)
    with room_for(topology, "low", 2):
        until = time.monotonic() + 60
        with pytest.raises(laneway.QueueFull, match="max_length") as caught:  # noqa: PT012
            while time.monotonic() < until:
                app.send_task("plain.add", queue="low")
        assert not caught.value.maybe_accepted
        # Quorum queues may take one or two more than the limit; they never drop one.
        assert 2 <= depth(topology, "low") <= 12
        with kombu.Connection(topology.kombu_urls("jobs")) as connection:
            connection.default_channel.queue_purge("low")
        app.send_task("plain.add", queue="low")
        assert depth(topology, "low") == 1


def test_a_broker_that_falls_silent_ends_with_the_deadline(topology: BrokerAddress) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port), publish_deadline=1.0)
        app.send_task("plain.add", queue="low")
        proxy.silent.set()
        began = time.monotonic()
        with pytest.raises(laneway.PublishTimeout) as caught:
            app.send_task("plain.add", queue="low")
        assert time.monotonic() - began < 8
        assert caught.value.maybe_accepted
        proxy.silent.clear()
        app.send_task("plain.add", queue="low")
        app.close()


def test_a_lost_connection_is_made_again_within_the_call(topology: BrokerAddress) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port))
        app.send_task("plain.add", queue="low")
        proxy.cut()
        app.send_task("plain.add", queue="low")
        assert depth(topology, "low") == 2
        app.close()


def test_of_several_brokers_one_that_answers_is_found(topology: BrokerAddress) -> None:
    dead = elsewhere(topology, port=free_port()).urls
    cluster = BrokerAddress(
        urls=(*dead, *topology.urls), management_url=None, vhost_prefix=topology.vhost_prefix
    )
    make_app(cluster).send_task("plain.add", queue="low")
    assert depth(topology, "low") == 1


def test_threads_publish_side_by_side(topology: BrokerAddress) -> None:
    app = make_app(topology)
    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda i: app.send_task("plain.add", (i, i)), range(200)))
    assert len({result.id for result in results}) == 200
    assert depth(topology, "default") == 200


def test_a_forked_child_publishes_without_disturbing_its_parent(topology: BrokerAddress) -> None:
    import os

    app = make_app(topology)
    app.send_task("plain.add")
    with app.publisher("jobs").producer() as producer:
        channel = producer.channel
    child = os.fork()
    if child == 0:
        try:
            app.send_task("plain.add")
            gc.collect()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    app.send_task("plain.add")
    assert depth(topology, "default") == 3
    # The parent's connection is the one it had: the child did not shut it down.
    with app.publisher("jobs").producer() as producer:
        assert producer.channel is channel


def test_a_group_that_is_refused_says_what_was_accepted(topology: BrokerAddress) -> None:
    from celery import group

    app = make_app(topology)
    good = [app.signature("plain.add", args=(i, i)) for i in range(3)]
    bad = app.signature("plain.add", args=(object(), 1))
    unsent = app.signature("plain.add", args=(9, 9))
    with pytest.raises(laneway.LanewayError) as caught:
        group([*good, bad, unsent], app=app).apply_async()
    assert len(caught.value.accepted) == 3
    assert depth(topology, "default") == 3


def test_a_group_crosses_the_virtual_hosts(topology: BrokerAddress) -> None:
    from celery import group

    app = make_app(topology)
    members = [
        app.signature("plain.add", args=(1, 1)),
        app.signature("vault.pay", args=(1,)),
        app.signature("plain.add", args=(2, 2), queue="low"),
    ]
    group(members, app=app).apply_async()
    assert depth(topology, "default") == depth(topology, "low") == 1
    assert depth(topology, "secure", "secure") == 1
