"""Services without kube-proxy and DNS: each name stands for the address of one ready endpoint.

A connection goes to the port of the *endpoint*: a Service whose ``port`` is not its ``targetPort``
does not work here, and is said to on stderr.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.node.api import Change

_OF: Final = "kubernetes.io/service-name"


class Services:
    """What is known of all Services."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str], dict[str, Any]] = {}
        self._slices: dict[tuple[str, str], dict[str, Any]] = {}
        self._chosen: dict[tuple[str, str], str] = {}

    def note_service(self, change: Change) -> None:
        """A Service came, changed or went."""
        _note(self._services, change)
        if not change.is_gone:
            _look_at_ports(change.document)
        self._choose()

    def note_slice(self, change: Change) -> None:
        """An EndpointSlice came, changed or went."""
        _note(self._slices, change)
        self._choose()

    def of(self, namespace: str) -> Iterable[dict[str, Any]]:
        """The Services of a namespace."""
        return [each for (space, _), each in self._services.items() if space == namespace]

    def names(self, namespace: str | None) -> Mapping[str, str]:
        """Addresses by name, as a pod of a namespace sees them (None: as somebody elsewhere)."""
        found: dict[str, str] = {}
        for (space, name), address in self._chosen.items():
            stem = f"{name}.{space}"
            names = [stem, f"{stem}.svc", f"{stem}.svc.cluster.local"]
            if space == namespace:
                names.append(name)
            found |= dict.fromkeys(names, address)
        return found

    def _choose(self) -> None:
        ready = self._ready()
        chosen: dict[tuple[str, str], str] = {}
        for key, service in self._services.items():
            addresses = ready.get(key, [])
            before = self._chosen.get(key)
            if before in addresses:
                chosen[key] = before
            elif addresses:
                chosen[key] = addresses[0]
            elif (own := service["spec"].get("clusterIP")) and own != "None":
                # No route leads there: the name is known and connecting fails, as it should.
                chosen[key] = own
        self._chosen = chosen

    def _ready(self) -> dict[tuple[str, str], list[str]]:
        """Addresses of endpoints that take connections, by Service."""
        found: dict[tuple[str, str], list[str]] = {}
        for (space, _), each in sorted(self._slices.items()):
            name = (each["metadata"].get("labels") or {}).get(_OF)
            if name is None:
                continue
            asks_for_all = ((self._services.get((space, name)) or {"spec": {}})["spec"]).get(
                "publishNotReadyAddresses", False
            )
            for endpoint in each.get("endpoints") or ():
                is_ready = (endpoint.get("conditions") or {}).get("ready")
                if is_ready is not False or asks_for_all:
                    found.setdefault((space, name), []).extend(endpoint["addresses"])
        return found


def _note(known: dict[tuple[str, str], dict[str, Any]], change: Change) -> None:
    if change.is_gone:
        known.pop(change.key, None)
    else:
        known[change.key] = change.document


def _look_at_ports(service: dict[str, Any]) -> None:
    meta = service["metadata"]
    if not service["spec"].get("selector"):
        return
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort", port["port"])
        if isinstance(target, int) and target != port["port"]:
            print(
                f"service {meta['namespace']}/{meta['name']}: expected targetPort {port['port']} "
                f"(there is no kube-proxy here), got: {target}",
                file=sys.stderr,
                flush=True,
            )
