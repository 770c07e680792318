"""Each key of a worker shows in that worker, and in no other object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.chart import Manifest, Manifests, render, workers_of
from support.chart_cases import QUEUES, told
from support.chart_invariants import main_container, pod, problems

if TYPE_CHECKING:
    from collections.abc import Callable


#: What somebody sets whose broker has a certificate of their own authority.
CERTIFIED = {
    "env": {"SSL_CERT_FILE": "/etc/ca/ca.pem"},
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
}


@pytest.mark.parametrize("container", ["worker", "topology", "control", "job", "doctor"])
def test_whoever_goes_to_the_broker_can_be_given_its_certificate(container: str) -> None:
    """The worker, what waits before it, the control process, the Job, and `helm test`."""
    found = render({"workerDefaults": CERTIFIED, "control": CERTIFIED, "topology": CERTIFIED})
    match container:
        case "worker" | "topology":
            spec = pod(found.worker("high"))
        case "control":
            spec = pod(found.one("Deployment", "laneway-control"))
        case "job":
            [job] = found.of("Job")
            spec, container = pod(job), "topology"
        case _:
            [test] = found.of("Pod")
            spec = test["spec"]
    every = [*spec.get("initContainers", ()), *spec["containers"]]
    [one] = [each for each in every if each["name"] == container]
    env = {each["name"]: each.get("value") for each in one["env"]}
    assert (env["SSL_CERT_FILE"], env["A"]) == ("/etc/ca/ca.pem", "b")
    assert one["envFrom"] == CERTIFIED["extraEnvFrom"]
    assert {"name": "ca", "mountPath": "/etc/ca"} in one["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "ca"}} in spec["volumes"]


def test_the_job_and_helms_own_test_go_where_they_are_sent() -> None:
    place = {
        "affinity": {"nodeAffinity": {}},
        "nodeSelector": {"pool": "fast"},
        "tolerations": [{"key": "fast", "operator": "Exists"}],
        "priorityClassName": "urgent",
    }
    found = render({"control": place, "topology": {**place, "podLabels": {"team": "platform"}}})
    [job], [test] = found.of("Job"), found.of("Pod")
    for spec in (pod(job), test["spec"]):
        assert place.items() <= spec.items()
    assert job["spec"]["template"]["metadata"]["labels"]["team"] == "platform"


def others(manifests: Manifests, queue: str) -> list[Manifest]:
    """All objects that are not of one worker (the alerts and monitors of all are no worker's)."""
    return [
        each for each in manifests if each["metadata"]["labels"].get("laneway.dev/queue") != queue
    ]


@dataclass(frozen=True)
class Flag:
    """A key of a worker, and where it shows."""

    own: dict[str, Any]
    shows: Callable[[Manifest], Any]
    as_: Any

    @property
    def name(self) -> str:
        return "-".join(self.own)


def in_pod(key: str) -> Callable[[Manifest], Any]:
    return lambda one: pod(one).get(key)


def in_container(key: str) -> Callable[[Manifest], Any]:
    return lambda one: main_container(one).get(key)


def annotation(name: str) -> Callable[[Manifest], Any]:
    return lambda one: one["spec"]["template"]["metadata"]["annotations"].get(name)


def variable(name: str) -> Callable[[Manifest], Any]:
    return lambda one: {e["name"]: e for e in main_container(one)["env"]}.get(name)


DIGEST = f"sha256:{'0' * 64}"
TOLERATION = {"key": "fast", "operator": "Exists"}
SPREAD = {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
SIDECAR = {"name": "agent", "image": "agent:1"}
FLAGS = [
    Flag({"image": {"tag": "7"}}, in_container("image"), "laneway:7"),
    Flag({"image": {"digest": DIGEST}}, in_container("image"), f"laneway@{DIGEST}"),
    Flag({"image": {"pullPolicy": "Always"}}, in_container("imagePullPolicy"), "Always"),
    Flag({"resources": {"limits": {"memory": "3Gi"}}},
         lambda one: main_container(one)["resources"]["limits"]["memory"], "3Gi"),
    Flag({"app": "other.app:app"}, variable("LANEWAY_APP"),
         {"name": "LANEWAY_APP", "value": "other.app:app"}),
    Flag({"nodeSelector": {"pool": "fast"}}, in_pod("nodeSelector"), {"pool": "fast"}),
    Flag({"affinity": {"nodeAffinity": {}}}, in_pod("affinity"), {"nodeAffinity": {}}),
    Flag({"tolerations": [TOLERATION]}, in_pod("tolerations"), [TOLERATION]),
    Flag({"priorityClassName": "urgent"}, in_pod("priorityClassName"), "urgent"),
    Flag({"runtimeClassName": "gvisor"}, in_pod("runtimeClassName"), "gvisor"),
    Flag({"topologySpreadConstraints": [SPREAD]},
         lambda one: [each["topologyKey"] for each in pod(one)["topologySpreadConstraints"]],
         ["rack"]),
    Flag({"safeToEvict": "false"},
         annotation("cluster-autoscaler.kubernetes.io/safe-to-evict"), "false"),
    Flag({"doNotDisrupt": True}, annotation("karpenter.sh/do-not-disrupt"), "true"),
    Flag({"podAnnotations": {"a": "b"}}, annotation("a"), "b"),
    Flag({"podLabels": {"tier": "front"}},
         lambda one: one["spec"]["template"]["metadata"]["labels"].get("tier"), "front"),
    Flag({"annotations": {"reloader": "true"}},
         lambda one: one["metadata"].get("annotations", {}).get("reloader"), "true"),
    Flag({"env": {"SHOP": "north"}}, variable("SHOP"), {"name": "SHOP", "value": "north"}),
    Flag({"extraEnv": [{"name": "A", "value": "b"}]}, variable("A"), {"name": "A", "value": "b"}),
    Flag({"extraEnvFrom": [{"configMapRef": {"name": "shop"}}]}, in_container("envFrom"),
         [{"configMapRef": {"name": "shop"}}]),
    Flag({"extraVolumes": [{"name": "data", "emptyDir": {}}]},
         lambda one: pod(one)["volumes"][-1], {"name": "data", "emptyDir": {}}),
    Flag({"extraVolumeMounts": [{"name": "tmp", "mountPath": "/data"}]},
         lambda one: main_container(one)["volumeMounts"][-1],
         {"name": "tmp", "mountPath": "/data"}),
    Flag({"initContainers": [SIDECAR]}, lambda one: pod(one)["initContainers"][0], SIDECAR),
    Flag({"sidecars": [SIDECAR]}, lambda one: pod(one)["containers"][-1], SIDECAR),
    Flag({"extraArgs": ["--max-tasks-per-child=10"]},
         lambda one: main_container(one)["command"][-1], "--max-tasks-per-child=10"),
    Flag({"concurrency": 9}, lambda one: "--concurrency=9" in main_container(one)["command"], True),
    Flag({"pool": "direct"}, lambda one: "--pool=direct" in main_container(one)["command"], True),
    Flag({"strategy": {"type": "Recreate", "rollingUpdate": None}},
         lambda one: one["spec"]["strategy"]["type"], "Recreate"),
    Flag({"revisionHistoryLimit": 1}, lambda one: one["spec"]["revisionHistoryLimit"], 1),
    Flag({"progressDeadlineSeconds": 99}, lambda one: one["spec"]["progressDeadlineSeconds"], 99),
    Flag({"tmp": {"sizeLimit": "1Gi"}},
         lambda one: [v["emptyDir"] for v in pod(one)["volumes"] if v["name"] == "tmp"],
         [{"sizeLimit": "1Gi"}]),
    Flag({"probes": {"liveness": {"periodSeconds": 33}}},
         lambda one: main_container(one)["livenessProbe"]["periodSeconds"], 33),
    Flag({"serviceAccount": {"create": False, "name": "given"}}, in_pod("serviceAccountName"),
         "given"),
]  # fmt: skip


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_a_key_shows_in_its_worker_and_in_no_other_object(flag: Flag, queue: str) -> None:
    """So a change to one worker starts no pod of another again."""
    before = render()
    assert flag.shows(before.worker(queue)) != flag.as_
    values = told(queue, **flag.own)
    after = render(values)
    assert flag.shows(after.worker(queue)) == flag.as_
    assert others(after, queue) == others(before, queue)
    assert problems(after, values) == []


def test_a_default_of_all_workers_is_one_of_each() -> None:
    found = render({"workerDefaults": {"nodeSelector": {"a": "b"}}}).workers()
    assert {queue: pod(one)["nodeSelector"] for queue, one in found.items()} == {
        queue: {"a": "b"} for queue in QUEUES
    }


def test_maps_are_merged_and_lists_are_replaced() -> None:
    found = render(
        {
            "workerDefaults": {"nodeSelector": {"a": "b"}, "extraArgs": ["--loglevel=info"]},
            **told("high", nodeSelector={"c": "d"}, extraArgs=["--other"]),
        }
    )
    assert pod(found.worker("high"))["nodeSelector"] == {"a": "b", "c": "d"}
    assert "--loglevel=info" not in main_container(found.worker("high"))["command"]


@pytest.mark.parametrize("queue", QUEUES)
def test_a_worker_that_is_switched_off_leaves_nothing(queue: str) -> None:
    found = render(told(queue, enabled=False))
    assert others(found, queue) == list(found)
    assert sorted(found.workers()) == sorted({*QUEUES} - {queue})


def test_a_queue_more_has_everything_that_the_others_have() -> None:
    bulk = {**workers_of({})["low"], "summary": "many"}
    found = render({"workers": {"bulk": bulk}})

    def kinds(queue: str) -> list[str]:
        labelled = [e for e in found if e["metadata"]["labels"].get("laneway.dev/queue") == queue]
        return sorted(each["kind"] for each in labelled)

    assert kinds("bulk") == kinds("low")
    assert len(kinds("bulk")) >= 3
