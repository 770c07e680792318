"""What all pods of one node share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cluster.node.environment import Document, Objects
    from cluster.node.image import Image
    from cluster.node.probes import Prober


class Place(NamedTuple):
    """A network namespace of the cluster."""

    address: str
    #: What ``ip netns`` calls it.
    netns: str


class Network(Protocol):
    """Gives each pod a network namespace."""

    async def attach(self, name: str) -> Place:
        """Make the namespace."""

    async def detach(self, name: str) -> None:
        """Remove it."""


class Around(Protocol):
    """What a pod sees of its cluster besides Secrets and ConfigMaps."""

    def services(self, namespace: str) -> Iterable[Document]:
        """The Services of a namespace."""

    def names(self, namespace: str) -> Mapping[str, str]:
        """The addresses of Services, by the names that a pod of this namespace has for them."""

    async def token(self, namespace: str, account: str, asked: Document) -> bytes:
        """A token of a service account."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """The node, as its pods need it."""

    name: str
    address: str
    #: For what pods need while they are there.
    folder: Path
    #: For the output of containers; it stays.
    logs: Path
    images: Mapping[str, Image]
    #: Folders that every user may enter in a container.
    open_folders: tuple[str, ...]
    network: Network
    objects: Objects
    around: Around
    prober: Prober
    #: Seconds before the second restart of a container; it doubles, up to the longest. (The first
    #: is at once; the kubelet's are 10 and 300.)
    backoff: float = 0.5
    longest_backoff: float = 5.0
    #: Seconds until something that was not there is looked for again.
    again: float = 0.5
