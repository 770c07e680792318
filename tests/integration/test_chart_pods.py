"""What the chart renders really starts: commands, variables and probes, on a real broker."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import amqp.exceptions
import httpx
import kombu
import pytest

from integration.test_health import free_port
from laneway.broker.management import Management
from laneway.deadletter import DeadLetters
from laneway.errors import DeadLettered
from support.chart import CHART, NAMESPACE, Manifests, render
from support.topology import apply_policy
from support.workers import POLICY, TESTS, make_app

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
        #: Names of Services, which lead nowhere here, and what to ask instead.
        self.hosts: dict[str, str] = {}

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
                # As the kubelet does: $(NAME) is a variable that was said before.
                value = re.sub(r"\$\((\w+)\)", lambda it: env[it[1]], variable["value"])
                for host, instead in self.hosts.items():
                    value = value.replace(host, instead)
                env[variable["name"]] = value
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


@contextmanager
def users_of(rendered: Manifests, address: BrokerAddress) -> Iterator[dict[str, BrokerAddress]]:
    """The users that the topology operator would make, with their rights, and how they enter."""
    made = {}
    with ExitStack() as stack:
        api = stack.enter_context(
            httpx.Client(base_url=f"{address.management_url}/api/", trust_env=False)
        )
        for user in rendered.of("User"):
            name, password = f"user-{secrets.token_hex(4)}", secrets.token_hex(8)
            tags = ",".join(user["spec"].get("tags", []))
            api.put(f"users/{name}", json={"password": password, "tags": tags}).raise_for_status()
            stack.callback(api.delete, f"users/{name}")
            for right in rendered.of("Permission"):
                if right["spec"]["userReference"]["name"] == user["metadata"]["name"]:
                    path = f"permissions/{right['spec']['vhost']}/{name}"
                    api.put(path, json=right["spec"]["permissions"]).raise_for_status()
            part = user["metadata"]["name"].removeprefix("laneway-")
            made[part] = address.as_user(name, password)
        yield made


@pytest.mark.broker43
def test_the_rights_of_the_operators_users_are_enough_and_lead_nowhere_else(
    address: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    """A worker's user works in its own virtual host, and only publishes into the other."""
    rendered = render(
        {"app": "support.tasks:app", "broker": {"vhostPrefix": address.vhost_prefix}},
        files=[CHART / "values-rabbitmq.yaml"],
    )
    apply_policy(address)
    broker, management = urlsplit(address.urls[0]), urlsplit(address.management_url or "")
    hosts = {
        f"laneway-rabbitmq.{NAMESPACE}.svc:5672": f"{broker.hostname}:{broker.port}",
        f"laneway-rabbitmq.{NAMESPACE}.svc:15672": f"{management.hostname}:{management.port}",
    }
    with users_of(rendered, address) as users:
        app = make_app(users["jobs"], redis.url)
        worker = pod(rendered, "Deployment", "worker", {"url": redis.url, **login(users["jobs"])})
        secret = {"url": redis.url, **login(users["control"])}
        control = pod(rendered, "Deployment", "control", secret)
        doctor = Pod(rendered.of("Pod", component="test")[0]["spec"], secret)
        worker.hosts = control.hosts = doctor.hosts = hosts
        assert worker.run("topology", timeout="0") == 0
        with worker.running("worker"), control.running("control"):
            worker.wait_for(worker.probe("worker", "readiness"))
            soon = app.send_task("plain.add", (1, 2), queue="low")
            later = app.send_task("plain.add", (3, 4), queue="low", countdown=1)
            again = app.send_task("plain.flaky", (1,), queue="low")
            app.send_task("plain.fail", queue="low")
            late = app.send_task("plain.add", (1, 1), queue="high", expires=1)
            app.send_task("vault.pay", (1,), ignore_result=True)
            app.send_task("vault.pay", (1,), ignore_result=True, countdown=1)
            assert soon.get(timeout=PATIENCE) == 3
            assert later.get(timeout=PATIENCE) == 7
            again.get(timeout=PATIENCE)
            with pytest.raises(DeadLettered):
                late.get(timeout=PATIENCE)
            assert app.control.ping(timeout=5, limit=1), "celery inspect reaches the worker"
            # The scaler is ready when it has heard for half a minute of workers and broker.
            control.wait_for(control.probe("control", "readiness"))
            load = httpx.get(f"http://127.0.0.1:{control.port}/scale/low", trust_env=False).json()
            assert load["workers_reporting"] == 1
            assert doctor.run("doctor") == 0, "helm test"
        with Management(address) as client:
            vhost = address.vhost("jobs")
            for exchange in client.exchanges(vhost):
                if exchange.name.startswith("laneway.topology."):
                    client.delete_exchange(vhost, exchange.name)
        assert worker.run("topology", timeout="0") == 1, "its user sees that the mark is missing"
        with DeadLetters(make_app(address), folder=tmp_path) as letters:
            tasks = sorted(letter.task or "" for letter in letters.list().letters)
        assert tasks == ["plain.add", "plain.fail"]

        with kombu.Connection(users["jobs"].kombu_urls("jobs")) as connection:
            for refused in ("queue_delete", "exchange_delete"):
                with pytest.raises(amqp.exceptions.AccessRefused):
                    getattr(connection.channel(), refused)("low" if "queue" in refused else "jobs")
        with kombu.Connection(users["jobs"].kombu_urls("secure")) as connection:
            for refused in ("basic_get", "queue_purge", "queue_delete"):
                with pytest.raises(amqp.exceptions.AccessRefused):
                    getattr(connection.channel(), refused)("secure")

        scaler = login(users["scaler-jobs"])
        jobs, secure = address.vhost("jobs"), address.vhost("secure")
        for vhost, queue, status in ((jobs, "low", 200), (secure, "secure", 404)):
            answer = httpx.get(
                f"http://{management.hostname}:{management.port}/api/queues/{vhost}/{queue}",
                auth=(scaler["username"], scaler["password"]),
                trust_env=False,
            )
            assert answer.status_code == status, answer.text


def login(address: BrokerAddress) -> dict[str, str]:
    """What the operator writes into a user's Secret."""
    parts = urlsplit(address.urls[0])
    assert parts.username
    assert parts.password
    return {"username": parts.username, "password": parts.password}
