"""KEDA's operator and metrics server with the real HPA controller: what the chart depends on.

The numbers come from a server of the tests: `slots` is the platform's own (how many worker slots a
queue needs), `rabbit` the management API's count of messages, which stands in when the first is
unknown. Nothing runs the pods, so a replica is a pod that is asked for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from cluster.answers import Answers, answers
from cluster.errors import CommandFailed
from cluster.waiting import always, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.keda import Keda
    from cluster.plane import Plane

pytestmark = pytest.mark.timeout(600)

_SLOTS: Final = "/slots/low"
_QUEUE: Final = "/api/queues/jobs/low"
#: HPA and KEDA look every two seconds; nothing that is to happen takes longer than this.
_SECONDS: Final = 60.0
#: How long a number is watched that is not to move: several looks of both.
_STILL: Final = 12.0


@pytest.fixture(scope="module")
def metrics(plane: Plane) -> Iterator[Answers]:
    """The source of both numbers."""
    with answers(plane, "metrics") as said:
        yield said


class Scaled:
    """A Deployment `low` and its ScaledObject."""

    def __init__(self, plane: Plane, namespace: str, metrics: Answers) -> None:
        self._plane = plane
        self._namespace = namespace
        self._metrics = metrics
        metrics.documents.clear()

    def slots(self, value: float | None) -> None:
        """The platform says so many; None: it does not know (503)."""
        self._say(_SLOTS, None if value is None else {"slots": value})

    def messages(self, count: int | None) -> None:
        """The broker has so many messages, unacknowledged ones too; None: it is away."""
        self._say(
            _QUEUE,
            None if count is None else {"name": "low", "messages": count, "messages_ready": 0},
        )

    def create(
        self,
        *,
        formula: str | None = None,
        fallback: dict[str, Any] | None = None,
        target: str = "1",
    ) -> None:
        """Make both; without a formula only the first trigger is there."""
        triggers = [self._slots_trigger()]
        advanced: dict[str, Any] = {
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleUp": {"stabilizationWindowSeconds": 0},
                    "scaleDown": {"stabilizationWindowSeconds": 0},
                }
            }
        }
        if formula is not None:
            triggers.append(self._rabbit_trigger())
            advanced["scalingModifiers"] = {"formula": formula, "target": target}
        spec: dict[str, Any] = {
            "scaleTargetRef": {"name": "low"},
            "minReplicaCount": 1,
            "maxReplicaCount": 10,
            "pollingInterval": 2,
            "advanced": advanced,
            "triggers": triggers,
        }
        if fallback is not None:
            spec["fallback"] = fallback
        self._apply(_deployment())
        self._apply(
            {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "metadata": {"name": "low"},
                "spec": spec,
            }
        )

    def annotate(self, *annotations: str) -> None:
        """``kubectl annotate`` the ScaledObject: ``NAME=VALUE``, or ``NAME-`` to take one away."""
        self._plane.kubectl(
            *("-n", self._namespace, "annotate", "scaledobject", "low", "--overwrite", *annotations)
        )

    def scale(self, replicas: int) -> None:
        """``kubectl scale`` the Deployment."""
        self._plane.kubectl(
            "-n", self._namespace, "scale", "deployment/low", f"--replicas={replicas}"
        )

    def replicas(self) -> int:
        """What is asked for: `.spec.replicas`."""
        return int(self._get("deployment", "low", ".spec.replicas"))

    def reaches(self, replicas: int) -> None:
        """The Deployment comes to so many."""
        eventually(self.replicas, replicas, seconds=_SECONDS)

    def stays(self, replicas: int) -> None:
        """The Deployment keeps so many, over several looks of HPA and KEDA."""
        always(self.replicas, replicas, seconds=_STILL)

    def hpa_condition(self, kind: str) -> str:
        """The status and the reason of a condition of the HPA that KEDA made."""
        path = f'.status.conditions[?(@.type=="{kind}")]'
        return " ".join(
            self._get("hpa", "keda-hpa-low", f"{path}.{part}") for part in ("status", "reason")
        )

    def scale_in_policy(self) -> str:
        """What the HPA that KEDA made says of scaling in; empty for the default."""
        return self._get("hpa", "keda-hpa-low", ".spec.behavior.scaleDown.selectPolicy")

    def _get(self, kind: str, name: str, path: str) -> str:
        return self._plane.kubectl(
            *("-n", self._namespace, "get", kind, name, "--ignore-not-found"),
            *("-o", f"jsonpath={{{path}}}"),
        )

    def _apply(self, document: dict[str, Any]) -> None:
        self._plane.kubectl("-n", self._namespace, "create", "-f", "-", stdin=json.dumps(document))

    def _say(self, path: str, document: object) -> None:
        if document is None:
            self._metrics.documents.pop(path, None)
        else:
            self._metrics.documents[path] = document

    def _slots_trigger(self) -> dict[str, Any]:
        url = f"{self._metrics.url}{_SLOTS}"
        return {
            "type": "metrics-api",
            "name": "slots",
            "metadata": {"url": url, "valueLocation": "slots", "targetValue": "1"},
        }

    def _rabbit_trigger(self) -> dict[str, Any]:
        return {
            "type": "rabbitmq",
            "name": "rabbit",
            "metadata": {
                "protocol": "http",
                "host": f"{self._metrics.url}/jobs",
                "queueName": "low",
                "mode": "QueueLength",
                "value": "1",
            },
        }


@pytest.fixture
def scaled(plane: Plane, keda: Keda, namespace: str, metrics: Answers) -> Iterator[Scaled]:
    """Ready to be made; removed with its ScaledObject first, whose finalizer KEDA takes away."""
    yield Scaled(plane, namespace, metrics)
    plane.kubectl("-n", namespace, "delete", "scaledobjects", "--all", "--timeout=30s")


def test_a_number_scales_a_deployment_out_and_in(scaled: Scaled) -> None:
    scaled.slots(1)
    scaled.create()
    eventually(lambda: scaled.hpa_condition("ScalingActive"), "True ValidMetricFound")
    assert scaled.replicas() == 1
    scaled.slots(4)
    scaled.reaches(4)
    scaled.slots(1)
    scaled.reaches(1)


def test_an_unknown_number_keeps_the_replicas(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.create()
    scaled.reaches(4)
    scaled.slots(None)
    eventually(lambda: scaled.hpa_condition("ScalingActive"), "False FailedGetExternalMetric")
    scaled.stays(4)


#: What the chart renders: the platform's number; where it is unknown, half of the messages.
_FORMULA: Final = "slots ?? (rabbit * 0.5)"
_FALLBACK: Final = {"failureThreshold": 1, "replicas": 2, "behavior": "scalingModifiers"}


def test_the_broker_stands_in_for_a_number_that_is_unknown(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.messages(14)
    scaled.create(formula=_FORMULA, fallback=_FALLBACK)
    scaled.reaches(4)
    scaled.slots(None)
    scaled.reaches(7)
    scaled.messages(6)
    scaled.reaches(3)
    scaled.slots(5)
    scaled.reaches(5)


def test_a_broker_that_is_away_does_not_matter_while_the_number_is_known(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.messages(None)
    scaled.create(formula=_FORMULA, fallback=_FALLBACK)
    scaled.reaches(4)
    scaled.slots(6)
    scaled.reaches(6)
    scaled.slots(0)
    scaled.reaches(1)


def test_without_the_fallback_a_failed_trigger_stops_the_formula(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.messages(14)
    scaled.create(formula=_FORMULA)
    scaled.reaches(4)
    scaled.slots(None)
    eventually(lambda: scaled.hpa_condition("ScalingActive"), "False FailedGetExternalMetric")
    scaled.stays(4)


@pytest.mark.parametrize("formula", [_FORMULA, "slots"])
def test_when_nothing_is_known_the_replicas_stay(scaled: Scaled, formula: str) -> None:
    scaled.slots(4)
    scaled.messages(14)
    scaled.create(formula=formula, fallback=_FALLBACK)
    scaled.reaches(4)
    scaled.messages(None)
    scaled.slots(None)
    eventually(lambda: scaled.hpa_condition("ScalingActive"), "False FailedGetExternalMetric")
    scaled.stays(4)


@pytest.mark.parametrize(
    "formula", ["slots ?? rabbit", "slots ?? (rabbit == nil ? nil : rabbit * 0.5)"]
)
def test_a_formula_that_comes_to_nil_by_itself_is_the_fallbacks_replicas(
    scaled: Scaled, formula: str
) -> None:
    # The other side of the two above: there, arithmetic with nil is an error. Who writes a formula
    # in which nil is a value gets the fallback's replicas in an outage of both.
    scaled.slots(4)
    scaled.messages(14)
    scaled.create(formula=formula, fallback=_FALLBACK)
    scaled.reaches(4)
    scaled.messages(None)
    scaled.slots(None)
    scaled.reaches(2)


def test_a_target_that_is_no_whole_number_turns_the_fallback_off(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.messages(14)
    scaled.create(formula=_FORMULA, fallback=_FALLBACK, target="1.0")
    scaled.reaches(4)
    scaled.slots(None)
    eventually(lambda: scaled.hpa_condition("ScalingActive"), "False FailedGetExternalMetric")
    scaled.stays(4)


def test_an_operator_that_starts_amid_an_outage_uses_what_stands_in(
    keda: Keda, scaled: Scaled
) -> None:
    scaled.slots(4)
    scaled.messages(14)
    scaled.create(formula=_FORMULA, fallback=_FALLBACK)
    scaled.reaches(4)
    keda.stop_operator()
    scaled.slots(None)
    scaled.stays(4)
    keda.start_operator()
    scaled.reaches(7)


def test_a_formula_with_an_unknown_trigger_is_refused(scaled: Scaled) -> None:
    with pytest.raises(CommandFailed, match="unknown name rabit") as refused:
        scaled.create(formula="slots ?? rabit", fallback=_FALLBACK)
    assert 'admission webhook "vscaledobject.kb.io" denied the request' in str(refused.value)


def test_kubectl_scale_is_undone_where_something_scales(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.create()
    scaled.reaches(4)
    scaled.scale(6)
    scaled.reaches(4)


def test_a_held_number_stays_until_it_is_let_go(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.create()
    scaled.reaches(4)
    scaled.annotate("autoscaling.keda.sh/paused-replicas=6")
    scaled.reaches(6)
    scaled.slots(2)
    scaled.stays(6)
    scaled.annotate("autoscaling.keda.sh/paused-replicas-")
    scaled.reaches(2)


def test_in_an_incident_only_scaling_in_is_paused(scaled: Scaled) -> None:
    scaled.slots(4)
    scaled.create()
    scaled.reaches(4)
    scaled.annotate("autoscaling.keda.sh/paused-scale-in=true")
    # The operator has written it into the HPA before the number falls.
    eventually(scaled.scale_in_policy, "Disabled")
    scaled.slots(2)
    scaled.stays(4)
    scaled.slots(5)
    scaled.reaches(5)
    scaled.annotate("autoscaling.keda.sh/paused-scale-in-")
    scaled.slots(2)
    scaled.reaches(2)


def _deployment() -> dict[str, Any]:
    """Without `replicas`, as a chart renders it where something scales."""
    labels = {"app": "low"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "low"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "example.test/none:1"}]},
            },
        },
    }
