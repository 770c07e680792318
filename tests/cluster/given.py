"""A cluster that somebody else runs: with LANEWAY_CLUSTER=given, the one that KUBECONFIG names.

Nothing is asked of it but its API, so the tests that need the plane's own network, or change what
the whole cluster shares, do not run there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from cluster.clients import Clients
from cluster.errors import ClusterUnavailable


class Cluster(Protocol):
    """What a test needs that only talks to the API: `Plane` is one, and so is `Given`."""

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """See `Plane.kubectl`."""

    def helm(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """See `Plane.helm`."""


class Given:
    """The cluster of KUBECONFIG."""

    def __init__(self, home: Path) -> None:
        """`home`: a folder for the caches of kubectl and helm.

        Raises ClusterUnavailable if KUBECONFIG names no file.
        """
        file = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
        if not file.is_file():
            raise ClusterUnavailable(
                f"LANEWAY_CLUSTER=given: expected KUBECONFIG to name a file, got: {file}"
            )
        self._clients = Clients(file.absolute(), home)

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """See `Plane.kubectl`."""
        return self._clients.kubectl(*arguments, stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """See `Plane.helm`."""
        return self._clients.helm(*arguments, stdin=stdin, seconds=seconds)


def is_given() -> bool:
    """Whether the tests are to use somebody else's cluster. Raises ValueError for nonsense."""
    value = os.environ.get("LANEWAY_CLUSTER", "own")
    if value not in ("own", "given"):
        raise ValueError(f"LANEWAY_CLUSTER: expected own or given, got: {value!r}")
    return value == "given"
