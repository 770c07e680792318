"""The chart, installed: its values for the tests, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster.book import APP

if TYPE_CHECKING:
    from cluster.plane import Plane
    from cluster.rabbitmq import Endpoint

_CHART: Final = Path(__file__).parents[2] / "helm/laneway"
NAME: Final = "laneway"
QUEUES: Final = ("default", "high", "low", "secure")
#: Pods of low at most.
MOST: Final = 4
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

    def install(self, kind: str = "keda", *, wait: bool = True) -> None:
        """``helm install --wait``; how low is scaled is said by ``kind``, all others are fixed."""
        waits = ("--wait", f"--timeout={_SECONDS}s") if wait else ()
        values = json.dumps(self.values(kind))
        self.helm("install", NAME, str(_CHART), *waits, "--values=-", stdin=values)

    def upgrade(self, *changes: str) -> None:
        """``helm upgrade --wait`` with what ``--set`` takes, over the values as they are."""
        options = [option for change in changes for option in ("--set", change)]
        self.helm(
            "upgrade", NAME, str(_CHART), "--wait", f"--timeout={_SECONDS}s", "--reuse-values",
            *options,
        )  # fmt: skip

    def values(self, kind: str) -> dict[str, Any]:
        """Those of the chart, but fast, small and with the ledger."""
        own = {
            "concurrency": 2,
            "autoscaling": {"type": "none"},
            "replicas": 1,
        }
        low = {
            "concurrency": 2,
            "autoscaling": {
                "type": kind,
                "min": 1,
                "max": MOST,
                "scaleInAfterSeconds": 10,
                "scaleInPercentPerMinute": 100,
                "scaleInPodsPerMinute": 10,
                "pollingIntervalSeconds": 2,
            },
        }
        place = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        mount = {"name": "ledger", "mountPath": "/ledger", "subPathExpr": "$(POD)"}
        return {
            "fullnameOverride": NAME,
            "image": {"repository": "laneway", "tag": "test"},
            "app": f"{APP}:app",
            "broker": {"vhostPrefix": self._prefix},
            "results": {"enabled": False},
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
            "workers": {**{queue: own for queue in QUEUES if queue != "low"}, "low": low},
        }

    def ready(self, queue: str) -> int:
        """Pods of a worker that are ready."""
        text = self.kubectl(
            "get", "deployment", f"{NAME}-worker-{queue}", "-o", "jsonpath={.status.readyReplicas}"
        )
        return int(text or 0)

    def pods(self, queue: str) -> set[str]:
        """The names of a worker's pods, but for those that are to end."""
        text = self.kubectl("get", "pods", "-l", f"laneway.dev/queue={queue}", "-o", "json")
        return {
            pod["metadata"]["name"]
            for pod in json.loads(text)["items"]
            if "deletionTimestamp" not in pod["metadata"]
        }
