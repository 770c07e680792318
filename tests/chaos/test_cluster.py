"""The cluster that the suite breaks: three nodes, and a queue that outlives its leader."""

from __future__ import annotations

import time
from contextlib import closing
from urllib.parse import urlsplit

import amqp
import pytest

from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.local import PrivateRabbitMQ, RunDirectory
from laneway.local.broker43 import is_installed
from support.cluster import Cluster

pytestmark = [
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="no RabbitMQ 4.3 (make broker43)"),
]

MESSAGES = 50


def connect(node: PrivateRabbitMQ) -> amqp.Connection:
    where = urlsplit(node.url)
    connection = amqp.Connection(
        f"127.0.0.1:{node.port}",
        userid=where.username,
        password=where.password,
        confirm_publish=True,
        connect_timeout=10,
    )
    connection.connect()
    return connection


def wait_for_another_leader(node: PrivateRabbitMQ, than: str) -> None:
    address = broker_address(node.url, node.management_url, vhost_prefix="", env={})
    until = time.monotonic() + 60
    with Management(address) as management:
        while management.queue_entry("/", "jobs").get("leader") in (None, "", than):
            assert time.monotonic() < until, "no other leader within 60 s"
            time.sleep(0.2)


def test_what_was_confirmed_is_there_after_the_leader_was_killed() -> None:
    with RunDirectory.create() as run, Cluster(run, 3) as cluster:
        first = cluster.nodes[0]
        with closing(connect(first)) as connection:
            channel = connection.channel()
            quorum = {"x-queue-type": "quorum"}
            channel.queue_declare("jobs", durable=True, auto_delete=False, arguments=quorum)
            for number in range(MESSAGES):
                message = amqp.Message(str(number), delivery_mode=2)
                channel.basic_publish_confirm(message, routing_key="jobs")
        address = broker_address(first.url, first.management_url, vhost_prefix="", env={})
        with Management(address) as management:
            entry = management.queue_entry("/", "jobs")
        assert set(entry["members"]) == {node.node.name for node in cluster.nodes}
        [leader] = [node for node in cluster.nodes if node.node.name == entry["leader"]]
        others = [node for node in cluster.nodes if node is not leader]

        leader.end(crash=True)

        wait_for_another_leader(others[0], leader.node.name)
        with closing(connect(others[0])) as connection:
            channel = connection.channel()
            found = [channel.basic_get("jobs", no_ack=True) for _ in range(MESSAGES)]
        assert [int(message.body) for message in found] == list(range(MESSAGES))

        # And a node that was killed comes back.
        cluster.begin([leader])
        with closing(connect(leader)) as connection:
            assert connection.channel().queue_declare("jobs", passive=True).message_count == 0
