"""A RabbitMQ cluster on loopback: nodes with their own ports and data, one port mapper."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from laneway.local import PrivateRabbitMQ, install_rabbitmq
from laneway.local.ports import free_ports
from laneway.local.rabbitmq_config import NodeIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laneway.local import RunDirectory
    from laneway.local.install import Series


class Cluster:
    """Nodes of one cluster, or a single node; use as a context manager.

    Quorum queues have a member on each of three nodes: that is RabbitMQ's default.
    """

    def __init__(self, run: RunDirectory, nodes: int = 1, *, series: Series = "4.3") -> None:
        programs = install_rabbitmq(series)
        first = NodeIdentity.random()
        self.nodes = [
            PrivateRabbitMQ(run, programs, first),
            *(
                PrivateRabbitMQ(run, programs, _beside(first, number), port_mapper=False)
                for number in range(2, nodes + 1)
            ),
        ]

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            for node in self.nodes[1:]:
                node.ctl("stop_app")
                node.ctl("join_cluster", self.nodes[0].node.name)
                node.ctl("start_app")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            node.stop()

    @property
    def management_urls(self) -> list[str]:
        """Of every node, also of those that are down."""
        return [node.management_url for node in self.nodes]

    def begin(self, nodes: Sequence[PrivateRabbitMQ]) -> None:
        """Start nodes that were ended, at the same time: one alone may wait for another.

        Raises:
            ServerStartFailed: one did not come up.
        """
        with ThreadPoolExecutor(len(nodes)) as threads:
            for started in [threads.submit(node.begin) for node in nodes]:
                started.result()


def _beside(first: NodeIdentity, number: int) -> NodeIdentity:
    """Another node that knows the first one's secrets and uses its port mapper."""
    amqp, management, distribution = free_ports(3)
    return replace(
        first,
        name=f"laneway-{secrets.token_hex(6)}-{number}@localhost",
        amqp_port=amqp,
        management_port=management,
        distribution_port=distribution,
    )
