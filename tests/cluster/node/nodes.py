"""Several nodes on one control plane, and the names of Services for everybody else on it."""

from __future__ import annotations

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
    with ExitStack() as stack:
        made = {}
        for name, zone in zones.items():
            node = Node(
                plane,
                name,
                images=images,
                logs=logs / name,
                labels={ZONE: zone},
                on_names=lambda names: plane.name_hosts("services", names),
            )
            made[name] = stack.enter_context(node)
            stack.callback(plane.kubectl, "delete", "node", name, "--ignore-not-found")
        for name in zones:
            plane.kubectl(
                "wait", "--for=condition=Ready", f"--timeout={_READY_SECONDS}s",
                "--for=create", f"node/{name}", seconds=_READY_SECONDS + 5,
            )  # fmt: skip
        yield made
