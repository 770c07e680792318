"""The Node object and its Lease: that the node is there, and that it still lives."""

from __future__ import annotations

import asyncio
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import httpx

from cluster.node.api import STRATEGIC, ApiError
from cluster.node.server import FEATURE, PORT
from cluster.node.status import now

if TYPE_CHECKING:
    from cluster.node.api import Api
    from cluster.node.environment import Document

_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_VERSION: Final = "v1.37.0-tests"


class NodeKeeper:
    """Keeps what the API server knows of the node true.

    Args:
        api: the API server.
        orders: of :class:`cluster.node.node.Node`.
    """

    def __init__(self, api: Api, orders: Document) -> None:
        self._api = api
        self._name: str = orders["name"]
        self._address: str = orders["address"]
        self._labels: dict[str, str] = orders["labels"]
        self._capacity: dict[str, str] = orders["capacity"]
        self._period: float = orders["lease_period"]

    async def register(self) -> None:
        """Make the Node, or take over the one of this name, and say that it is ready."""
        labels = {
            "kubernetes.io/hostname": self._name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": {"x86_64": "amd64"}.get(platform.machine(), "arm64"),
            **self._labels,
        }
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._name, "labels": labels},
        }
        try:
            await self._api.ask("POST", "/api/v1/nodes", node)
        except ApiError as error:
            if error.code != httpx.codes.CONFLICT:
                raise
            await self._api.ask("PATCH", self._path, node, kind=STRATEGIC)
        await self._put_status()
        await self._put_lease()

    async def renew(self) -> None:
        """Say again and again that it lives, until cancelled."""
        while True:
            await asyncio.sleep(self._period)
            try:
                await self._put_lease()
            except (httpx.HTTPError, ApiError) as error:
                print(f"lease: {error!r}", file=sys.stderr, flush=True)

    @property
    def _path(self) -> str:
        return f"/api/v1/nodes/{self._name}"

    async def _put_status(self) -> None:
        conditions = [
            _condition("Ready", "True", "KubeletReady", "the node of the tests is posting status"),
            _condition("MemoryPressure", "False", "KubeletHasSufficientMemory", ""),
            _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", ""),
            _condition("PIDPressure", "False", "KubeletHasSufficientPID", ""),
        ]
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "conditions": conditions,
            "declaredFeatures": [FEATURE],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
            "addresses": [
                {"type": "InternalIP", "address": self._address},
                {"type": "Hostname", "address": self._name},
            ],
            "nodeInfo": {
                "machineID": self._name, "systemUUID": self._name, "bootID": now(),
                "kernelVersion": platform.release(), "osImage": "the host's",
                "containerRuntimeVersion": "tests://1", "kubeletVersion": _VERSION,
                "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": platform.machine(),
            },
        }  # fmt: skip
        await self._api.ask("PATCH", f"{self._path}/status", {"status": status}, kind=STRATEGIC)

    async def _put_lease(self) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            "holderIdentity": self._name, "leaseDurationSeconds": 40, "renewTime": moment,
        }  # fmt: skip
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": "kube-node-lease"},
            "spec": spec,
        }
        with suppress(ApiError):
            await self._api.ask(
                "PATCH", f"{_LEASES}/{self._name}", {"spec": spec},
                kind="application/merge-patch+json",
            )  # fmt: skip
            return
        await self._api.ask("POST", _LEASES, lease)


def _condition(kind: str, status: str, reason: str, message: str) -> Document:
    moment = now()
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
