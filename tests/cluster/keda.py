"""KEDA on a plane: its operator, and its metrics server and webhooks behind the API server.

Its custom resources, roles and Services are KEDA's own manifests. The three programs run beside the
pods, each in a namespace of the network of its own, as the service account that KEDA's roles are
for; EndpointSlices say where the two servers are, as the kubelet's reports would.
"""

from __future__ import annotations

import base64
import json
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cluster import programs
from cluster.errors import CommandFailed
from cluster.process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.plane import Plane

NAMESPACE: Final = "keda"
_OPERATOR: Final = "keda-operator"
_METRICS: Final = "keda-metrics-apiserver"
_WEBHOOKS: Final = "keda-admission-webhooks"
_START_SECONDS: Final = 120.0
_LOOPBACK: Final = "127.0.0.1"
_HEALTH_PORT: Final = 8081
#: Where the two servers that the API server asks listen, by their Services.
_PORTS: Final = {_METRICS: 6443, _WEBHOOKS: 9443}
_MANIFESTS: Final = (
    ("--kustomize", "crd"),
    ("--kustomize", "service_account"),
    ("--kustomize", "rbac"),
    ("--filename", "metrics-server/role.yaml"),
    ("--filename", "metrics-server/role_binding.yaml"),
    ("--filename", "metrics-server/service.yaml"),
    ("--filename", "metrics-server/api_service.yaml"),
    ("--filename", "webhooks/service.yaml"),
)


class Keda:
    """KEDA on a plane; made by `keda()`."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._certificates = plane.folder / "keda"
        self._kubeconfig = plane.kubeconfig_for(
            f"system:serviceaccount:{NAMESPACE}:keda-operator",
            "system:serviceaccounts",
            f"system:serviceaccounts:{NAMESPACE}",
        )
        self._operator: Server | None = None
        self._servers: list[Server] = []

    def start(self) -> None:
        """Install and start all, and wait until metrics are served. Raises StartFailed."""
        addresses = {name: self._plane.attach(name) for name in (_OPERATOR, *_PORTS)}
        self._write_certificates(addresses)
        self._install(addresses)
        # The metrics server asks the operator by this name.
        self._plane.name_hosts(
            "keda", {f"{_OPERATOR}.{NAMESPACE}.svc.cluster.local": addresses[_OPERATOR]}
        )
        self.start_operator()
        self._start_metrics()
        self._start_webhooks()

    def stop(self) -> None:
        """Stop all programs. What they installed stays."""
        for server in reversed(self._servers):
            server.stop()
        self._servers.clear()
        self.stop_operator()

    def stop_operator(self) -> None:
        """End the operator; the servers and the HPAs stay."""
        operator, self._operator = self._operator, None
        if operator is not None:
            operator.stop()

    def start_operator(self) -> None:
        """Start the operator, again perhaps. Raises StartFailed."""
        operator = self._operator = self._server(
            _OPERATOR,
            programs.keda("keda-operator"),
            f"--cert-dir={self._certificates}",
            "--enable-cert-rotation=false",
            "--zap-encoder=console",
            "--zap-time-encoding=rfc3339nano",
            "--zap-log-level=info",
        )
        operator.wait_until(
            lambda: operator.answers("/readyz", address=_LOOPBACK, port=_HEALTH_PORT),
            seconds=_START_SECONDS,
        )

    def _start_metrics(self) -> None:
        metrics = self._server(
            _METRICS,
            programs.keda("keda-adapter"),
            f"--secure-port={_PORTS[_METRICS]}",
            f"--cert-dir={self._certificates}",
            f"--client-ca-file={self._certificates / 'ca.crt'}",
            f"--tls-cert-file={self._certificates / 'tls.crt'}",
            f"--tls-private-key-file={self._certificates / 'tls.key'}",
            f"--lister-kubeconfig={self._kubeconfig}",
            f"--authentication-kubeconfig={self._kubeconfig}",
            f"--authorization-kubeconfig={self._kubeconfig}",
        )
        self._servers.append(metrics)
        # Served by the API server, and so by way of everything between the two.
        metrics.wait_until(self._is_served, seconds=_START_SECONDS)

    def _start_webhooks(self) -> None:
        webhooks = self._server(
            _WEBHOOKS,
            programs.keda("keda-webhooks"),
            f"--cert-dir={self._certificates}",
            f"--port={_PORTS[_WEBHOOKS]}",
        )
        self._servers.append(webhooks)
        webhooks.wait_until(
            lambda: webhooks.answers("/readyz", address=_LOOPBACK, port=_HEALTH_PORT),
            seconds=_START_SECONDS,
        )
        # Only now: nothing that they judge can be written without them.
        self._plane.kubectl(
            "create", "--filename", "-", stdin=json.dumps(self._webhook_configuration())
        )

    def _install(self, addresses: dict[str, str]) -> None:
        plane = self._plane
        plane.kubectl("create", "namespace", NAMESPACE)
        for option, path in _MANIFESTS:
            plane.kubectl("apply", "--server-side", option, str(_config(path)))
        for service, port in _PORTS.items():
            slice_ = _endpoints(service, addresses[service], port)
            plane.kubectl("create", "--filename", "-", stdin=json.dumps(slice_))
        plane.kubectl(
            *("patch", "apiservice", "v1beta1.external.metrics.k8s.io", "--type=merge"),
            *("--patch", json.dumps({"spec": {"caBundle": self._bundle()}})),
        )

    def _webhook_configuration(self) -> dict[str, Any]:
        """KEDA's own, with our authority, and strict: what does not answer is a failed test."""
        file = str(_config("webhooks/validation_webhooks.yaml"))
        said = self._plane.kubectl("create", "--dry-run=client", "-o", "json", "--filename", file)
        configuration: dict[str, Any] = json.loads(said)
        for webhook in configuration["webhooks"]:
            webhook["failurePolicy"] = "Fail"
            webhook["clientConfig"]["caBundle"] = self._bundle()
        return configuration

    def _bundle(self) -> str:
        return base64.b64encode(self._plane.authority.certificate.read_bytes()).decode()

    def _write_certificates(self, addresses: dict[str, str]) -> None:
        """One certificate for all programs, in the three files that they look for."""
        names = [
            f"{service}.{NAMESPACE}{domain}"
            for service in (_OPERATOR, *_PORTS)
            for domain in (".svc", ".svc.cluster.local")
        ]
        authority = self._plane.authority
        pair = authority.server("keda", names=names, addresses=[*addresses.values(), _LOOPBACK])
        self._certificates.mkdir(mode=0o700)
        shutil.copyfile(authority.certificate, self._certificates / "ca.crt")
        shutil.copyfile(pair.certificate, self._certificates / "tls.crt")
        shutil.copyfile(pair.key, self._certificates / "tls.key")

    def _is_served(self) -> bool:
        try:
            self._plane.kubectl("get", "--raw", "/apis/external.metrics.k8s.io/v1beta1")
        except CommandFailed:
            time.sleep(0.5)
            return False
        return True

    def _server(self, name: str, *command: str | Path) -> Server:
        return Server(
            name,
            command,
            netns=self._plane.netns_of(name),
            logs=self._plane.logs,
            environment={
                "KUBECONFIG": str(self._kubeconfig),
                "POD_NAMESPACE": NAMESPACE,
                # Otherwise it is read from where the kubelet puts it.
                "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
                "POD_NAME": name,
                "WATCH_NAMESPACE": "",
                "KEDA_HTTP_DEFAULT_TIMEOUT": "1000",
            },
        )


@contextmanager
def keda(plane: Plane) -> Iterator[Keda]:
    """Install and start KEDA on `plane` for the block. Raises ClusterUnavailable, StartFailed."""
    for program in ("keda-operator", "keda-adapter", "keda-webhooks", "config"):
        programs.keda(program)
    started = Keda(plane)
    try:
        started.start()
        yield started
    finally:
        started.stop()


def _config(path: str) -> Path:
    """One of KEDA's own manifests, or a folder of them."""
    return programs.keda_folder() / "config" / path


def _endpoints(service: str, address: str, port: int) -> dict[str, object]:
    """Where the Service leads."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-of-the-tests",
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": service,
                # Not the controller's own, which would remove what no pod stands for.
                "endpointslice.kubernetes.io/managed-by": "tests.laneway",
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
