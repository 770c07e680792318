"""RabbitMQ 4.3 in a namespace of the plane's network, reached by pods as ``rabbitmq``."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.local import PrivateRabbitMQ, RunDirectory, install_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cluster.plane import Plane
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


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a broker is in the plane's network, whether or not there is one."""

    ip: str
    port: int = 5672
    management_port: int = 15672
    user: str = "user"
    password: str = "password"

    def url(self, host: str | None = None) -> str:
        """For AMQP, by its address or a name."""
        return f"amqp://{self.user}:{self.password}@{host or self.ip}:{self.port}"

    def management_url(self, host: str | None = None) -> str:
        """Of the management API, by its address or a name."""
        return f"http://{self.user}:{self.password}@{host or self.ip}:{self.management_port}"

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


class Broker:
    """A running broker, asked from outside of pods. Made by :func:`rabbitmq`."""

    def __init__(self, plane: Plane, endpoint: Endpoint) -> None:
        self._plane = plane
        self.endpoint = endpoint

    @contextmanager
    def management(self, prefix: str = "") -> Iterator[Management]:
        """The management API, from inside the plane's network."""
        end = self.endpoint
        address = broker_address(end.url(), end.management_url(), vhost_prefix=prefix, env={})
        with self._plane.inside(), Management(address) as management:
            yield management

    def create_user(self, user: str, password: str, *, vhost: str) -> None:
        """A user with all rights in one virtual host, which is made if there is none."""
        self._ask("PUT", f"/api/users/{user}", {"password": password, "tags": ""})
        with self.management() as management:
            management.create_vhost(vhost)
            management.grant(vhost, user)

    def delete_user(self, user: str) -> None:
        """Nobody is let in by this name any more; who is in already is thrown out."""
        self._ask("DELETE", f"/api/users/{user}")

    def connected(self, user: str) -> int:
        """Connections of a user."""
        return sum(each["user"] == user for each in self._ask("GET", "/api/connections"))

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        end = self.endpoint
        with self._plane.inside():
            answer = httpx.request(
                method,
                f"http://{end.ip}:{end.management_port}{path}",
                auth=(end.user, end.password),
                json=body,
                trust_env=False,
            )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def waiting(self, prefix: str = "", *, vhosts: Iterable[str] = ("jobs",)) -> dict[str, int]:
        """Messages of every queue that has some, running ones with them."""
        with self.management(prefix) as management:
            entries = [
                each for vhost in vhosts for each in management.queue_entries(f"{prefix}{vhost}")
            ]
        return {each["name"]: n for each in entries if (n := each.get("messages", 0))}


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
                login = urlsplit(server.url)
                yield Broker(
                    plane,
                    Endpoint(
                        ip=address,
                        port=server.port,
                        management_port=server.node.management_port,
                        user=str(login.username),
                        password=str(login.password),
                    ),
                )
            finally:
                server.stop()
    finally:
        plane.detach(PLACE)
