"""The chart on a real API server: what it accepts, what KEDA makes of it, what an upgrade touches.

No node runs the pods. The control process and the broker's management API are servers of
the tests.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from cluster.answers import answers
from cluster.errors import CommandFailed
from cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.answers import Answers
    from cluster.keda import Keda
    from cluster.plane import Plane

pytestmark = pytest.mark.timeout(600)

CHART: Final = Path(__file__).parents[2] / "helm/laneway"
QUEUES: Final = ("default", "high", "low", "secure")
NOTHING: Final = frozenset[str]()
_SECRETS: Final = {
    "laneway-broker-jobs": ("url",),
    "laneway-broker-secure": ("url",),
    "laneway-broker-control": ("url", "management-url"),
    "laneway-broker-topology": ("url", "management-url"),
    "laneway-results": ("url",),
    "laneway-results-secure": ("url",),
}


class Release:
    """The chart as the release `lw` in a namespace of the test."""

    def __init__(self, plane: Plane, namespace: str) -> None:
        self._plane = plane
        self.namespace = namespace
        for name, keys in _SECRETS.items():
            self._create_secret(name, dict.fromkeys(keys, "unused"))
        for vhost in ("jobs", "secure"):
            host = "http://management:15672"
            self._create_secret(
                f"laneway-scaler-{vhost}", {"host": host, "username": "u", "password": "p"}
            )

    def install(self, *options: str) -> None:
        """``helm install`` with these."""
        self.helm("install", *options)

    def helm(self, verb: str, *options: str) -> str:
        """``helm install`` or ``upgrade``, with what is the same for both."""
        return self._plane.helm("-n", self.namespace, verb, "lw", str(CHART), *options)

    def uninstall(self) -> None:
        """``helm uninstall``, if it is installed, until all is gone."""
        self._plane.helm("-n", self.namespace, "uninstall", "lw", "--ignore-not-found", "--wait")

    def kubectl(self, *arguments: str) -> str:
        """In the release's namespace."""
        return self._plane.kubectl("-n", self.namespace, *arguments)

    def deployments(self, path: str) -> dict[str, str]:
        """Of each worker's Deployment, by its queue: what stands at `path`."""
        columns = f'{{.metadata.labels.laneway\\.dev/queue}}={path}{{"\\n"}}'
        said = self.kubectl(
            *("get", "deployments", "-l", "app.kubernetes.io/component=worker"),
            *("-o", f"jsonpath={{range .items[*]}}{columns}{{end}}"),
        )
        return dict(line.split("=", 1) for line in said.splitlines())

    def refused(self) -> frozenset[str]:
        """Why pods were not admitted, in the API server's words."""
        said = self.kubectl(
            *("get", "events", "--field-selector", "reason=FailedCreate"),
            *("-o", 'jsonpath={range .items[*]}{.message}{"\\n"}{end}'),
        )
        return frozenset(said.splitlines())

    def _create_secret(self, name: str, values: dict[str, str]) -> None:
        literals = [f"--from-literal={key}={value}" for key, value in values.items()]
        self.kubectl("create", "secret", "generic", name, *literals)


@pytest.fixture
def release(plane: Plane, keda: Keda, namespace: str) -> Iterator[Release]:
    """Ready to be installed, where pods must be as restricted as Kubernetes can ask for."""
    level = "pod-security.kubernetes.io/enforce=restricted"
    plane.kubectl("label", "namespace", namespace, level)
    made = Release(plane, namespace)
    yield made
    made.uninstall()


def _autoscaling(kind: str) -> list[str]:
    return [part for q in QUEUES for part in ("--set", f"workers.{q}.autoscaling.type={kind}")]


@pytest.mark.parametrize("kind", ["none", "hpa", "keda"])
def test_every_object_is_accepted_and_every_pod_admitted(release: Release, kind: str) -> None:
    release.install(*_autoscaling(kind))
    assert set(release.deployments("{.metadata.name}")) == set(QUEUES)
    eventually(
        lambda: (all(release.deployments("{.status.replicas}").values()), release.refused()),
        (True, NOTHING),
    )
    eventually(
        lambda: release.kubectl("get", "jobs", "-o", "jsonpath={.items[*].status.active}"), "1"
    )
    assert not release.refused()
    before = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
    before |= {f"secret/{n}" for n in (*_SECRETS, "laneway-scaler-jobs", "laneway-scaler-secure")}
    release.kubectl("delete", "events", "--all")
    release.uninstall()
    kinds = "all,cm,secrets,sa,pdb,netpol,hpa,scaledobjects,triggerauthentications,roles"
    # What is left of the release.
    eventually(
        lambda: frozenset(release.kubectl("get", kinds, "-o", "name").split()) - before, NOTHING
    )


def test_keda_scales_by_the_control_process_then_by_the_broker(
    plane: Plane, release: Release
) -> None:
    def low() -> str:
        return release.deployments("{.spec.replicas}")["low"]

    with _numbers(plane, release.namespace) as (control, broker):
        for queue in QUEUES:
            control.documents[f"/scale/{queue}"] = _slots(1)
        # 4 slots a pod.
        control.documents["/scale/low"] = _slots(8)
        broker.documents["/api/queues/jobs/low"] = {"name": "low", "messages": 24}
        quick = ["pollingIntervalSeconds=2", "failureThreshold=1"]
        release.install(*(p for s in quick for p in ("--set", f"workers.low.autoscaling.{s}")))
        eventually(low, "2", what="pods of low by the control process")
        eventually(lambda: release.deployments("{.spec.replicas}")["high"], "2")  # its minimum
        # A slot for each message, of which a pod has four.
        del control.documents["/scale/low"]
        eventually(low, "6", what="pods of low by what RabbitMQ counts")


def test_an_upgrade_of_one_queue_touches_no_other_and_keeps_what_keda_scaled(
    plane: Plane, release: Release
) -> None:
    with _numbers(plane, release.namespace) as (control, _):
        for queue in QUEUES:
            control.documents[f"/scale/{queue}"] = _slots(8)
        release.install("--set", "workers.low.autoscaling.pollingIntervalSeconds=2")
        eventually(lambda: release.deployments("{.spec.replicas}")["low"], "2")
        templates = release.deployments("{.spec.template}")
        release.helm("upgrade", "--reuse-values", "--set", "workers.low.podAnnotations.new=yes")
        after = release.deployments("{.spec.template}")
        assert {queue for queue in QUEUES if templates[queue] != after[queue]} == {"low"}
        assert release.deployments("{.spec.replicas}")["low"] == "2"


def test_without_a_scaler_kubectl_scale_needs_externally_scaled(release: Release) -> None:
    release.install(*_autoscaling("none"))
    release.kubectl("scale", "deployment/lw-laneway-worker-low", "--replicas=3")
    changed = ("--set", "workers.low.podAnnotations.new=yes")
    with pytest.raises(CommandFailed, match=r"conflict.*\.spec\.replicas"):
        release.helm("upgrade", *_autoscaling("none"), *changed)
    release.helm(
        "upgrade", *_autoscaling("none"), *changed, "--set", "workers.low.externallyScaled=true"
    )
    assert release.deployments("{.spec.replicas}")["low"] == "3"


@contextmanager
def _numbers(plane: Plane, namespace: str) -> Iterator[tuple[Answers, Answers]]:
    """The control process and the management API, where the chart says that they are."""
    with (
        answers(plane, f"lw-laneway-control.{namespace}.svc", port=8080) as control,
        answers(plane, "management", port=15672) as broker,
    ):
        yield control, broker


def _slots(count: int) -> dict[str, Any]:
    return {"slots": count}
