"""Each worker is scaled by exactly what was asked for, and by nothing that it was not."""

from __future__ import annotations

import json

import pytest

from laneway.policy import load_policy
from laneway.scaling.simulate import World
from support.chart import KEDA, ROOT, render, workers_of
from support.chart_cases import CASES, QUEUES, TYPES, told

SCALED = "ScaledObject"
SCALERS = {"none": None, "hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject"}


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("kind", TYPES)
def test_a_worker_is_scaled_by_exactly_what_was_asked_for(queue: str, kind: str) -> None:
    values = told(queue, autoscaling={"type": kind, "min": 2, "max": 7})
    found = render(values)
    deployment = found.worker(queue)
    for type_, scaler in SCALERS.items():
        if scaler is not None:
            assert len(found.of(scaler, component="worker", queue=queue)) == (type_ == kind)
    assert ("replicas" in deployment["spec"]) is (kind == "none")
    scaler = SCALERS[kind]
    if scaler is None:
        assert deployment["spec"]["replicas"] == 2
        return
    spec = found.worker(queue, scaler)["spec"]
    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert spec.get("minReplicaCount", spec.get("minReplicas")) == 2
    assert spec.get("maxReplicaCount", spec.get("maxReplicas")) == 7


def test_who_is_scaled_by_hand_has_no_replicas() -> None:
    values = told("high", externallyScaled=True, autoscaling={"type": "none"})
    assert "replicas" not in render(values).worker("high")["spec"]


def test_replicas_are_those_that_were_asked_for() -> None:
    assert (
        render(told("high", replicas=5, autoscaling={"type": "none"})).worker("high")["spec"][
            "replicas"
        ]
        == 5
    )


@pytest.mark.parametrize("queue", QUEUES)
def test_kedas_triggers_are_made_of_the_worker(queue: str) -> None:
    worker = workers_of({})[queue]
    spec = render().worker(queue, "ScaledObject")["spec"]
    slots, rabbit = spec["triggers"]
    assert (slots["type"], slots["name"]) == ("metrics-api", "slots")
    assert slots["metadata"]["url"] == f"http://laneway-control.jobs.svc:8080/scale/{queue}"
    assert slots["metadata"]["valueLocation"] == "slots"
    assert (rabbit["type"], rabbit["name"]) == ("rabbitmq", "rabbit")
    # Only over HTTP are jobs counted that run.
    assert rabbit["metadata"]["protocol"] == "http"
    assert rabbit["metadata"]["mode"] == "QueueLength"
    assert "excludeUnacknowledged" not in rabbit["metadata"]
    assert rabbit["metadata"]["queueName"] == queue
    assert rabbit["metadata"]["vhostName"] == worker["vhost"]
    assert rabbit["authenticationRef"]["name"] == f"laneway-scaler-{worker['vhost']}"
    composed = spec["advanced"]["scalingModifiers"]
    assert composed["formula"] == "slots ?? (rabbit * 1)"
    assert composed["target"] == str(worker["concurrency"])
    assert composed["metricType"] == "AverageValue"
    # One metric: a plain trigger beside it would be a maximum.
    assert {each["name"] for each in spec["triggers"]} == {"slots", "rabbit"}


def test_the_prefix_of_virtual_hosts_is_that_of_the_triggers() -> None:
    found = render({"broker": {"vhostPrefix": "staging-"}})
    rabbit = found.worker("secure", "ScaledObject")["spec"]["triggers"][1]
    assert rabbit["metadata"]["vhostName"] == "staging-secure"


@pytest.mark.parametrize("vhost", ["jobs", "secure"])
def test_kedas_user_is_one_of_each_virtual_host_and_no_url(vhost: str) -> None:
    spec = render().one("TriggerAuthentication", f"laneway-scaler-{vhost}")["spec"]
    taken = {each["parameter"]: (each["name"], each["key"]) for each in spec["secretTargetRef"]}
    assert taken["username"] == (f"laneway-scaler-{vhost}", "username")
    assert taken["password"] == (f"laneway-scaler-{vhost}", "password")


TRIGGERS = json.loads((ROOT / "tests/chart/crds/triggers.json").read_text())["triggers"]


@pytest.mark.parametrize("case", CASES)
def test_keda_knows_everything_that_its_triggers_are_told(case: str) -> None:
    """The definition takes any text: what a trigger may be told is KEDA's own list."""
    found = render(CASES[case])
    logins = {each["metadata"]["name"]: each for each in found.of("TriggerAuthentication")}
    for scaled in found.of("ScaledObject"):
        # (More triggers are the values' own.)
        for trigger in [t for t in scaled["spec"]["triggers"] if t["name"] in {"slots", "rabbit"}]:
            known = TRIGGERS[trigger["type"]]
            told_here = trigger["metadata"]
            login = logins.get(trigger.get("authenticationRef", {}).get("name"))
            secret = {e["parameter"] for e in login["spec"]["secretTargetRef"]} if login else set()
            for name, value in told_here.items():
                assert known[name].get("metadataVariableReadable"), name
                assert isinstance(value, str), name
                assert value in known[name].get("allowedValue", [value])
            for name in secret:
                assert known[name].get("triggerAuthenticationVariableReadable"), name
            needed = {name for name, it in known.items() if not it.keys() & {"optional", "default"}}
            assert needed <= told_here.keys() | secret


def test_more_triggers_and_a_formula_are_taken_as_they_are() -> None:
    cron = {"type": "cron", "name": "morning", "metadata": {"timezone": "UTC"}}
    values = told("high", autoscaling={"extraTriggers": [cron], "formula": "max([slots, morning])"})
    spec = render(values).worker("high", "ScaledObject")["spec"]
    assert spec["triggers"][2] == cron
    assert spec["advanced"]["scalingModifiers"]["formula"] == "max([slots, morning])"


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_out_is_at_once_and_in_is_slow(queue: str, kind: str) -> None:
    found = render(told(queue, autoscaling={"type": kind}))
    if kind == "hpa":
        behavior = found.worker(queue, "HorizontalPodAutoscaler")["spec"]["behavior"]
    else:
        advanced = found.worker(queue, "ScaledObject")["spec"]["advanced"]
        behavior = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    up, down = (
        {(each["type"], each["value"], each["periodSeconds"]) for each in behavior[key]["policies"]}
        for key in ("scaleUp", "scaleDown")
    )
    assert up == {("Percent", 900, 15)}
    assert down == {("Percent", 25, 60), ("Pods", 1, 60)}
    # The simulator plays what the chart says.
    played = World(queue=load_policy(ROOT).queue("high")).behavior
    for found_ones, rules in ((up, played.out), (down, played.into)):
        assert found_ones == {(each.kind, each.value, each.period) for each in rules.limits}
    assert (played.out.stabilisation, played.into.stabilisation) == (0, 300)


def test_an_hpa_asks_for_slots_and_never_for_the_processor() -> None:
    found = render(told("high", autoscaling={"type": "hpa"}))
    [metric] = found.worker("high", "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "laneway_slots_needed"
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "4"}


def test_keda_on_every_queue_at_once_is_four_scalers_apart() -> None:
    """Each its own Deployment, bounds, address and trigger; one login for each virtual host."""
    values = CASES["keda-everywhere"]
    found, workers = render(values), workers_of(values)
    scaled = {each["metadata"]["labels"]["laneway.dev/queue"]: each for each in found.of(SCALED)}
    assert set(scaled) == set(QUEUES)
    assert len(found.of(SCALED)) == 4
    assert found.of("HorizontalPodAutoscaler") == [], "KEDA makes them: two would fight"
    for queue, each in scaled.items():
        spec, worker = each["spec"], workers[queue]
        assert spec["scaleTargetRef"] == {"name": found.worker(queue)["metadata"]["name"]}
        assert "replicas" not in found.worker(queue)["spec"]
        asked = worker["autoscaling"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (asked["min"], asked["max"])
        assert spec["pollingInterval"] == asked["pollingIntervalSeconds"]
        assert each["metadata"].get("annotations", {}) == asked["annotations"]
        slots, rabbit = spec["triggers"][:2]
        assert slots["metadata"]["url"].endswith(f"/scale/{queue}")
        assert rabbit["metadata"]["queueName"] == queue
        assert rabbit["metadata"]["vhostName"] == f"staging-{worker['vhost']}"
        assert rabbit["metadata"]["host"] == "https://rabbit.broker:15672"
        assert rabbit["authenticationRef"] == {"name": f"laneway-scaler-{worker['vhost']}"}
        of_a_pod = {trigger["metadata"].get("targetValue") for trigger in spec["triggers"]} - {None}
        assert of_a_pod == {str(worker["concurrency"])}
        assert spec["advanced"]["scalingModifiers"]["target"] == str(worker["concurrency"])
    names = [
        each["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"]
        for each in scaled.values()
    ]
    assert len(set(names)) == 4
    assert [t["name"] for t in scaled["default"]["spec"]["triggers"]] == [
        "slots",
        "rabbit",
        "morning",
    ]
    logins = {each["metadata"]["name"]: each for each in found.of("TriggerAuthentication")}
    taken = {
        name: {e["parameter"]: (e["name"], e["key"]) for e in each["spec"]["secretTargetRef"]}
        for name, each in logins.items()
    }
    assert taken == {
        "laneway-scaler-jobs": {
            "username": ("laneway-scaler-jobs", "username"),
            "password": ("laneway-scaler-jobs", "password"),
        },
        "laneway-scaler-secure": {
            "username": ("scaler-of-secure", "user"),
            "password": ("scaler-of-secure", "word"),
        },
    }


@pytest.mark.parametrize("case", CASES)
def test_nothing_scales_the_control_process(case: str) -> None:
    """So its `replicas` may always be written: nobody else's number is overwritten."""
    found = render(CASES[case])
    control = found.one("Deployment", "laneway-control")
    assert control["spec"]["replicas"] in {1, 2}
    workers = {each["metadata"]["name"] for each in found.workers().values()}
    for kind in ("HorizontalPodAutoscaler", SCALED):
        assert {each["spec"]["scaleTargetRef"]["name"] for each in found.of(kind)} <= workers


def test_keda_is_asked_for_only_where_a_worker_is_scaled_by_it() -> None:
    values = {"workers": {queue: {"autoscaling": {"type": "none"}} for queue in QUEUES}}
    assert KEDA not in {each["apiVersion"] for each in render(values)}
