"""What stands around a worker's pods: budgets, fences, monitors, places, and what Helm says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.chart import CHART, MONITORS, NAMESPACE, RELEASE, Manifest, helm, render, workers_of
from support.chart_cases import CASES, QUEUES, every_worker, told
from support.chart_invariants import pod, selects

TYPES_OF_MONITORS = {"PodMonitor": "podMonitor", "ServiceMonitor": "serviceMonitor"}


# --- Disruptions ------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", QUEUES)
def test_a_drain_takes_one_pod_at_a_time(queue: str) -> None:
    spec = render().worker(queue, "PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec
    # A pod that is not ready holds up no drain.
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert spec["selector"] == render().worker(queue)["spec"]["selector"]
    part = told(queue, pdb={"maxUnavailable": "25%"})
    assert render(part).worker(queue, "PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"


@pytest.mark.parametrize(
    "own",
    [
        {"pdb": {"enabled": False}},
        {"autoscaling": {"min": 1, "max": 1}},
        {"autoscaling": {"type": "none"}, "replicas": 1},
    ],
    ids=["switched off", "at most one pod", "one pod"],
)
def test_one_pod_alone_has_no_budget_that_would_hold_up_every_drain(own: dict[str, Any]) -> None:
    found = render(told("high", **own))
    assert found.of("PodDisruptionBudget", component="worker", queue="high") == []
    assert found.worker("low", "PodDisruptionBudget")


# --- Fences -----------------------------------------------------------------------------------


def policies(values: dict[str, Any]) -> dict[str, Manifest]:
    """Queue: its NetworkPolicy."""
    found = render(values).of("NetworkPolicy", component="worker")
    return {each["metadata"]["labels"]["laneway.dev/queue"]: each for each in found}


def ports(rules: list[dict[str, Any]]) -> set[Any]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_a_secure_worker_is_fenced_without_being_asked() -> None:
    assert set(policies({})) == {"secure"}
    assert set(policies(every_worker(networkPolicy={"enabled": "always"}))) == set(QUEUES)
    assert policies(every_worker(networkPolicy={"enabled": "never"})) == {}


@pytest.mark.parametrize("queue", QUEUES)
def test_nothing_comes_in_but_who_asks_for_numbers(queue: str) -> None:
    spec = policies(CASES["fenced"])[queue]["spec"]
    assert sorted(spec["policyTypes"]) == ["Egress", "Ingress"]
    assert spec["podSelector"] == render().worker(queue)["spec"]["selector"]
    [rule] = spec["ingress"]
    assert ports([rule]) == {"http"}
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]


@pytest.mark.parametrize("queue", QUEUES)
def test_nothing_goes_out_but_to_names_broker_and_results(queue: str) -> None:
    values = every_worker(networkPolicy={"enabled": "always"})
    assert ports(policies(values)[queue]["spec"]["egress"]) == {53, 5672, 5671, 6379}
    without = {**values, "results": {"enabled": False}}
    assert ports(policies(without)[queue]["spec"]["egress"]) == {53, 5672, 5671}


def test_who_reports_may_reach_where() -> None:
    both = every_worker(networkPolicy={"enabled": "always"})
    found = policies({**both, "sentry": {"existingSecret": "open"}})
    assert 443 in ports(found["high"]["spec"]["egress"])
    assert 443 not in ports(found["secure"]["spec"]["egress"])


def test_places_are_those_that_were_named() -> None:
    there = [{"podSelector": {"matchLabels": {"app": "rabbitmq"}}}]
    [found] = policies({"workerDefaults": {"networkPolicy": {"broker": there}}}).values()
    [rule] = [each for each in found["spec"]["egress"] if 5672 in ports([each])]
    assert rule["to"] == there


def fence_of(component: str, values: dict[str, Any]) -> dict[str, Any]:
    """The rules of the one NetworkPolicy of a component."""
    [found] = render(values).of("NetworkPolicy", component=component)
    return dict(found["spec"])


def test_what_applies_the_topology_reaches_names_and_the_broker_and_nobody_asks_it() -> None:
    """Its user may change everything on the broker."""
    spec = fence_of("topology", {})
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert ports(spec["egress"]) == {53, 5672, 5671, 15672, 15671}
    values = {
        "sentry": {"existingSecret": "open"},
        "broker": {"port": 5673, "managementPort": 443},
        "workerDefaults": {"networkPolicy": {"broker": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}},
        "control": {"networkPolicy": {"management": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]}},
        "topology": {
            "networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "10.3.0.0/16"}}]}]}
        },
    }
    names, broker, management, extra = fence_of("topology", values)["egress"]
    assert ports([names]) == {53}
    assert (ports([broker]), broker["to"]) == (
        {5671, 5672, 5673},
        [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
    )
    assert (ports([management]), management["to"]) == (
        {443, 15671, 15672},
        [{"ipBlock": {"cidr": "10.2.0.0/16"}}],
    )
    assert extra == {"to": [{"ipBlock": {"cidr": "10.3.0.0/16"}}]}
    off = {"topology": {"networkPolicy": {"enabled": False}}}
    assert render(off).of("NetworkPolicy", component="topology") == []
    assert render({"topology": {"enabled": False}}).of("NetworkPolicy", component="topology") == []


def test_a_hooks_fence_stands_before_its_pod() -> None:
    found = render({"topology": {"hook": True}})
    [job] = found.of("Job")
    [fence] = found.of("NetworkPolicy", component="topology")
    mine, its = fence["metadata"]["annotations"], job["metadata"]["annotations"]
    assert mine["helm.sh/hook"] == its["helm.sh/hook"]
    assert int(mine["helm.sh/hook-weight"]) < int(its["helm.sh/hook-weight"])


@pytest.mark.parametrize("case", ["fenced", "furnished"])
def test_every_pod_can_be_fenced_by_one_policy_of_its_own(case: str) -> None:
    """Where a namespace denies by default, a pod without a policy would reach nothing."""
    fences = {"workerDefaults": {"networkPolicy": {"enabled": "always"}}}
    found = render(CASES[case] if case == "fenced" else {**CASES[case], **fences})
    every = [each["spec"]["podSelector"] for each in found.of("NetworkPolicy")]
    labels = [each["metadata"]["labels"] for each in found.of("Pod")]
    labels += [
        each["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "Job")
        for each in found.of(kind)
    ]
    assert len(labels) == len(QUEUES) + 3, "workers, control, topology and the pod of helm test"
    for own in labels:
        assert len([each for each in every if selects(each, own)]) == 1, own


# --- Monitors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES_OF_MONITORS)
def test_monitors_need_a_flag_and_an_operator(kind: str) -> None:
    flag = {"monitoring": {TYPES_OF_MONITORS[kind]: {"enabled": True}}}
    assert render(flag).of(kind)
    assert render({}).of(kind) == []
    assert render(flag, capabilities=[]).of(kind) == []
    assert render(flag, capabilities=[MONITORS]).of(kind)


@pytest.mark.parametrize("queue", QUEUES)
def test_each_worker_has_a_monitor_of_its_own(queue: str) -> None:
    found = render(CASES["monitored"])
    monitor = found.worker(queue, "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"] == found.worker(queue)["spec"]["selector"]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    names = {each["name"] for each in pod(found.worker(queue))["containers"][0]["ports"]}
    assert endpoint["port"] in names


# --- Places -----------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", QUEUES)
def test_pods_are_spread_over_zones_and_nodes_each_version_by_itself(queue: str) -> None:
    deployment = render().worker(queue)
    found = pod(deployment)["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in found] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    for each in found:
        assert each["labelSelector"] == deployment["spec"]["selector"]
        assert each["matchLabelKeys"] == ["pod-template-hash"]


# --- What Helm says ---------------------------------------------------------------------------


def notes(values: dict[str, Any]) -> str:
    """What `helm install` shows at its end."""
    command = ["install", RELEASE, CHART, "--namespace", NAMESPACE, "--dry-run=client"]
    done = helm(*command, "--values", "-", stdin=json.dumps(values))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("queue", QUEUES)
def test_the_notes_say_how_each_worker_is_scaled(queue: str) -> None:
    name = f"laneway-worker-{queue}"
    by_keda = notes({})
    held = "autoscaling.keda.sh/paused-replicas=5"
    assert f"annotate scaledobject {name} {held} --overwrite" in by_keda
    assert f"annotate scaledobject {name} autoscaling.keda.sh/paused-scale-in=true" in by_keda
    by_hand = told(queue, externallyScaled=True, autoscaling={"type": "none"})
    assert f"scale deployment {name} --replicas=5" in notes(by_hand)
    alone = notes(told(queue, autoscaling={"type": "none"}))
    assert f"--set workers.{queue}.replicas=5" in alone
    assert f"scaledobject {name}" not in alone


def test_the_chart_passes_its_linter() -> None:
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


def test_helms_own_test_asks_the_doctor() -> None:
    [found] = render().of("Pod")
    assert found["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert found["spec"]["containers"][0]["command"][:2] == ["laneway", "doctor"]
    assert found["spec"]["restartPolicy"] == "Never"
    assert render({"tests": {"enabled": False}}).of("Pod") == []


def test_what_runs_once_at_a_time_needs_no_singleton() -> None:
    """Keepers and scalers may be many: a rollout of the control process never has to be a gap."""
    control = render().one("Deployment", "laneway-control")["spec"]
    assert control["replicas"] == 2
    assert control.get("strategy", {}).get("type") != "Recreate"
    assert all(worker["strategy"]["type"] == "RollingUpdate" for worker in workers_of({}).values())
