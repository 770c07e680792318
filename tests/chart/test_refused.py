"""What makes no sense is refused before anything is installed, in words that say what is wrong."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from support.chart import CHART, ChartRefused, render, workers_of
from support.chart_cases import CASES, QUEUES, every_worker, told


def worker(**own: Any) -> dict[str, Any]:
    return told("high", **own)


def scaling(**own: Any) -> dict[str, Any]:
    return told("high", autoscaling=own)


#: What is said, and what must stand in the answer.
BY_THE_SCHEMA: list[tuple[dict[str, Any], str, str]] = [
    ({"wrkers": {}}, "at ''", "additional properties 'wrkers' not allowed"),
    (worker(replica=3), "/workers/high", "additional properties 'replica' not allowed"),
    (worker(queues=["high"]), "/workers/high", "additional properties 'queues' not allowed"),
    ({"workers": []}, "/workers", "got array, want object"),
    ({"workers": {"High": {}}}, "/workers", "High"),
    ({"workers": {"x" * 60: {}}}, "/workers", "xxx"),
    (scaling(type="cron"), "/workers/high/autoscaling/type", "'none', 'hpa', 'keda'"),
    (scaling(min=-1), "/workers/high/autoscaling/min", "minimum: got -1, want 0"),
    (scaling(max="10"), "/workers/high/autoscaling/max", "got string, want integer"),
    # What a queue's file says to the control process would have no effect here.
    (scaling(utilisation=0.5), "/workers/high/autoscaling", "'utilisation' not allowed"),
    (scaling(triggers=[]), "/workers/high/autoscaling", "'triggers' not allowed"),
    (scaling(extraTriggers=[{"type": "cron"}]), "/autoscaling/extraTriggers/0", "missing"),
    (worker(vhost="public"), "/workers/high/vhost", "'jobs', 'secure'"),
    (worker(pool="process"), "/workers/high/pool", "'prefork', 'direct'"),
    (worker(concurrency=0), "/workers/high/concurrency", "minimum: got 0, want 1"),
    (worker(serviceLevelSeconds=0), "/workers/high/serviceLevelSeconds", "exclusiveMinimum"),
    (worker(gracePeriodSeconds="1m"), "/workers/high/gracePeriodSeconds", "want number"),
    (worker(image={"digest": "latest"}), "/workers/high/image/digest", "does not match pattern"),
    (worker(app="shop"), "/workers/high/app", "does not match pattern"),
    (worker(safeToEvict=True), "/workers/high/safeToEvict", "must be one of"),
    (worker(networkPolicy={"enabled": True}), "/networkPolicy/enabled", "must be one of"),
    (worker(probes={"liveness": {"exec": {}}}), "/probes/liveness", "'exec' not allowed"),
    ({"broker": {"password": "x"}}, "/broker", "additional properties 'password' not allowed"),
    ({"broker": {"jobs": {"url": "amqp://u:p@h"}}}, "/broker/jobs", "'url' not allowed"),
    ({"log": {"level": "loud"}}, "/log/level", "must be one of"),
    ({"control": {"replicas": "two"}}, "/control/replicas", "got string, want integer"),
    ({"monitoring": {"alerts": {}}}, "/monitoring", "additional properties 'alerts' not allowed"),
]


@pytest.mark.parametrize(
    ("values", "where", "what"),
    BY_THE_SCHEMA,
    ids=[where + what for _, where, what in BY_THE_SCHEMA],
)
def test_the_schema_says_where_and_what(values: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(ChartRefused) as refused:
        render(values)
    said = str(refused.value)
    assert where in said, said
    assert what in said, said


def vhosts(**own: Any) -> dict[str, Any]:
    return {"broker": {"secure": own}, "keda": {"secure": own}}


HOLDS = {"workers": {"secure": {"enabled": False}}}
LOW = {**workers_of({})["low"]}
DEVELOPMENT, RABBITMQ = CASES["development"], CASES["rabbitmq"]


def over(under: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Values over others."""
    made = {**under}
    for key, value in values.items():
        inner = made.get(key)
        made[key] = over(inner, value) if isinstance(value, dict) and inner else value
    return made


#: What is said, the place and the reason that must stand in the answer; and for which Kubernetes.
TOGETHER: list[tuple[dict[str, Any], str, str, str]] = [
    ({"fullnameOverride": "7up"}, "fullnameOverride", "a letter first", "1.37"),
    (every_worker(enabled=False), "workers", "expected at least one that is enabled", "1.37"),
    # The two long names have the same beginning and the same 32 bits of their digest.
    ({"fullnameOverride": "x" * 60, "workers": {"q19971": LOW, "q32417": LOW}}, "workers.q32417",
     "expected a name of its own for its objects", "1.37"),
    (worker(serviceAccount={"name": "laneway-worker-low"}), "workers.low.serviceAccount",
     "expected an account of its own", "1.37"),
    ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "commonLabels",
     "expected labels that the chart does not set itself", "1.37"),
    ({"policy": {"revision": "7"}}, "policy.revision", "no policy.existingConfigMap", "1.37"),
    ({"broker": {"jobs": {"existingSecret": ""}}}, "broker.jobs.existingSecret",
     "expected the name of a Secret, got: nothing", "1.37"),
    ({"results": {"existingSecret": ""}}, "results.existingSecret", "the name of a Secret", "1.37"),
    ({"results": {"secure": {"existingSecret": ""}}}, "results.secure.existingSecret",
     "the name of a Secret", "1.37"),
    ({"results": {"existingSecret": "one", "secure": {"existingSecret": "one"}}},
     "results.secure.existingSecret", "with a Redis user for the workers of secure queues", "1.37"),
    (over(DEVELOPMENT, {"results": {"secure": {"existingSecret": "mine"}}}),
     "results.secure.existingSecret", "because development.createSecrets makes", "1.37"),
    ({"control": {"env": {"LANEWAY_HOME": "/var"}}}, "control.env",
     "expected no variable that the chart sets itself, got: LANEWAY_HOME", "1.37"),
    ({"topology": {"extraEnv": [{"name": "LANEWAY_BROKER_URL", "value": "x"}]}},
     "topology.extraEnv", "expected no variable that the chart sets itself", "1.37"),
    (over(DEVELOPMENT, {"broker": {"jobs": {"existingSecret": "mine"}}}),
     "broker.jobs.existingSecret", "because development.createSecrets makes that Secret", "1.37"),
    (over(RABBITMQ, {"broker": {"jobs": {"existingSecret": "mine"}}}),
     "broker.jobs.existingSecret", "because rabbitmq.cluster.enabled makes that Secret", "1.37"),
    (vhosts(existingSecret="laneway-broker-jobs"), "broker.secure.existingSecret",
     "expected a Secret of its own", "1.37"),
    (over(over(DEVELOPMENT, RABBITMQ), {}), "development.createSecrets",
     "because rabbitmq.cluster.enabled makes the broker's Secrets", "1.37"),
    (over(DEVELOPMENT, {"development": {"brokerUrl": ""}}), "development.brokerUrl",
     "expected a URL", "1.37"),
    (over(DEVELOPMENT, {"development": {"resultBackend": ""}}), "development.resultBackend",
     "expected a URL", "1.37"),
    ({"development": {"brokerUrl": "amqp://u:p@h"}}, "development.brokerUrl",
     "a password does not belong into values", "1.37"),
    (over(RABBITMQ, {"broker": {"host": "rabbit"}}), "broker.host",
     "because rabbitmq.cluster.enabled says where the broker is", "1.37"),
    (over(RABBITMQ, {"topology": {"hook": True}}), "topology.hook",
     "would wait for it for ever", "1.37"),
    (over(RABBITMQ, {"rabbitmq": {"topologyOperator": {"enabled": False}}}),
     "rabbitmq.topologyOperator.enabled", "all workers could enter the virtual host", "1.37"),
    ({"rabbitmq": {"topologyOperator": {"enabled": True}}}, "rabbitmq.topologyOperator.enabled",
     "expected false without rabbitmq.cluster.enabled", "1.37"),
    ({"broker": {"jobs": {"urlKey": ""}}}, "broker.host", "expected the broker's host", "1.37"),
    (over(DEVELOPMENT, {"topology": {"hook": True}}), "topology.hook",
     "before the Secret is there", "1.37"),
    ({"topology": {"hook": True, "enabled": False}}, "topology.hook", "no effect", "1.37"),
    ({"budget": {"brokerConnections": 100}}, "budget.brokerConnections",
     "got: 256 (default 10 x 6, high 20 x 6, low 10 x 6, secure 4 x 4)", "1.37"),
    ({"budget": {"databaseConnections": 100}}, "budget.databaseConnections",
     "got: 168 (default 10 x 4, high 20 x 4, low 10 x 4, secure 4 x 2)", "1.37"),
    (worker(terminationGracePeriodSeconds=40), "workers.high.terminationGracePeriodSeconds",
     "expected at least 45 (gracePeriodSeconds 30 + preStopSeconds 0 + 15 to hand back), got: 40",
     "1.37"),
    (worker(handsBack=False), "workers.high.gracePeriodSeconds",
     "expected at least timeLimitSeconds (60), got: 30", "1.37"),
    (worker(handsBack=False, timeLimitSeconds=None), "workers.high.gracePeriodSeconds",
     "timeLimitSeconds (none)", "1.37"),
    (worker(softTimeLimitSeconds=60), "workers.high.softTimeLimitSeconds",
     "expected less than timeLimitSeconds (60), got: 60", "1.37"),
    (worker(pool="gevent"), "workers.high.timeLimitSeconds", "expected none in the pool gevent",
     "1.37"),
    (worker(pool="solo"), "workers.high.concurrency", "expected 1 in the pool solo, got: 4",
     "1.37"),
    (worker(preStopSeconds=5), "workers.high.preStopSeconds", "before Kubernetes 1.30", "1.29"),
    (scaling(min=30), "workers.high.autoscaling", "at most max (20), got: 30", "1.37"),
    (worker(externallyScaled=True), "workers.high.externallyScaled",
     "Only one may write the number of pods", "1.37"),
    (worker(replicas=3), "workers.high.replicas", "where autoscaling.type is keda", "1.37"),
    (worker(replicas=3, externallyScaled=True, autoscaling={"type": "none"}),
     "workers.high.replicas", "where externallyScaled is true", "1.37"),
    (scaling(min=0), "workers.high.autoscaling.min", "promises 1 s, got: 0", "1.37"),
    (told("secure", autoscaling={"min": 0}), "workers.secure.autoscaling.min", "is secure", "1.37"),
    (told("low", autoscaling={"min": 0, "type": "hpa"}), "workers.low.autoscaling.min",
     "before Kubernetes 1.37, got: 0 on v1.36", "1.36"),
    (told("low", autoscaling={"min": 0, "type": "hpa", "metrics": [{"type": "Resource"}]}),
     "workers.low.autoscaling.min", "without an External or Object metric", "1.37"),
    (scaling(metrics=[{"type": "Resource"}]), "workers.high.autoscaling.metrics",
     "expected none with type keda", "1.37"),
    (scaling(type="none", annotations={"a": "b"}), "workers.high.autoscaling.annotations",
     "expected none with type none", "1.37"),
    (scaling(type="none", formula="slots"), "workers.high.autoscaling.formula", "type none",
     "1.37"),
    (scaling(extraTriggers=[{"type": "cron", "name": "slots", "metadata": {}}]),
     "workers.high.autoscaling.extraTriggers", "expected names of their own", "1.37"),
    (scaling(extraTriggers=[{"type": "cron", "name": "night", "metadata": {}}]),
     "workers.high.autoscaling.formula", "to use the trigger night", "1.37"),
    ({"control": {"enabled": False}}, "control.enabled", "how many slots high needs", "1.37"),
    (worker(podLabels={"laneway.dev/queue": "low"}), "workers.high.podLabels",
     "expected labels that select nothing", "1.37"),
    (worker(extraEnvFrom=[{"secretRef": {"name": "laneway-broker-secure"}}]),
     "workers.high.extraEnvFrom", "only workers of secure queues get", "1.37"),
    (worker(extraVolumes=[{"name": "tmp", "emptyDir": {}}]), "workers.high.extraVolumes",
     "expected a name of its own, got: tmp", "1.37"),
    (worker(env={"A": "b"}, extraEnv=[{"name": "A", "value": "c"}]), "workers.high.extraEnv",
     "expected each variable once, got: A twice", "1.37"),
    (worker(env={"LANEWAY_BROKER_URL": "amqp://h"}), "workers.high.env",
     "expected no variable that the chart sets itself", "1.37"),
]  # fmt: skip


@cache
def refusal(at: int) -> str:
    """What is said of one of them."""
    values, _, _, kube = TOGETHER[at]
    with pytest.raises(ChartRefused) as refused:
        render(values, kube=f"{kube}.0")
    return str(refused.value)


@pytest.mark.parametrize("at", range(len(TOGETHER)), ids=[f"{w} {s}" for _, w, s, _ in TOGETHER])
def test_what_contradicts_itself_is_refused(at: int) -> None:
    _, where, what, _ = TOGETHER[at]
    lines = refusal(at).splitlines()
    assert "the values of laneway do not make sense together" in lines[0], refusal(at)
    [line] = [line for line in lines if line.startswith(f"  - {where}: ") and what in line] or [""]
    assert line, refusal(at)
    assert ": expected " in line


def test_all_of_it_is_said_at_once() -> None:
    with pytest.raises(ChartRefused) as refused:
        render(told("high", handsBack=False, autoscaling={"min": 30}))
    assert "workers.high.gracePeriodSeconds" in str(refused.value)
    assert "workers.high.autoscaling: expected min" in str(refused.value)


def test_every_sentence_that_the_chart_can_say_was_said_here() -> None:
    """A check that no test has seen fail may not be able to."""
    template = (CHART / "templates" / "_validate.tpl").read_text(encoding="utf-8")
    sentences = re.findall(r"^\S.*: (expected [^{\n]{12,}?)(?:\{\{|,|$)", template, re.MULTILINE)
    assert len(sentences) > 30
    said = "\n".join(refusal(at) for at in range(len(TOGETHER)))
    assert [sentence for sentence in sentences if sentence.strip() not in said] == []


@pytest.mark.parametrize("queue", QUEUES)
def test_what_is_switched_off_contradicts_nothing(queue: str) -> None:
    render(told(queue, enabled=False, terminationGracePeriodSeconds=1))
