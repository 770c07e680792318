"""Making the virtual hosts of a test stand as a policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kombu

from laneway.broker.address import VHOST_KINDS
from laneway.broker.management import Management
from laneway.policy import load_policy
from laneway.topology import apply_plan, make_plan
from support.workers import POLICY

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress


def apply_policy(address: BrokerAddress, policy: Path = POLICY) -> None:
    """What ``laneway topology apply`` does."""
    loaded = load_policy(policy)
    with Management(address) as management:
        apply_plan(management, make_plan(management, loaded, address), address)


def purge_queues(address: BrokerAddress, policy: Path = POLICY) -> None:
    """Leave no job of another test behind."""
    loaded = load_policy(policy)
    for kind in VHOST_KINDS:
        # RabbitMQ 4.3 now and then accepts one of many short connections and says nothing more.
        with kombu.Connection(address.kombu_urls(kind), connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=5, interval_start=0)
            for queue in (*loaded.vhost_queues(kind), "dead.inbox"):
                connection.default_channel.queue_purge(queue)
