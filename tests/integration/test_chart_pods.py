"""What the chart renders really starts: commands, variables and probes, on a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from integration.test_health import free_port
from support.chart import Manifests, render
from support.workers import POLICY, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

PATIENCE = 60.0


class Pod:
    """The containers of one pod, run one after the other as the kubelet would."""

    def __init__(self, spec: dict[str, Any], secrets: dict[str, str]) -> None:
        self._spec = spec
        self._secrets = secrets
        self.port = free_port()

    def _container(self, name: str) -> dict[str, Any]:
        every = [*self._spec.get("initContainers", []), *self._spec["containers"]]
        return next(each for each in every if each["name"] == name)

    def _environment(self, name: str) -> dict[str, str]:
        """The pod's, and of this machine's only where programs are."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {"PATH": path, "PYTHONPATH": str(TESTS), "HOME": "/nonexistent"}
        env["LANEWAY_POLICY"] = str(POLICY)
        for variable in self._container(name)["env"]:
            if "value" in variable:
                env[variable["name"]] = variable["value"]
            else:
                reference = variable["valueFrom"]["secretKeyRef"]
                env[variable["name"]] = self._secrets[reference["key"]]
        if "LANEWAY_HEALTH" in env:
            # Pods have addresses of their own; here all share one.
            env["LANEWAY_HEALTH"] = f"127.0.0.1:{self.port}"
        return env

    def _command(self, name: str, **options: str) -> list[str]:
        command = list(self._container(name)["command"])
        for option, value in options.items():
            (at,) = [i for i, word in enumerate(command) if word.startswith(f"--{option}=")]
            command[at] = f"--{option}={value}"
        return command

    def run(self, name: str, **options: str) -> int:
        """Run a container to its end, with other values of its options."""
        command, env = self._command(name, **options), self._environment(name)
        return subprocess.run(command, env=env, timeout=PATIENCE, check=False).returncode

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """A container until it is stopped, which must be within the pod's grace and clean."""
        process = subprocess.Popen(self._command(name), env=self._environment(name))
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(self._spec["terminationGracePeriodSeconds"]) == 0
        finally:
            process.kill()
            process.wait()

    def wait_for(self, probe: dict[str, Any]) -> None:
        """Until this probe succeeds."""
        url = f"http://127.0.0.1:{self.port}{probe['httpGet']['path']}"
        until = time.monotonic() + PATIENCE
        while True:
            try:
                answer = httpx.get(url, timeout=5, trust_env=False)
            except httpx.TransportError as error:
                said = str(error)
            else:
                if answer.status_code == 200:
                    return
                said = answer.text
            assert time.monotonic() < until, f"{url}: {said}"
            time.sleep(0.1)

    def probe(self, name: str, kind: str) -> dict[str, Any]:
        """One of a container's probes."""
        return dict(self._container(name)[f"{kind}Probe"])


def pod(manifests: Manifests, kind: str, component: str, secrets: dict[str, str]) -> Pod:
    """The pod of a Deployment or Job; of workers, that of `low`."""
    found = manifests.of(kind, component=component)
    (one,) = [
        each
        for each in found
        if each["metadata"]["labels"].get("laneway.dev/queue", "low") == "low"
    ]
    return Pod(one["spec"]["template"]["spec"], secrets)


def test_the_topology_a_worker_and_control_start_as_rendered(
    address: BrokerAddress, redis: PrivateRedis
) -> None:
    """The worker's pod waits until the Job has run; a second wait is short; all end in time."""
    management = address.management_url
    assert management is not None
    rendered = render(
        {
            "app": "support.tasks:app",
            "broker": {
                "vhostPrefix": address.vhost_prefix,
                **{part: {"urlKey": "broker"} for part in ("jobs", "control", "topology")},
            },
            "results": {"urlKey": "redis"},
        }
    )
    secrets = {
        "broker": ",".join(address.urls),
        "management-url": management,
        "redis": redis.url,
    }
    worker = pod(rendered, "Deployment", "worker", secrets)
    control = pod(rendered, "Deployment", "control", secrets)
    job = pod(rendered, "Job", "topology", secrets)

    assert worker.run("topology", timeout="0") == 3, "there is no virtual host yet"
    assert job.run("topology") == 0
    assert worker.run("topology", timeout="0") == 0
    with worker.running("worker"), control.running("control"):
        for each, name in ((worker, "worker"), (control, "control")):
            for kind in ("startup", "readiness", "liveness"):
                each.wait_for(each.probe(name, kind))
