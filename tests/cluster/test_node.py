"""The node of the tests under a real control plane: Deployments, Services, Jobs, a killed node."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cluster import reaper
from cluster.errors import CommandFailed
from cluster.node.nodes import ZONE
from cluster.node.server import PORT
from cluster.waiting import eventually
from laneway.local.process import Stat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.node.node import Node
    from cluster.plane import Plane

_ANSWER = """
import http.server, os, socket, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/other':
            self.answer(urllib.request.urlopen('http://web:8080/').read())
        else:
            self.answer(f"{os.environ['VERSION']} {socket.gethostname()}".encode())
    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('0.0.0.0', 8080), Handler).serve_forever()
"""


def deployment(replicas: int = 2, version: str = "v1") -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "example.com/python:3.11",
        "args": ["-c", _ANSWER],
        "env": [{"name": "VERSION", "value": version}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "1", "memory": "64Mi"}},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [container],
                    "topologySpreadConstraints": [spread],
                    "terminationGracePeriodSeconds": 1,
                },
            },
        },
    }


def service() -> dict[str, Any]:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


def apply(plane: Plane, namespace: str, *documents: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(listed))


def pods(plane: Plane, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        plane.kubectl("-n", namespace, "get", "pods", "-o", "json")
    )["items"]
    return found


def ask(plane: Plane, namespace: str, path: str = "/") -> str:
    """What the Service answers to somebody on the plane's network."""
    address = plane.hosts[f"web.{namespace}.svc"]
    with plane.inside():
        connection = http.client.HTTPConnection(address, 8080, timeout=5)
        connection.connect()
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def test_a_deployment_rolls_and_its_service_answers(
    plane: Plane, two: Mapping[str, Node], namespace: str
) -> None:
    apply(plane, namespace, deployment(), service())
    plane.kubectl(
        "-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s", seconds=70
    )
    places = {pod["spec"]["nodeName"] for pod in pods(plane, namespace)}
    assert places == {"node-a", "node-b"}
    eventually(lambda: f"web.{namespace}.svc" in plane.hosts, True)
    eventually(lambda: ask(plane, namespace).startswith("v1 web-"), True)
    assert ask(plane, namespace, "/other").startswith("v1 web-")
    apply(plane, namespace, deployment(version="v2"))
    plane.kubectl(
        "-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s", seconds=70
    )
    eventually(lambda: ask(plane, namespace).startswith("v2 web-"), True)
    plane.kubectl("-n", namespace, "scale", "deployment/web", "--replicas=0")
    eventually(lambda: len(pods(plane, namespace)), 0)


def test_a_job_completes(plane: Plane, two: Mapping[str, Node], namespace: str) -> None:
    code = "import pathlib, sys; sys.exit(pathlib.Path('/keys/a').read_text() != 'right')"
    container = {
        "name": "once", "image": "python", "args": ["-c", code],
        "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
    }  # fmt: skip
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {
            "backoffLimit": 20,
            "template": {
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [container],
                    "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
                }
            },
        },
    }
    apply(plane, namespace, job)
    plane.kubectl("-n", namespace, "create", "secret", "generic", "keys", "--from-literal=a=wrong")
    eventually(
        lambda: [
            pod["status"]["containerStatuses"][0]["restartCount"] > 0
            for pod in pods(plane, namespace)
        ],
        [True],
    )
    patch = json.dumps({"stringData": {"a": "right"}})
    plane.kubectl("-n", namespace, "patch", "secret", "keys", "-p", patch)
    plane.kubectl(
        "-n", namespace, "wait", "--for=condition=Complete", "job/once", "--timeout=60s", seconds=70
    )


def test_pods_of_a_killed_node_are_replaced(
    plane: Plane, two: Mapping[str, Node], namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    apply(plane, namespace, deployment(replicas=3), service())
    plane.kubectl(
        "-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s", seconds=70
    )
    two["node-b"].kill()
    [dead, *_] = [pod for pod in pods(plane, namespace) if pod["spec"]["nodeName"] == "node-b"]
    with plane.inside():
        connection = http.client.HTTPConnection(dead["status"]["podIP"], 8080, timeout=3)
        with pytest.raises(OSError, match=r"refused|unreachable|timed out|No route"):
            connection.connect()
    plane.kubectl(
        "wait", "--for=condition=Ready=Unknown", "node/node-b", "--timeout=60s", seconds=70
    )
    eventually(
        lambda: sum(
            pod["spec"]["nodeName"] == "node-a"
            and {"type": "Ready", "status": "True"}.items()
            <= next(c for c in pod["status"]["conditions"] if c["type"] == "Ready").items()
            for pod in pods(plane, namespace)
            if "nodeName" in pod["spec"]
        ),
        3,
        seconds=60,
    )
    eventually(lambda: ask(plane, namespace).startswith("v1"), True)
    two["node-b"].start()
    plane.kubectl("wait", "--for=condition=Ready", "node/node-b", "--timeout=60s", seconds=70)
    eventually(
        lambda: any("deletionTimestamp" in pod["metadata"] for pod in pods(plane, namespace)), False
    )


def test_only_the_api_server_may_run_commands_on_a_node(
    plane: Plane, two: Mapping[str, Node]
) -> None:
    where = 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}'
    address = plane.kubectl("get", "node", "node-a", "-o", where)
    url = f"https://{address}:{PORT}/exec/default/any/any?command=id"

    def answer(*certificate: str) -> httpx.Response:
        trust = ssl.create_default_context(cafile=str(plane.authority.certificate))
        if certificate:
            trust.load_cert_chain(*certificate)
        with plane.inside():
            return httpx.get(url, verify=trust, trust_env=False)

    other = plane.authority.client("other", "system:admin", ["system:masters"])
    refused = answer(str(other.certificate), str(other.key))
    assert refused.status_code == httpx.codes.FORBIDDEN
    assert "system:admin" in refused.text
    with pytest.raises(httpx.TransportError):
        answer()


_ABANDONED = """
import pathlib, sys, tempfile
from cluster.node.image import Image
from cluster.node.nodes import nodes
from cluster.plane import plane
from cluster.test_node import apply, deployment
logs = pathlib.Path(sys.argv[1])
images = {"python": Image(entrypoint=(sys.executable,))}
with plane(logs) as made, nodes(made, {"node-c": "one"}, images=images, logs=logs):
    apply(made, "default", deployment())
    made.kubectl("rollout", "status", "deployment/web", "--timeout=60s", seconds=70)
    print(made.folder, flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_when_the_tests_are_killed(plane: Plane, tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _ABANDONED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tests)},
        text=True,
    )
    with process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        mark = reaper.mark_of(folder)
        assert len(reaper.namespaces(mark)) == 4, "the plane, the node and two pods"
        pids = [
            pid
            for each in reaper.namespaces(mark)
            for pid in subprocess.check_output(["ip", "netns", "pids", each], text=True).split()
        ]
        process.kill()
    eventually(lambda: folder.exists() or bool(reaper.namespaces(mark)), False)
    left = [stat for pid in pids if (stat := Stat.read(int(pid))) and not stat.is_dead]
    assert not left
    assert str(folder) not in Path("/proc/mounts").read_text()


def test_a_command_runs_in_a_container(
    plane: Plane, two: Mapping[str, Node], namespace: str
) -> None:
    apply(plane, namespace, deployment(replicas=1, version="of the container"))
    plane.kubectl(
        "-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s", seconds=70
    )

    def run(*command: str, options: tuple[str, ...] = (), stdin: str | None = None) -> str:
        return plane.kubectl(
            "-n", namespace, "exec", *options, "deployment/web", "-c", "web", "--", *command,
            stdin=stdin,
        )  # fmt: skip

    [name] = [pod["metadata"]["name"] for pod in pods(plane, namespace)]
    said = run("sh", "-c", 'echo "$VERSION"; hostname; id -u; readlink /proc/1/exe')
    assert said.splitlines()[:3] == ["of the container", name, "65532"]
    assert "python" in said.splitlines()[3]
    # More than one frame each way, byte for byte.
    text = "".join(f"{number}\n" for number in range(60_000))
    assert run("cat", options=("-i",), stdin=text) == text
    with pytest.raises(CommandFailed, match=r"(?s)got 7.*wrong here"):
        run("sh", "-c", "echo wrong here >&2; exit 7")
    with pytest.raises(CommandFailed, match="other is not valid for pod"):
        plane.kubectl("-n", namespace, "exec", "deployment/web", "-c", "other", "--", "true")
