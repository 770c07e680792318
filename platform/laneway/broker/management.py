"""The management interface of the broker (HTTP): the only privileged part of the platform.

::

    with Management(address) as management:
        management.queues(address.vhost("jobs"))

Every failure is a :class:`laneway.errors.BrokerError` that says what to do and shows no password.
Proxies of the environment are not used: the broker is inside the network.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx

from laneway.broker.reported import (
    ReportedBinding,
    ReportedCounters,
    ReportedExchange,
    ReportedPolicy,
    ReportedQueue,
)
from laneway.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from laneway.broker.address import BrokerAddress

#: Seconds that one request may take.
TIMEOUT: Final = 10.0

_NOT_FOUND: Final = 404
_MESSAGE_LIMIT: Final = 300


class Management:
    """A client of the management interface. A context manager: leaving it closes the connections.

    Args:
        address: where it is and who we are there (``management_url``).
        timeout: seconds that one request may take.
        transport: for tests: what carries the requests instead of the network.

    Raises:
        BrokerError: the address has no management interface.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        timeout: float = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not address.management_url:
            raise BrokerError(
                "the management interface of the broker is needed: set LANEWAY_MANAGEMENT_URL "
                "(http://user:password@host:15672)"
            )
        parts = urlsplit(address.management_url)
        #: Who we are on the broker.
        self.user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        #: Where it is, without user and password.
        self.url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        self._client = httpx.Client(
            base_url=f"{self.url}/api/",
            auth=(self.user, self._password),
            timeout=timeout,
            transport=transport,
            trust_env=False,
            # The system's certificate store (and SSL_CERT_FILE), not the one httpx brings.
            verify=ssl.create_default_context() if parts.scheme == "https" else False,
        )

    def close(self) -> None:
        """Close the connections; calling it again does nothing."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def as_own_user(self, address: BrokerAddress) -> BrokerAddress:
        """The address entered as our user: one procedure then has one user's rights everywhere."""
        return address.as_user(self.user, self._password)

    # The server

    def overview(self) -> dict[str, Any]:
        """What ``/api/overview`` answers."""
        answer: dict[str, Any] = self._get("overview")
        return answer

    def server_version(self) -> str:
        """The version of the node that answers.

        Raises:
            BrokerError: also if the server is not RabbitMQ.
        """
        overview = self.overview()
        product, version = (
            overview.get("product_name", "RabbitMQ"),
            overview.get("rabbitmq_version"),
        )
        if product != "RabbitMQ" or not version:
            raise BrokerError(
                f"expected RabbitMQ at {self.url}, it reports {product!r} {version!r}"
            )
        return str(version)

    def keeps_statistics(self) -> bool:
        """Whether the broker counts what is published and acknowledged in each queue."""
        overview = self.overview()
        return overview.get("rates_mode") != "none" and not overview.get("disable_stats")

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of the cluster with their alarms, as the broker writes them."""
        answer: list[dict[str, Any]] = self._get("nodes")
        return answer

    # Virtual hosts

    def vhosts(self) -> tuple[str, ...]:
        """The names of the virtual hosts that our user may see, sorted."""
        return tuple(sorted(entry["name"] for entry in self._get("vhosts")))

    def create_vhost(self, vhost: str) -> None:
        """Create a virtual host unless it is there, and give our user all permissions in it."""
        self._send("PUT", _path("vhosts", vhost), {})
        self.grant(vhost, self.user)

    def grant(self, vhost: str, user: str) -> None:
        """Give a user all permissions in a virtual host."""
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._send("PUT", _path("permissions", vhost, user), everything)

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host with everything in it; one that is not there is no error."""
        self._send("DELETE", _path("vhosts", vhost), missing_ok=True)

    # What is in a virtual host

    def queues(self, vhost: str) -> tuple[ReportedQueue, ...]:
        """The queues of a virtual host, with counts and rates."""
        return tuple(map(ReportedQueue.read, self.queue_entries(vhost)))

    def queue(self, vhost: str, name: str) -> ReportedQueue | None:
        """One queue, or None if there is no such queue."""
        answer = self._get(_path("queues", vhost, name), missing_ok=True)
        return None if answer is None else ReportedQueue.read(answer)

    def queue_counters(self, vhost: str) -> tuple[ReportedCounters, ...]:
        """What every queue of a virtual host counts: a third of the work of :meth:`queues`."""
        path = f"{_path('queues', vhost)}?columns={ReportedCounters.COLUMNS}"
        return tuple(map(ReportedCounters.read, self._get(path)))

    def queue_entries(self, vhost: str) -> list[dict[str, Any]]:
        """Every queue of a virtual host, as the broker writes it: more than :meth:`queues`."""
        answer: list[dict[str, Any]] = self._get(_path("queues", vhost))
        return answer

    def queue_entry(self, vhost: str, name: str) -> dict[str, Any]:
        """One queue, as the broker writes it: more than :meth:`queue_entries` say of it.

        Raises:
            BrokerError: also if there is no such queue.
        """
        answer: dict[str, Any] = self._get(_path("queues", vhost, name))
        return answer

    def delete_queue(self, vhost: str, name: str) -> None:
        """Delete a queue with its messages; one that is not there is no error."""
        self._send("DELETE", _path("queues", vhost, name), missing_ok=True)

    def exchanges(self, vhost: str) -> tuple[ReportedExchange, ...]:
        """The exchanges of a virtual host, without the default exchange."""
        entries = self._get(_path("exchanges", vhost))
        return tuple(ReportedExchange.read(entry) for entry in entries if entry["name"])

    def delete_exchange(self, vhost: str, name: str) -> None:
        """Delete an exchange with its bindings; one that is not there is no error."""
        self._send("DELETE", _path("exchanges", vhost, name), missing_ok=True)

    def bindings(self, vhost: str) -> tuple[ReportedBinding, ...]:
        """The bindings of a virtual host, without those of the default exchange."""
        entries = self._get(_path("bindings", vhost))
        return tuple(ReportedBinding.read(entry) for entry in entries if entry["source"])

    # Policies

    def policies(self, vhost: str) -> tuple[ReportedPolicy, ...]:
        """The policies of a virtual host."""
        return tuple(map(ReportedPolicy.read, self._get(_path("policies", vhost))))

    def operator_policies(self, vhost: str) -> tuple[ReportedPolicy, ...]:
        """The operator policies of a virtual host: they limit what policies may say."""
        return tuple(map(ReportedPolicy.read, self._get(_path("operator-policies", vhost))))

    def put_policy(
        self,
        vhost: str,
        name: str,
        *,
        pattern: str,
        definition: Mapping[str, Any],
        priority: int,
        apply_to: str = "queues",
    ) -> None:
        """Create or replace a policy; the fields are those of :class:`ReportedPolicy`."""
        body = {
            "pattern": pattern,
            "definition": dict(definition),
            "priority": priority,
            "apply-to": apply_to,
        }
        self._send("PUT", _path("policies", vhost, name), body)

    def delete_policy(self, vhost: str, name: str) -> None:
        """Delete a policy; one that is not there is no error."""
        self._send("DELETE", _path("policies", vhost, name), missing_ok=True)

    # Requests

    def _get(self, path: str, *, missing_ok: bool = False) -> Any:
        response = self._request("GET", path, None)
        if response.status_code == _NOT_FOUND and missing_ok:
            return None
        self._raise_for(response, path)
        try:
            return response.json()
        except ValueError:
            raise BrokerError(
                f"expected the management interface of RabbitMQ at {self.url}, got an answer that "
                "is not JSON. Check LANEWAY_MANAGEMENT_URL."
            ) from None

    def _send(
        self,
        method: Literal["PUT", "DELETE"],
        path: str,
        body: dict[str, Any] | None = None,
        *,
        missing_ok: bool = False,
    ) -> None:
        response = self._request(method, path, body)
        if response.status_code == _NOT_FOUND and missing_ok:
            return
        self._raise_for(response, path)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.TimeoutException as error:
            raise BrokerError(
                f"the management interface at {self.url} did not answer in time "
                f"({method} /api/{path})"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BrokerError(
                f"the management interface at {self.url} cannot be reached: {error}. Check "
                "LANEWAY_MANAGEMENT_URL, and that the broker has the plugin: "
                "rabbitmq-plugins enable rabbitmq_management"
            ) from error

    def _raise_for(self, response: httpx.Response, path: str) -> None:
        if response.is_success:
            return
        what = f"{response.request.method} /api/{path}"
        reason = _reason(response)
        match response.status_code:
            case 401 | 403:
                raise BrokerError(
                    f"the management interface at {self.url} refused the user {self.user!r} "
                    f"({what}: {reason}). Check the password, and the user's rights: reading needs "
                    "the tag 'monitoring', topology apply 'policymaker' and all permissions in the "
                    "virtual host, creating a virtual host 'administrator'."
                )
            case 404:
                raise BrokerError(
                    f"{what} was not found at {self.url}: the virtual host is missing "
                    "('laneway topology apply' creates it), or this is not the management "
                    "interface of RabbitMQ (check LANEWAY_MANAGEMENT_URL)"
                )
            case status:
                raise BrokerError(f"{what} at {self.url} failed with status {status}: {reason}")


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _reason(response: httpx.Response) -> str:
    try:
        answer = response.json()
    except ValueError:
        return response.reason_phrase or "no reason given"
    reason = answer.get("reason") if isinstance(answer, dict) else None
    return " ".join(str(reason or answer).split())[:_MESSAGE_LIMIT]
