"""RabbitMQ 4.3 in a namespace of the plane's network, reached by pods as ``rabbitmq``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.local import PrivateRabbitMQ, RunDirectory, install_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.plane import Plane
    from laneway.broker import BrokerAddress
    from laneway.local.install import RabbitMQPrograms

#: What its namespace of the network is called.
PLACE: Final = "rabbitmq"
_OPEN: Final = """
listeners.tcp.1 = 0.0.0.0:{amqp}
management.tcp.ip = 0.0.0.0
"""


class ClusterRabbitMQ(PrivateRabbitMQ):
    """A private broker that listens on all addresses of its namespace."""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        settings = _OPEN.format(amqp=self._node.amqp_port)
        (self._folder / "conf.d" / "10-open.conf").write_text(settings)


class Broker:
    """The broker as tests and producers outside of pods reach it. Made by :func:`rabbitmq`."""

    def __init__(self, plane: Plane, server: PrivateRabbitMQ, address: str) -> None:
        self._plane = plane
        self.server = server
        self.ip = address
        login = urlsplit(server.url)
        ports = server.port, server.node.management_port
        user = f"{login.username}:{login.password}"
        self.url = f"amqp://{user}@{address}:{ports[0]}"
        self.management_url = f"http://{user}@{address}:{ports[1]}"
        self.user, self.password = login.username, login.password
        self.port, self.management_port = ports

    def address(self, prefix: str = "") -> BrokerAddress:
        """As Laneway reads it."""
        return broker_address(self.url, self.management_url, vhost_prefix=prefix, env={})

    @contextmanager
    def management(self, prefix: str = "") -> Iterator[Management]:
        """The management API, from inside the plane's network."""
        with self._plane.inside(), Management(self.address(prefix)) as management:
            yield management

    def waiting(self, prefix: str = "") -> dict[str, int]:
        """Messages of every queue that has some, running ones with them."""
        with self.management(prefix) as management:
            entries = management.queue_entries(f"{prefix}jobs")
        return {each["name"]: n for each in entries if (n := each.get("messages", 0))}

    def manifests(self) -> list[dict[str, Any]]:
        """A Service without a selector, and where it leads."""
        ports = [
            {"name": "amqp", "port": self.port},
            {"name": "http", "port": self.management_port},
        ]
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": PLACE},
                "spec": {"ports": ports},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{PLACE}-outside",
                    "labels": {
                        "kubernetes.io/service-name": PLACE,
                        "endpointslice.kubernetes.io/managed-by": "tests.laneway",
                    },
                },
                "addressType": "IPv4",
                "ports": ports,
                "endpoints": [{"addresses": [self.ip], "conditions": {"ready": True}}],
            },
        ]


@contextmanager
def rabbitmq(plane: Plane) -> Iterator[Broker]:
    """Start one for the block.

    Raises:
        ServerNotInstalled, InstallFailed, ServerStartFailed: there is none.
    """
    programs: RabbitMQPrograms = install_rabbitmq("4.3")
    address = plane.attach(PLACE)
    try:
        with RunDirectory.create() as run:
            server = ClusterRabbitMQ(run, programs)
            # What a thread inside starts stays inside.
            with plane.inside(PLACE):
                server.start()
            try:
                yield Broker(plane, server, address)
            finally:
                server.stop()
    finally:
        plane.detach(PLACE)
