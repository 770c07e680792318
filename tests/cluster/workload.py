"""Plain manifests of workers and of what they need, without the chart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cluster.rabbitmq import PLACE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.book import Book
    from cluster.plane import Plane
    from cluster.rabbitmq import Broker

_QUEUE: Final = """
summary = "cluster"
service_level = "10s"
[broker]
max_length = 500_000
delivery_limit = 10
[worker]
pool = "prefork"
concurrency = 2
soft_time_limit = "20s"
time_limit = "40s"
grace_period = "8s"
"""
_PORT: Final = 9100
_QUEUES: Final = ("default", "high", "low")
_GRACE: Final = 15
_USER: Final = 65532


class Workload:
    """The things of one Kubernetes namespace.

    Args:
        plane: the cluster.
        namespace: of the test's own.
        broker: where the jobs are.
        prefix: of its virtual hosts.
        book: where jobs write down that they run.
    """

    def __init__(
        self, plane: Plane, namespace: str, broker: Broker, prefix: str, book: Book
    ) -> None:
        self._plane = plane
        self._namespace = namespace
        self._broker = broker
        self._prefix = prefix
        self._book = book

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 100) -> str:
        """In the test's namespace."""
        return self._plane.kubectl("-n", self._namespace, *arguments, stdin=stdin, seconds=seconds)

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def prepare(self) -> None:
        """The broker's Service, the Secret, the policy, and the topology by a Job."""
        files = {"routing.py": "ROUTES = []\n"}
        files |= {f"{queue}.toml": _QUEUE for queue in _QUEUES}
        end = self._broker.endpoint
        self.apply(
            *end.manifests(),
            _named("v1", "ConfigMap", "policy") | {"data": files},
            _named("v1", "Secret", "broker")
            | {
                "stringData": {
                    "url": end.url(PLACE),
                    "management": end.management_url(PLACE),
                }
            },
            _named("batch/v1", "Job", "topology")
            | {
                "spec": {
                    "backoffLimit": 5,
                    "template": {
                        "spec": self._pod(["topology", "apply", "--yes"])
                        | {"restartPolicy": "OnFailure"}
                    },
                }
            },
        )
        self.kubectl("wait", "--for=condition=Complete", "job/topology", "--timeout=60s")

    def deploy(self, queue: str, *, replicas: int, app: str, release: str = "1") -> None:
        """The workers of a queue, and wait until they are ready."""
        name = f"worker-{queue}"
        self._deploy(name, ["worker", queue, "--app", f"{app}:app"], replicas, release)

    def deploy_control(self) -> None:
        """Two control processes."""
        # It is ready when the scaler has seen half of its window, and alive long before.
        self._deploy("control", ["control"], 2, "1", up="/livez")

    def rollout(self, name: str, seconds: int = 90) -> None:
        """Wait until a Deployment is as it should be."""
        self.kubectl(
            "rollout", "status", f"deployment/{name}", f"--timeout={seconds}s",
            seconds=seconds + 10,
        )  # fmt: skip

    def pods(self) -> list[dict[str, Any]]:
        """All of them."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]
        return found

    def _deploy(
        self, name: str, arguments: list[str], replicas: int, release: str, *, up: str = "/readyz"
    ) -> None:
        self.apply(
            _named("apps/v1", "Deployment", name)
            | {
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": {"app": name}},
                    "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                    "template": {
                        "metadata": {"labels": {"app": name}},
                        "spec": self._pod(arguments, up=up, release=release),
                    },
                }
            }
        )
        self.rollout(name)

    def _pod(
        self, arguments: list[str], *, up: str | None = None, release: str = "1"
    ) -> dict[str, Any]:
        """A pod; ``up`` is the page of its startup probe, and none has no probes at all."""
        container: dict[str, Any] = {
            "name": "laneway",
            "image": "laneway:test",
            "command": ["laneway", *arguments],
            "env": [
                _from_secret("LANEWAY_BROKER_URL", "url"),
                _from_secret("LANEWAY_MANAGEMENT_URL", "management"),
                {"name": "LANEWAY_VHOST_PREFIX", "value": self._prefix},
                {"name": "LANEWAY_POLICY", "value": "/policy"},
                {"name": "LANEWAY_RELEASE", "value": release},
                {"name": "CHAOS_LEDGER", "value": "/ledger"},
                {
                    "name": "POD",
                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                },
            ],
            "volumeMounts": [
                {"name": "policy", "mountPath": "/policy"},
                {"name": "tmp", "mountPath": "/tmp"},
                {"name": "ledger", "mountPath": "/ledger", "subPathExpr": "$(POD)"},
            ],
            "securityContext": {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        if up is not None:
            container["env"].append({"name": "LANEWAY_HEALTH", "value": f"0.0.0.0:{_PORT}"})
            container["ports"] = [{"name": "health", "containerPort": _PORT}]
            container |= {
                "startupProbe": _probe(up, failureThreshold=30),
                "readinessProbe": _probe("/readyz"),
                "livenessProbe": _probe("/livez", periodSeconds=5),
            }
        items = [{"key": "routing.py", "path": "routing.py"}]
        items += [{"key": f"{q}.toml", "path": f"queues/{q}.toml"} for q in _QUEUES]
        return {
            "terminationGracePeriodSeconds": _GRACE,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": _USER},
            "containers": [container],
            "volumes": [
                {"name": "policy", "configMap": {"name": "policy", "items": items}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "ledger", "hostPath": {"path": str(self._book.folder)}},
            ],
        }


def _named(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


def _from_secret(name: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "broker", "key": key}}}


def _probe(path: str, **more: int) -> dict[str, Any]:
    asked = {"periodSeconds": 1, "timeoutSeconds": 2, **more}
    return {"httpGet": {"path": path, "port": "health"}, **asked}
