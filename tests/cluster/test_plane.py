"""The control plane is a real one: it decides, it refuses, and it leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster import programs, reaper
from cluster.errors import CommandFailed
from cluster.waiting import eventually

if TYPE_CHECKING:
    from cluster.plane import Plane

pytestmark = pytest.mark.timeout(300)

TESTS = Path(__file__).parents[1]


def _deployment(name: str, replicas: int) -> str:
    labels = {"app": name}
    container = {"name": "main", "image": "example.test/none:1", "command": ["sleep", "1000"]}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    )


def _pods(plane: Plane, namespace: str) -> list[str]:
    return plane.kubectl("-n", namespace, "get", "pods", "-o", "name").split()


def test_the_server_is_kubernetes_and_healthy(plane: Plane) -> None:
    version = json.loads(plane.kubectl("get", "--raw", "/version"))
    assert version["gitVersion"] == f"v{programs.KUBERNETES}"
    assert "readyz check passed" in plane.kubectl("get", "--raw", "/readyz?verbose")


def test_a_client_that_trusts_others_does_not_trust_the_server(plane: Plane) -> None:
    connection = http.client.HTTPSConnection(
        plane.address, 6443, context=ssl.create_default_context()
    )
    with plane.inside(), pytest.raises(ssl.SSLCertVerificationError):
        connection.connect()


def test_what_a_user_may_is_what_rbac_says(plane: Plane, namespace: str) -> None:
    file = str(plane.kubeconfig_for("somebody", "some-group"))
    with pytest.raises(CommandFailed, match='User "somebody" cannot list resource "secrets"'):
        plane.kubectl("--kubeconfig", file, "-n", namespace, "get", "secrets")
    plane.kubectl(
        *("-n", namespace, "create", "rolebinding", "r", "--clusterrole=edit", "--group=some-group")
    )
    eventually(
        lambda: plane.kubectl(
            "--kubeconfig", file, "-n", namespace, "get", "secrets", "-o", "name"
        ),
        "",
    )


def test_deployments_have_the_pods_they_ask_for(plane: Plane, namespace: str) -> None:
    plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=_deployment("web", 2))
    eventually(lambda: len(_pods(plane, namespace)), 2)
    plane.kubectl("-n", namespace, "scale", "deployment/web", "--replicas=3")
    eventually(lambda: len(_pods(plane, namespace)), 3)
    before = _pods(plane, namespace)
    plane.kubectl("-n", namespace, "delete", before[0])
    eventually(lambda: len(_pods(plane, namespace)), 3)
    assert before[0] not in _pods(plane, namespace)


def test_a_budget_refuses_the_second_eviction(plane: Plane, namespace: str) -> None:
    plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=_deployment("web", 3))
    plane.kubectl(
        *("-n", namespace, "create", "poddisruptionbudget", "web"),
        *("--selector=app=web", "--max-unavailable=1"),
    )
    eventually(lambda: len(_pods(plane, namespace)), 3)
    for pod in _pods(plane, namespace):
        _pretend_ready(plane, namespace, pod)
    eventually(
        lambda: plane.kubectl(
            *("-n", namespace, "get", "poddisruptionbudget", "web"),
            *("-o", "jsonpath={.status.disruptionsAllowed}"),
        ),
        "1",
    )
    first, second, _ = _pods(plane, namespace)
    _evict(plane, namespace, first)
    with pytest.raises(CommandFailed, match="violate the pod's disruption budget"):
        _evict(plane, namespace, second)


def test_pods_go_to_the_node_that_has_room(plane: Plane, namespace: str) -> None:
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    for name, labels in (("small", {}), ("wanted", {"disk": "fast"})):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        plane.kubectl("create", "-f", "-", stdin=json.dumps(node))
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        plane.kubectl(
            *("patch", "node", name, "--subresource=status", "--type=merge"),
            *("-p", json.dumps({"status": status})),
        )
    try:
        document = json.loads(_deployment("web", 1))
        document["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
        plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(document))
        eventually(
            lambda: plane.kubectl(
                "-n", namespace, "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"
            ),
            "wanted",
        )
    finally:
        plane.kubectl("delete", "node", "small", "wanted")


def test_attached_namespaces_reach_the_server_by_name_and_nothing_else(plane: Plane) -> None:
    plane.attach("reach")
    try:
        asked = ["curl", "-sS", "--max-time", "5"]
        trusted = ["--cacert", str(plane.authority.certificate)]
        ask = [*plane.command("reach"), *asked, *trusted]
        said = subprocess.run(
            [*ask, "https://kubernetes.default.svc:6443/readyz"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert said.stdout == "ok"
        # An address of the documentation's, which nobody has: there is no way out to ask it.
        out = subprocess.run([*ask, "http://192.0.2.1/"], capture_output=True, check=False)
        assert out.returncode == 7
        addresses = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True)
        assert plane.address not in addresses.stdout
    finally:
        plane.detach("reach")


def test_names_are_seen_by_what_runs_already(plane: Plane) -> None:
    plane.name_hosts("one", {"first.example": "10.89.9.1"})
    address = plane.attach("names")
    watch = "cat /etc/hosts; echo; read line; cat /etc/hosts"
    with subprocess.Popen(
        [*plane.command("names"), "sh", "-c", watch],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        before = "".join(iter(process.stdout.readline, "\n"))
        plane.name_hosts("two", {"second.example": address})
        plane.name_hosts("one", {})
        after, _ = process.communicate("go on\n")
    plane.name_hosts("two", {})
    plane.detach("names")
    left = {"first.example", "second.example"} & set(plane.hosts)
    assert ("10.89.9.1 first.example" in before, "second.example" in before) == (True, False)
    assert ("first.example" in after, f"{address} second.example" in after) == (False, True)
    assert not left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_plane_whatever_ended_it(
    plane: Plane, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster", "--logs", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        said = next(output)
        assert said.startswith("ready after"), said
        [folder] = tmp_path.glob(f"{reaper.FOLDER_PREFIX}*")
        mark = reaper.mark_of(folder)
        assert reaper.namespaces(mark)
        process.send_signal(number)
        process.wait(30)
    eventually(lambda: bool(reaper.namespaces(mark)) or folder.exists(), False, seconds=20)
    ours = [p for p in _commands() if str(folder) in p]
    assert ours == []


def _commands() -> list[str]:
    said = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()


def _pretend_ready(plane: Plane, namespace: str, pod: str) -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    plane.kubectl(
        *("-n", namespace, "patch", pod, "--subresource=status", "--type=merge"),
        *("-p", json.dumps({"status": status})),
    )


def _evict(plane: Plane, namespace: str, pod: str) -> None:
    name = pod.removeprefix("pod/")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    plane.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
