"""A broker seen from outside: how deep a queue is, another way to it, less room in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import kombu

from laneway.broker import BrokerAddress
from laneway.broker.management import Management

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from laneway import Laneway
    from laneway.broker.address import VhostKind


def depth(address: BrokerAddress, queue: str, kind: str = "jobs") -> int:
    """Jobs that wait in a queue."""
    # RabbitMQ 4.3 now and then accepts one of many short connections and says nothing more.
    with kombu.Connection(address.kombu_urls(kind), connect_timeout=3) as connection:  # type: ignore[arg-type]
        connection.ensure_connection(max_retries=5, interval_start=0)
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def jobs(app: Laneway, queue: str = "default", vhost: VhostKind = "jobs") -> list[Any]:
    """The messages in a queue, which is empty afterwards."""
    found = []
    with kombu.Connection(app.address.kombu_urls(vhost)) as connection:
        channel: Any = connection.default_channel
        while message := channel.basic_get(queue, no_ack=True):
            found.append(message)
    return found


def elsewhere(address: BrokerAddress, **changes: object) -> BrokerAddress:
    """The same broker under another user, password or port."""
    url = urlsplit(address.urls[0])
    parts = {"user": url.username, "password": url.password, "port": url.port, **changes}
    return BrokerAddress(
        urls=(f"amqp://{parts['user']}:{parts['password']}@127.0.0.1:{parts['port']}",),
        management_url=None,
        vhost_prefix=str(parts.get("prefix", address.vhost_prefix)),
    )


def room_for(address: BrokerAddress, queue: str, messages: int) -> AbstractContextManager[None]:
    """Let a queue hold only so many messages for a while."""
    return changed_policy(address, queue, {"max-length": messages})


@contextmanager
def changed_policy(
    address: BrokerAddress, queue: str, changes: Mapping[str, Any]
) -> Iterator[None]:
    """Change a queue's policy on the broker for a while, whatever its file says."""
    vhost = address.vhost("jobs")
    with Management(address) as management:
        [before] = [p for p in management.policies(vhost) if p.name == f"laneway.{queue}"]

        def put(definition: dict[str, Any]) -> None:
            management.put_policy(
                vhost,
                before.name,
                pattern=before.pattern,
                definition=definition,
                priority=before.priority,
                apply_to=before.apply_to,
            )

        put({**before.definition, **changes})
        try:
            yield
        finally:
            put(dict(before.definition))


def port_of(address: BrokerAddress) -> int:
    """The port of a broker."""
    port = urlsplit(address.urls[0]).port
    assert port
    return port
