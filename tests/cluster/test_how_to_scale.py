"""docs/how-to/scale.md on a real control plane: the blocks marked `cluster`, as they are typed.

No node runs the pods here, so what waits for pods that are ready is left out; the control process
and the management interface are servers of the test.
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from cluster import programs
from cluster.answers import answers
from cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.keda import Keda
    from cluster.plane import Plane

pytestmark = pytest.mark.timeout(600)

ROOT: Final = Path(__file__).parents[2]
NAMESPACE: Final = "laneway"
QUEUES: Final = ("default", "high", "low", "secure")
LOW: Final = "laneway-worker-low"
SECRETS: Final = {
    "JOBS_URL": "amqp://jobs:one@broker:5672",
    "SECURE_URL": "amqp://secure:one@broker:5672",
    "CONTROL_URL": "amqp://control:one@broker:5672",
    "MANAGEMENT_URL": "http://control:one@broker:15672",
    "ADMIN_URL": "amqp://admin:one@broker:5672",
    "ADMIN_MANAGEMENT_URL": "http://admin:one@broker:15672",
    "REDIS_URL": "redis://redis:6379/0",
    "SECURE_REDIS_URL": "redis://secure:unused@redis:6379/0",
    "MANAGEMENT_HOST": "http://broker:15672",
    "SCALER_USER": "scaler",
    "SCALER_PASSWORD": "one",
    "NEW_JOBS_URL": "amqp://jobs-2:two@broker:5672",
}


def blocks(document: str) -> list[str]:
    text = (ROOT / "docs/how-to" / document).read_text()
    found = re.findall(r"^ *```bash cluster\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    assert found
    return list(found)


class Operator:
    """Somebody in front of a terminal."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        home = plane.folder / "operator"
        self._environment = {
            **SECRETS,
            "NS": NAMESPACE,
            "PATH": f"{programs.clients_folder()}:{os.environ['PATH']}",
            "KUBECONFIG": str(plane.kubeconfig),
            "KUBECACHEDIR": str(home / "kube"),
            **{f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")},
        }

    def types(self, script: str) -> str:
        """Run a block; its last words if it fails."""
        lines = [line for line in script.splitlines() if " rollout status " not in line]
        script = "\n".join(lines).replace(" --wait --timeout 10m", "")
        done = subprocess.run(
            [*self._plane.command(), "bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def sees(self, what: str, path: str, name: str = "") -> str:
        """What stands at a path of an object, or of each of them."""
        said = self._plane.kubectl("-n", NAMESPACE, "get", what, *filter(None, [name]), "-o", path)
        return said.strip()

    def replicas(self) -> str:
        return self.sees("deployment", "jsonpath={.spec.replicas}", LOW)


@pytest.fixture
def operator(plane: Plane, keda: Keda) -> Iterator[Operator]:
    """The release is installed, twice, with the Secrets of the how-to on rendering."""
    operator = Operator(plane)
    control = f"laneway-control.{NAMESPACE}.svc"
    with (
        answers(plane, control, port=8080) as slots,
        answers(plane, "broker", port=15672),
        _installed(plane, operator),
    ):
        for queue in QUEUES:
            slots.documents[f"/scale/{queue}"] = {"slots": 4}
        yield operator


@contextmanager
def _installed(plane: Plane, operator: Operator) -> Iterator[None]:
    try:
        for block in blocks("render.md"):
            operator.types(block)
        quick = "--set workers.low.autoscaling.pollingIntervalSeconds=2"
        operator.types(f"helm -n {NAMESPACE} install laneway helm/laneway {quick}")
        operator.types(
            f"helm -n {NAMESPACE} upgrade laneway helm/laneway --reset-then-reuse-values "
            "--set workers.low.podAnnotations.release=second"
        )
        yield
    finally:
        plane.helm("-n", NAMESPACE, "uninstall", "laneway", "--ignore-not-found", "--wait")
        plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_the_page_from_top_to_bottom(operator: Operator) -> None:
    todo = iter(blocks("scale.md"))

    def next_block(word: str) -> str:
        block = next(todo)
        assert word in block
        return operator.types(block)

    def annotated(key: str) -> set[str]:
        columns = f"{{.metadata.name}}={{.metadata.annotations.autoscaling\\.keda\\.sh/{key}}}"
        said = operator.sees("scaledobjects", f"jsonpath={{range .items[*]}}{columns} {{end}}")
        return {name for name, _, value in (one.partition("=") for one in said.split()) if value}

    every = {f"laneway-worker-{queue}" for queue in QUEUES}
    assert every <= set(next_block("get deployments").replace("/", " ").split())
    eventually(lambda: "laneway-keda-low" in operator.sees("hpa", "name"), True)
    assert "Max replicas" in next_block("describe hpa")

    next_block("paused-replicas=3")
    eventually(operator.replicas, "3")
    next_block("paused-replicas-")
    assert annotated("paused-replicas") == set()

    next_block("paused-scale-in=true")
    assert annotated("paused-scale-in") == every
    next_block("paused-scale-out=true")
    assert annotated("paused-scale-out") == {LOW}
    next_block("paused-scale-in-")
    assert annotated("paused-scale-in") | annotated("paused-scale-out") == set()

    next_block("paused-replicas=0")
    assert operator.replicas() == "0"
    next_block("paused-replicas-")

    secret = "jsonpath={.data.url}"
    before = operator.sees("secret", secret, "laneway-broker-jobs")
    next_block("create secret")
    assert operator.sees("secret", secret, "laneway-broker-jobs") != before
    next_block("rollout restart")
    again = "{.spec.template.metadata.annotations.kubectl\\.kubernetes\\.io/restartedAt}"
    told = operator.sees(
        "deployments", f"jsonpath={{range .items[*]}}{{.metadata.name}}={again} {{end}}"
    )
    restarted = {name for name, _, when in (one.partition("=") for one in told.split()) if when}
    assert restarted == every - {"laneway-worker-secure"}

    release = "jsonpath={.spec.template.metadata.annotations.release}"
    assert operator.sees("deployment", release, LOW) == "second"
    next_block("helm -n")
    assert operator.sees("deployment", release, LOW) == ""
    assert next(todo, None) is None
