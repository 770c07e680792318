"""Several nodes on one control plane, and the names of Services for everybody else on it."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from cluster.node.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cluster.node.image import Image
    from cluster.plane import Plane

ZONE: Final = "topology.kubernetes.io/zone"
_READY_SECONDS: Final = 30


class Names:
    """Puts the names of Services into the hosts file of the plane, beside what others put there."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._own: Mapping[str, str] = {}
        self._lock = threading.Lock()

    def put(self, names: Mapping[str, str]) -> None:
        """These, and none of those before."""
        with self._lock:
            others = {
                name: address
                for name, address in self._plane.hosts.items()
                if self._own.get(name) != address
            }
            self._own = {name: each for name, each in names.items() if name not in others}
            self._plane.hosts = {**others, **self._own}


@contextmanager
def nodes(
    plane: Plane, zones: Mapping[str, str], *, images: Mapping[str, Image], logs: Path
) -> Iterator[dict[str, Node]]:
    """Nodes that are ready; their objects go with them.

    Args:
        plane: where they join.
        zones: the zone of each, by its name.
        images: what their pods may ask for.
        logs: a folder; each node has one of its own in it.
    """
    names = Names(plane)
    with ExitStack() as stack:
        made = {}
        for name, zone in zones.items():
            node = Node(
                plane,
                name,
                images=images,
                logs=logs / name,
                labels={ZONE: zone},
                on_names=names.put,
            )
            made[name] = stack.enter_context(node)
            stack.callback(plane.kubectl, "delete", "node", name, "--ignore-not-found")
        for name in zones:
            plane.kubectl(
                "wait", "--for=condition=Ready", f"--timeout={_READY_SECONDS}s",
                "--for=create", f"node/{name}", seconds=_READY_SECONDS + 5,
            )  # fmt: skip
        yield made
