"""The programs of the control plane: their versions, and where they are once built.

``make cluster-tools`` (build.py) makes them. They are tools of the tests, in the user's cache
folder; neither the engine nor its tests without a cluster know of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.errors import ClusterUnavailable
from laneway.local.cache import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES: Final = "1.37.1"
"""The version of the API server, the controller manager and the scheduler (tools/go.mod)."""

ETCD: Final = "3.7.0"
"""The version of etcd: the one that this Kubernetes is tested with (tools/go.mod)."""

KEDA: Final = "2.21.0"
"""The version of KEDA's operator, metrics server and webhooks.

2.20 is the oldest whose formulas see a failed trigger as nil (``slots ?? rabbit``)."""

_CURE: Final = "run: make cluster-tools"


def kubernetes_folder() -> Path:
    """$LANEWAY_KUBERNETES, else laneway/kubernetes-VERSION in the user's cache folder."""
    return cache_folder(f"kubernetes-{KUBERNETES}", variable="LANEWAY_KUBERNETES")


def keda_folder() -> Path:
    """$LANEWAY_KEDA, else laneway/keda-VERSION in the user's cache folder."""
    return cache_folder(f"keda-{KEDA}", variable="LANEWAY_KEDA")


def clients_folder() -> Path:
    """Where kubectl and helm are.

    $LANEWAY_KUBERNETES_TOOLS, else laneway/kubernetes-tools in the user's cache folder.
    """
    return cache_folder("kubernetes-tools", variable="LANEWAY_KUBERNETES_TOOLS")


def kubernetes(program: str) -> Path:
    """The path of etcd or of a part of Kubernetes. Raises ClusterUnavailable if not built."""
    return _found(kubernetes_folder() / program)


def keda(program: str) -> Path:
    """The path of a part of KEDA. Raises ClusterUnavailable if it is not built."""
    return _found(keda_folder() / program)


def client(program: str) -> Path:
    """The path of kubectl or helm. Raises ClusterUnavailable if it is not installed."""
    return _found(clients_folder() / program)


def _found(path: Path) -> Path:
    if not path.exists():
        raise ClusterUnavailable(f"{path} does not exist; {_CURE}")
    return path
