"""docs/how-to/scale.md on a real control plane: every command, as it is typed, with real workers.

Blocks marked `cluster` are for a release of the chart on KEDA, and run in the order of the page
while jobs are published; `hpa`, `none` and `kustomize` are for those who have that instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from cluster import programs
from cluster.release import QUEUES, Release
from cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cluster.book import Book
    from cluster.keda import Keda
    from cluster.node.node import Node
    from cluster.plane import Plane
    from cluster.rabbitmq import Broker, Endpoint

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

ROOT: Final = Path(__file__).parents[2]
NAMESPACE: Final = "laneway"
LOW: Final = "laneway-worker-low"
OLD_USER: Final = "jobs-1"
NEW_USER: Final = "jobs-2"
_FENCE: Final = re.compile(r"^ *```bash(?: (\w+))?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_DIFFERENT: Final = 1


def blocks(document: str, mark: str) -> list[str]:
    """The blocks of a page in docs/how-to that carry a mark."""
    text = (ROOT / "docs/how-to" / document).read_text()
    found = [block for marked, block in _FENCE.findall(text) if marked == mark]
    assert found
    return found


class Operator:
    """Somebody in front of a terminal.

    Args:
        plane: the cluster.
        endpoint: of the broker.
        folder: of a checkout of the repository.
    """

    def __init__(self, plane: Plane, endpoint: Endpoint, folder: Path) -> None:
        self._plane = plane
        self._folder = folder
        home = plane.folder / "operator"
        host = f"rabbitmq.{NAMESPACE}.svc"
        everything = {"URL": endpoint.url(host), "MANAGEMENT": endpoint.management_url(host)}
        self.environment = {
            "NS": NAMESPACE,
            "JOBS_URL": f"amqp://{OLD_USER}:one@{host}:{endpoint.port}",
            "NEW_JOBS_URL": f"amqp://{NEW_USER}:two@{host}:{endpoint.port}",
            "SECURE_URL": everything["URL"],
            "CONTROL_URL": everything["URL"],
            "MANAGEMENT_URL": everything["MANAGEMENT"],
            "ADMIN_URL": everything["URL"],
            "ADMIN_MANAGEMENT_URL": everything["MANAGEMENT"],
            "REDIS_URL": f"redis://redis.{NAMESPACE}.svc:6379/0",
            "SECURE_REDIS_URL": f"redis://secure:unused@redis.{NAMESPACE}.svc:6379/0",
            "MANAGEMENT_HOST": f"http://{host}:{endpoint.management_port}",
            "SCALER_USER": endpoint.user,
            "SCALER_PASSWORD": endpoint.password,
            "DIGEST": "sha256:" + "1" * 64,
            "NODE": "node-b",
            "PATH": f"{programs.clients_folder()}:{os.environ['PATH']}",
            "KUBECONFIG": str(plane.kubeconfig),
            "KUBECACHEDIR": str(home / "kube"),
            **{f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")},
        }

    def types(self, script: str, *, stdin: str = "", code: int = 0) -> str:
        """Run a block; its last words if it does not end with this code."""
        done = subprocess.run(
            [*self._plane.command(), "bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def sees(self, what: str, path: str, name: str = "") -> str:
        """What stands at a path of an object, or of each of them."""
        said = self._plane.kubectl("-n", NAMESPACE, "get", what, *filter(None, [name]), "-o", path)
        return said.strip()

    def ready(self, queue: str = "low") -> int:
        """Pods of a queue that are ready."""
        name = f"laneway-worker-{queue}"
        return int(self.sees("deployment", "jsonpath={.status.readyReplicas}", name) or 0)

    def pods(self, queue: str) -> dict[str, dict[str, Any]]:
        """The pods of a queue that are to stay, by their names."""
        chosen = f"laneway.dev/queue={queue}"
        text = self._plane.kubectl("-n", NAMESPACE, "get", "pods", "-l", chosen, "-o", "json")
        items = json.loads(text)["items"]
        return {
            pod["metadata"]["name"]: pod
            for pod in items
            if "deletionTimestamp" not in pod["metadata"]
        }

    def images(self, queue: str) -> set[str]:
        """What the pods of a queue run."""
        return {pod["spec"]["containers"][0]["image"] for pod in self.pods(queue).values()}

    def places(self) -> set[str]:
        """The nodes where pods of the release are."""
        return set(self.sees("pods", "jsonpath={.items[*].spec.nodeName}").split())


@contextmanager
def _prepared(plane: Plane, broker: Broker, prefix: str, folder: Path) -> Iterator[Operator]:
    """The namespace with the Secrets of the how-to on rendering, and the way to the broker."""
    for user, password in ((OLD_USER, "one"), (NEW_USER, "two")):
        broker.create_user(user, password, vhost=f"{prefix}jobs")
    operator = Operator(plane, broker.endpoint, folder)
    try:
        for block in blocks("render.md", "cluster"):
            operator.types(block)
        items = {"apiVersion": "v1", "kind": "List", "items": broker.endpoint.manifests()}
        operator.types('kubectl -n "$NS" apply -f -', stdin=json.dumps(items))
        yield operator
    finally:
        plane.helm("-n", NAMESPACE, "uninstall", "laneway", "--ignore-not-found", "--wait")
        plane.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s", seconds=130)


def _install(operator: Operator, values: Mapping[str, Any]) -> None:
    operator.types(
        'helm -n "$NS" install laneway helm/laneway --wait --timeout 4m --values=-',
        stdin=json.dumps(values),
    )


def test_every_block_of_the_page_is_typed_by_a_test_here() -> None:
    marks = {mark for mark, _ in _FENCE.findall((ROOT / "docs/how-to/scale.md").read_text())}
    assert marks == {"cluster", "hpa", "none", "kustomize"}


def test_the_page_from_top_to_bottom(
    plane: Plane, keda: Keda, two: Mapping[str, Node], broker: Broker, prefix: str, ledger: Book
) -> None:
    values = Release(plane, NAMESPACE, broker.endpoint, prefix, ledger.folder).values()
    todo = iter(blocks("scale.md", "cluster"))
    every = {f"laneway-worker-{queue}" for queue in QUEUES}

    def next_block(word: str) -> str:
        block = next(todo)
        assert word in block, f"expected the block with {word}, got: {block}"
        return operator.types(block)

    def annotated(key: str) -> set[str]:
        columns = f"{{.metadata.name}}={{.metadata.annotations.autoscaling\\.keda\\.sh/{key}}}"
        said = operator.sees("scaledobjects", f"jsonpath={{range .items[*]}}{columns} {{end}}")
        return {name for name, _, value in (one.partition("=") for one in said.split()) if value}

    with _prepared(plane, broker, prefix, ROOT) as operator:
        _install(operator, values)
        producer = ledger.publish("low", 100_000, work=(50, 150), rate=10, many=False)

        assert every <= set(next_block("get deployments").replace("/", " ").split())
        assert "low" in next_block("laneway queues")
        eventually(lambda: "laneway-keda-low" in operator.sees("hpa", "name"), True)
        assert "Max replicas" in next_block("describe hpa")
        assert "slots are needed" in next_block("scaling explain")

        next_block("paused-replicas=3")
        assert operator.ready() == 3
        next_block("paused-replicas-")
        assert annotated("paused-replicas") == set()

        next_block("paused-scale-in=true")
        assert annotated("paused-scale-in") == every
        next_block("paused-scale-out=true")
        assert annotated("paused-scale-out") == {LOW}
        next_block("paused-scale-in-")
        assert annotated("paused-scale-in") | annotated("paused-scale-out") == set()

        next_block("queues pause low")
        # Two seconds, and the longest job.
        time.sleep(4)
        ended = ledger.ended()
        time.sleep(3)
        assert ledger.ended() == ended, "jobs ran on a queue that was paused"
        next_block("queues resume low")
        ledger.wait_for(ended + 50, 30)

        next_block("paused-replicas=0")
        assert operator.pods("low") == {}
        assert broker.waiting(prefix)["low"] > 0
        next_block("paused-replicas-")
        eventually(lambda: operator.ready() > 0, True)

        next_block("kubectl drain")
        assert operator.places() == {"node-a"}
        next_block("kubectl uncordon")

        new = {f"laneway@{operator.environment['DIGEST']}"}
        next_block("workers.low.image.digest")
        assert operator.images("low") == new
        assert new.isdisjoint(operator.images("high"))
        next_block("--set image.digest")
        assert all(operator.images(queue) == new for queue in QUEUES)

        assert broker.connected(OLD_USER) > 0
        next_block("create secret")
        next_block("rollout restart")
        # The old pods are ready no more when the rollout is over; they end a little later.
        eventually(lambda: broker.connected(OLD_USER), 0)
        broker.delete_user(OLD_USER)

        next_block("helm -n")
        assert operator.images("low") == new
        assert new.isdisjoint(operator.images("high")), "a rollback left the image as it was"
        assert next(todo, None) is None

        ledger.stop(producer)
        eventually(lambda: bool(broker.waiting(prefix)), False, seconds=120)
        account = ledger.account()
        assert account.accepted > 0
        # The promise is at least once: what began twice is told, not judged here.
        print(f"{account.duplicated} of {account.accepted} jobs began twice")
        assert account.lost == 0, account


@pytest.mark.parametrize("kind", ["hpa", "none"])
def test_held_at_n_without_keda(
    plane: Plane,
    two: Mapping[str, Node],
    broker: Broker,
    prefix: str,
    ledger: Book,
    kind: str,
) -> None:
    values = Release(plane, NAMESPACE, broker.endpoint, prefix, ledger.folder).values(())
    values["workers"]["low"] = {"concurrency": 2, "autoscaling": {"type": kind}}
    with _prepared(plane, broker, prefix, ROOT) as operator:
        _install(operator, values)
        [block] = blocks("scale.md", kind)
        operator.types(block)
        eventually(operator.ready, 3)


def test_the_page_with_kustomize(
    plane: Plane, keda: Keda, two: Mapping[str, Node], broker: Broker, tmp_path: Path
) -> None:
    for folder in ("deploy", "helm"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    overlay = tmp_path / "deploy/k8s/overlays/production"
    delete, diff, apply, undo = blocks("scale.md", "kustomize")
    with _prometheus_operator(plane), _prepared(plane, broker, "", tmp_path) as operator:
        operator.types("kubectl apply -k deploy/k8s/overlays/production")
        _rolled_out(operator)
        before = operator.images("high")

        file = overlay / "kustomization.yaml"
        zeros = "sha256:" + "0" * 64
        text = file.read_text()
        assert text.count(zeros) == 1
        file.write_text(text.replace(zeros, operator.environment["DIGEST"]))
        operator.types(delete)
        assert operator.environment["DIGEST"] in operator.types(diff, code=_DIFFERENT)
        operator.types(apply)
        new = {f"registry.example.com/laneway@{operator.environment['DIGEST']}"}
        assert all(operator.images(queue) == new for queue in QUEUES)

        operator.types(undo)
        eventually(lambda: operator.images("high"), before)
        assert operator.images("low") == new
        # While KEDA is there: they have a finalizer of KEDA's.
        operator.types('kubectl -n "$NS" delete scaledobjects --all')


def _rolled_out(operator: Operator) -> None:
    operator.types(
        'kubectl -n "$NS" rollout status deployment -l app.kubernetes.io/component=worker '
        "--timeout=4m"
    )


@contextmanager
def _prometheus_operator(plane: Plane) -> Iterator[None]:
    """Its resources, as far as the overlay has some; nobody acts on them."""
    made = []
    group = "monitoring.coreos.com"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor"):
        plural = f"{kind.lower()}s"
        made.append(f"crd/{plural}.{group}")
        served = {"name": "v1", "served": True, "storage": True}
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "versions": [{**served, "schema": {"openAPIV3Schema": anything}}],
            },
        }
        plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(definition))
    plane.kubectl("wait", "--for=condition=Established", *made, "--timeout=30s")
    try:
        yield
    finally:
        plane.kubectl("delete", *made)
