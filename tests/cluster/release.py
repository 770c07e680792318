"""The chart, installed: its values for the tests, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster.book import APP

if TYPE_CHECKING:
    from collections.abc import Container

    from cluster.plane import Plane
    from cluster.rabbitmq import Endpoint

_CHART: Final = Path(__file__).parents[2] / "helm/laneway"
NAME: Final = "laneway"
QUEUES: Final = ("default", "high", "low", "secure")
#: Fewest and most pods of each queue, where KEDA decides; not what the chart says, but small.
BOUNDS: Final = {"default": (1, 2), "high": (2, 4), "low": (1, 4), "secure": (1, 2)}
_SECONDS: Final = 240


class Release:
    """A release of the chart in a Kubernetes namespace.

    Args:
        plane: the cluster.
        namespace: of the test's own.
        broker: where the jobs are; it stands outside of the cluster.
        prefix: of its virtual hosts.
        ledger: the folder where jobs write down that they run.
    """

    def __init__(
        self, plane: Plane, namespace: str, broker: Endpoint, prefix: str, ledger: Path
    ) -> None:
        self._plane = plane
        self._namespace = namespace
        self._broker = broker
        self._prefix = prefix
        self._ledger = ledger

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 100) -> str:
        """In the release's namespace."""
        return self._plane.kubectl("-n", self._namespace, *arguments, stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str, stdin: str | None = None) -> str:
        """In the release's namespace."""
        return self._plane.helm(
            "-n", self._namespace, *arguments, stdin=stdin, seconds=_SECONDS + 10
        )

    def prepare(self) -> None:
        """What the chart takes for given: a broker, and the Secrets that lead to it."""
        broker = self._broker
        host = f"rabbitmq.{self._namespace}.svc"
        urls = {"url": broker.url(host), "management-url": broker.management_url(host)}
        scaler = {
            "host": f"http://{host}:{broker.management_port}",
            "username": broker.user,
            "password": broker.password,
        }
        secrets = {
            **{
                f"laneway-broker-{part}": urls for part in ("jobs", "secure", "control", "topology")
            },
            **{f"laneway-scaler-{part}": scaler for part in ("jobs", "secure")},
        }
        items = [
            *broker.manifests(),
            *(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": name},
                    "stringData": data,
                }
                for name, data in secrets.items()
            ),
        ]
        self.kubectl(
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
        )

    def install(self, *, scaled: Container[str] = QUEUES, wait: bool = True) -> None:
        """``helm install --wait``; KEDA decides for the queues that are ``scaled``."""
        waits = ("--wait", f"--timeout={_SECONDS}s") if wait else ()
        values = json.dumps(self.values(scaled))
        self.helm("install", NAME, str(_CHART), *waits, "--values=-", stdin=values)

    def upgrade(self, *changes: str) -> None:
        """``helm upgrade --wait`` with what ``--set`` takes, over the values as they are."""
        options = [option for change in changes for option in ("--set", change)]
        self.helm(
            "upgrade", NAME, str(_CHART), "--wait", f"--timeout={_SECONDS}s", "--reuse-values",
            *options,
        )  # fmt: skip

    def values(self, scaled: Container[str] = QUEUES) -> dict[str, Any]:
        """Those of the chart, but fast, small and with the ledger."""
        fixed = {"autoscaling": {"type": "none"}, "replicas": 1}
        place = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        mount = {"name": "ledger", "mountPath": "/ledger", "subPathExpr": "$(POD)"}
        return {
            "fullnameOverride": NAME,
            "image": {"repository": "laneway", "tag": "test"},
            "app": f"{APP}:app",
            "broker": {"vhostPrefix": self._prefix},
            "results": {"enabled": False},
            # A minute, and every five seconds, are the defaults.
            "control": {"env": {"LANEWAY_SCALING_WINDOW": "20s", "LANEWAY_SCALING_EVERY": "2s"}},
            "workerDefaults": {
                "env": {"CHAOS_LEDGER": "/ledger"},
                "extraEnv": [place],
                "extraVolumes": [{"name": "ledger", "hostPath": {"path": str(self._ledger)}}],
                "extraVolumeMounts": [mount],
                "probes": {
                    "startup": {"periodSeconds": 1},
                    "readiness": {"periodSeconds": 2},
                },
            },
            "workers": {
                queue: {"concurrency": 2, **(_by_keda(queue) if queue in scaled else fixed)}
                for queue in QUEUES
            },
        }

    def ready(self) -> dict[str, int]:
        """Pods of each worker that are ready."""
        text = self.kubectl(
            "get", "deployments", "-l", "app.kubernetes.io/component=worker", "-o", "json"
        )
        return {
            each["metadata"]["labels"]["laneway.dev/queue"]: each["status"].get("readyReplicas", 0)
            for each in json.loads(text)["items"]
        }

    def pods(self, queue: str) -> set[str]:
        """The names of a worker's pods, but for those that are to end."""
        text = self.kubectl("get", "pods", "-l", f"laneway.dev/queue={queue}", "-o", "json")
        return {
            pod["metadata"]["name"]
            for pod in json.loads(text)["items"]
            if "deletionTimestamp" not in pod["metadata"]
        }


def _by_keda(queue: str) -> dict[str, Any]:
    fewest, most = BOUNDS[queue]
    return {
        "autoscaling": {
            "type": "keda",
            "min": fewest,
            "max": most,
            "scaleInAfterSeconds": 10,
            "scaleInPercentPerMinute": 100,
            "scaleInPodsPerMinute": 10,
            "pollingIntervalSeconds": 2,
        }
    }
