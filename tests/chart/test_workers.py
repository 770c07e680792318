"""What each worker is: itself, apart from the others, asked, given time; and what is beside."""

from __future__ import annotations

import pytest

from support.chart import render, workers_of
from support.chart_cases import QUEUES, told
from support.chart_invariants import containers, main_container, pod


@pytest.mark.parametrize("queue", QUEUES)
def test_everything_of_a_worker_is_its_own(queue: str) -> None:
    found = render()
    name = f"laneway-worker-{queue}"
    deployment = found.worker(queue)
    assert deployment["metadata"]["name"] == name
    assert pod(deployment)["serviceAccountName"] == name
    assert found.one("ServiceAccount", name)["automountServiceAccountToken"] is False
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "laneway",
        "app.kubernetes.io/instance": "laneway",
        "app.kubernetes.io/component": "worker",
        "laneway.dev/queue": queue,
    }
    command = main_container(deployment)["command"]
    assert command[:3] == ["laneway", "worker", queue]


@pytest.mark.parametrize("queue", QUEUES)
def test_a_worker_reads_the_secrets_of_its_own_virtual_host(queue: str) -> None:
    vhost = workers_of({})[queue]["vhost"]
    for container in containers(render().worker(queue)):
        env = {each["name"]: each for each in container["env"]}
        url = env["LANEWAY_BROKER_URL"]["valueFrom"]["secretKeyRef"]
        assert url == {"name": f"laneway-broker-{vhost}", "key": "url"}
        assert "LANEWAY_MANAGEMENT_URL" not in env


def test_a_secure_worker_is_apart_in_what_it_reports_and_where_results_lie() -> None:
    found = render(
        {"sentry": {"existingSecret": "open", "secure": {"existingSecret": "closed"}}},
    )
    seen = {}
    for queue in ("high", "secure"):
        env = {each["name"]: each for each in main_container(found.worker(queue))["env"]}
        seen[queue] = {
            name: each["valueFrom"]["secretKeyRef"]["name"]
            for name, each in env.items()
            if "valueFrom" in each
        }
    assert seen["high"]["LANEWAY_RESULT_BACKEND"] == "laneway-results"
    assert seen["secure"]["LANEWAY_RESULT_BACKEND"] == "laneway-results-secure"
    assert seen["high"]["LANEWAY_SENTRY_DSN"] == "open"
    assert "LANEWAY_SENTRY_SECURE_DSN" not in seen["high"]
    assert seen["secure"]["LANEWAY_SENTRY_SECURE_DSN"] == "closed"
    assert "LANEWAY_SENTRY_DSN" not in seen["secure"]
    assert set(seen["high"].values()) & set(seen["secure"].values()) == set()


# --- Leaving and being asked -----


@pytest.mark.parametrize("queue", QUEUES)
def test_a_pod_has_time_to_leave(queue: str) -> None:
    grace = workers_of({})[queue]["gracePeriodSeconds"]
    assert pod(render().worker(queue))["terminationGracePeriodSeconds"] == grace + 15
    longer = told(queue, preStopSeconds=7)
    spec = pod(render(longer).worker(queue))
    assert spec["terminationGracePeriodSeconds"] == grace + 7 + 15
    [worker] = [each for each in spec["containers"] if each["name"] == "worker"]
    assert worker["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    asked = told(queue, terminationGracePeriodSeconds=9999)
    assert pod(render(asked).worker(queue))["terminationGracePeriodSeconds"] == 9999


@pytest.mark.parametrize("queue", QUEUES)
def test_probes_ask_the_worker_itself_and_never_start_a_process(queue: str) -> None:
    container = main_container(render().worker(queue))
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    asked = {name: probe["httpGet"] for name, probe in probes.items()}
    assert asked == {
        "startup": {"path": "/livez", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
        "liveness": {"path": "/livez", "port": "http"},
    }
    assert {"name": "http", "containerPort": 8080} in container["ports"]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert env["LANEWAY_HEALTH"] == "0.0.0.0:8080"


@pytest.mark.parametrize("queue", QUEUES)
def test_a_broker_that_is_away_starts_no_worker_again(queue: str) -> None:
    """What restarts a pod never asks for the broker; what stalls a rollout does."""
    container = main_container(render().worker(queue))
    for kind in ("startup", "liveness"):
        assert container[f"{kind}Probe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 600, "to import the application"
    spec = render().worker(queue)["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["progressDeadlineSeconds"] == 1800, "then the rollout says that it failed"


# --- What others see ------


def test_the_control_process_is_two_and_has_a_service() -> None:
    found = render()
    control = found.one("Deployment", "laneway-control")
    assert control["spec"]["replicas"] == 2
    service = found.one("Service", "laneway-control")["spec"]
    assert service["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    env = {each["name"] for each in containers(control)[0]["env"]}
    assert {"LANEWAY_BROKER_URL", "LANEWAY_MANAGEMENT_URL"} <= env


def test_the_topology_is_a_plain_job_that_a_change_gives_another_name() -> None:
    [job] = render().of("Job")
    assert "annotations" not in job["metadata"]
    [other] = render({"image": {"tag": "8"}}).of("Job")
    assert job["metadata"]["name"] != other["metadata"]["name"]
    [hook] = render({"topology": {"hook": True}}).of("Job")
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


@pytest.mark.parametrize("queue", QUEUES)
def test_a_worker_waits_for_its_topology(queue: str) -> None:
    first = pod(render().worker(queue))["initContainers"][0]
    assert first["command"][:3] == ["laneway", "topology", "wait"]
    assert f"--queue={queue}" in first["command"]
    without = render({"topology": {"wait": {"enabled": False}}})
    assert "initContainers" not in pod(without.worker(queue))


def test_nothing_is_called_by_the_name_of_another_release() -> None:
    names = {each["metadata"]["name"] for each in render(release="blue")}
    assert all(name.startswith("blue-laneway-") for name in names)
    assert not names & {each["metadata"]["name"] for each in render()}
