"""The four servers of the control plane, their options, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster import programs
from cluster.certificates import Authority
from cluster.node.server import CLIENT
from cluster.process import Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cluster.plane import Plane

#: Cluster addresses of Services. They are given out as everywhere, but no kube-proxy serves them.
SERVICE_ADDRESSES: Final = "10.90.0.0/16"
_FIRST_SERVICE_ADDRESS: Final = "10.90.0.1"
_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 120.0
_NAMES: Final = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)


class Parts:
    """The servers of one plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._running: list[Server] = []
        self._front = Authority(plane.certificates / "front", "front-proxy")

    def start(self) -> None:
        """Start all and wait until each is ready. Raises StartFailed."""
        self._start_etcd()
        self._start_api()
        controllers = self._start_controllers()
        scheduler = self._start_scheduler()
        for server, port in ((controllers, 10257), (scheduler, 10259)):
            self._wait_for(server, "/healthz", port)
        # What admits a pod, and so the first thing that anybody needs.
        controllers.wait_until(
            lambda: "default" in self._plane.kubectl("get", "serviceaccounts", "-o", "name"),
            seconds=_START_SECONDS,
        )

    def stop(self) -> None:
        """Stop all, in the order opposite to their start."""
        for server in reversed(self._running):
            server.stop()

    def _start_etcd(self) -> None:
        etcd = self._server(
            "etcd",
            "--data-dir", self._plane.folder / "etcd",
            "--listen-client-urls", f"http://{_LOOPBACK}:2379",
            "--advertise-client-urls", f"http://{_LOOPBACK}:2379",
            "--listen-peer-urls", f"http://{_LOOPBACK}:2380",
            # Nobody needs the data after a crash of the machine.
            "--unsafe-no-fsync",
        )  # fmt: skip
        etcd.wait_until(
            lambda: etcd.answers("/health", address=_LOOPBACK, port=2379), seconds=_START_SECONDS
        )

    def _start_api(self) -> None:
        plane, authority = self._plane, self._plane.authority
        addresses = (plane.address, _LOOPBACK, _FIRST_SERVICE_ADDRESS)
        serving = authority.server("kube-apiserver", names=_NAMES, addresses=addresses)
        proxy = self._front.client("proxy", "front-proxy-client")
        kubelet = authority.client("kubelet-client", CLIENT)
        api = self._server(
            "kube-apiserver",
            f"--etcd-servers=http://{_LOOPBACK}:2379",
            f"--advertise-address={plane.address}",
            "--secure-port=6443",
            f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.certificate}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={plane.service_accounts.certificate}",
            f"--service-account-signing-key-file={plane.service_accounts.key}",
            # Extension API servers (KEDA's metrics) are asked at their endpoints, for no
            # kube-proxy makes cluster addresses lead to them.
            "--enable-aggregator-routing=true",
            f"--requestheader-client-ca-file={self._front.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
            # What ``kubectl exec`` asks of a node.
            f"--kubelet-client-certificate={kubelet.certificate}",
            f"--kubelet-client-key={kubelet.key}",
            f"--kubelet-certificate-authority={authority.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
            # A node that dies is a test, and nobody waits five minutes for it.
            "--default-not-ready-toleration-seconds=5",
            "--default-unreachable-toleration-seconds=5",
        )
        self._wait_for(api, "/readyz", 6443)

    def _start_controllers(self) -> Server:
        authority, name = self._plane.authority, "kube-controller-manager"
        return self._server(
            name,
            *self._client_options(name),
            *self._serving_options(name, 10257),
            f"--service-account-private-key-file={self._plane.service_accounts.key}",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.own.certificate}",
            f"--cluster-signing-key-file={authority.own.key}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # As everywhere, only faster: the defaults are 15 seconds and 5 minutes.
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--horizontal-pod-autoscaler-downscale-stabilization=5s",
            # A node says that it lives every 10 seconds; the defaults are 5 and 50 seconds.
            "--node-monitor-period=2s",
            "--node-monitor-grace-period=20s",
        )

    def _start_scheduler(self) -> Server:
        name = "kube-scheduler"
        return self._server(
            name,
            *self._client_options(name),
            *self._serving_options(name, 10259),
            "--leader-elect=false",
        )

    def _client_options(self, name: str) -> Sequence[str]:
        kubeconfig = self._plane.kubeconfig_for(f"system:{name}")
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
        ]

    def _serving_options(self, name: str, port: int) -> Sequence[str]:
        pair = self._plane.authority.server(name, addresses=[_LOOPBACK])
        return [
            f"--bind-address={_LOOPBACK}",
            f"--secure-port={port}",
            f"--tls-cert-file={pair.certificate}",
            f"--tls-private-key-file={pair.key}",
        ]

    def _server(self, name: str, *options: str | Path) -> Server:
        server = Server(
            name,
            [programs.kubernetes(name), *options],
            netns=self._plane.netns,
            logs=self._plane.logs,
        )
        self._running.append(server)
        return server

    def _wait_for(self, server: Server, path: str, port: int) -> None:
        trusted = self._plane.authority.certificate
        server.wait_until(
            lambda: server.answers(path, address=_LOOPBACK, port=port, trusted=trusted),
            seconds=_START_SECONDS,
        )
