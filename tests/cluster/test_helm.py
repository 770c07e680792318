"""Helm 4 and kubectl on one Deployment: who owns `.spec.replicas`.

Helm 4 applies as a field manager. What it rendered once is its own, and what somebody else wrote
since is a conflict. That is why the chart renders no `replicas` where something scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.errors import CommandFailed
from cluster.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.given import Cluster

pytestmark = pytest.mark.timeout(300)

_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  {{- if not .Values.scaledElsewhere }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers: [{name: main, image: {{ .Values.image }}}]
"""


@pytest.fixture
def chart(tmp_path: Path) -> str:
    """A chart of one Deployment."""
    (tmp_path / "tiny/templates").mkdir(parents=True)
    (tmp_path / "tiny/Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\n")
    (tmp_path / "tiny/values.yaml").write_text(
        "replicas: 1\nscaledElsewhere: false\nimage: example.test/none:1\n"
    )
    (tmp_path / "tiny/templates/deployment.yaml").write_text(_DEPLOYMENT)
    return str(tmp_path / "tiny")


def _read(cluster: Cluster, namespace: str, path: str) -> str:
    return cluster.kubectl(
        "-n", namespace, "get", "deployment", "web", "-o", f"jsonpath={{{path}}}"
    )


def _image(cluster: Cluster, namespace: str) -> str:
    return _read(cluster, namespace, ".spec.template.spec.containers[0].image")


def test_install_upgrade_rollback_uninstall(cluster: Cluster, namespace: str, chart: str) -> None:
    cluster.helm("-n", namespace, "install", "web", chart)
    eventually(lambda: _read(cluster, namespace, ".status.replicas"), "1")
    cluster.helm("-n", namespace, "upgrade", "web", chart, "--set", "image=example.test/none:2")
    assert _image(cluster, namespace) == "example.test/none:2"
    cluster.helm("-n", namespace, "rollback", "web", "1")
    assert _image(cluster, namespace) == "example.test/none:1"
    cluster.helm("-n", namespace, "uninstall", "web")
    assert cluster.kubectl("-n", namespace, "get", "deployments", "-o", "name") == ""


def test_an_upgrade_is_refused_after_somebody_scaled_what_the_chart_renders(
    cluster: Cluster, namespace: str, chart: str
) -> None:
    cluster.helm("-n", namespace, "install", "web", chart)
    cluster.kubectl("-n", namespace, "scale", "deployment/web", "--replicas=3")
    upgrade = ("-n", namespace, "upgrade", "web", chart, "--set", "image=example.test/none:2")
    with pytest.raises(CommandFailed, match=r"conflict.*\n?.*\.spec\.replicas") as refused:
        cluster.helm(*upgrade)
    assert refused.value.code == 1
    with pytest.raises(CommandFailed, match=r"conflict.*\.spec\.replicas"):
        cluster.helm("-n", namespace, "rollback", "web", "1")
    assert _image(cluster, namespace) == "example.test/none:1"
    # The way that is left takes back what somebody scaled, in an incident perhaps.
    cluster.helm(*upgrade, "--force-conflicts")
    assert _read(cluster, namespace, ".spec.replicas") == "1"


def test_an_upgrade_leaves_the_replicas_that_the_chart_does_not_render(
    cluster: Cluster, namespace: str, chart: str
) -> None:
    elsewhere = ("--set", "scaledElsewhere=true")
    cluster.helm("-n", namespace, "install", "web", chart, *elsewhere)
    cluster.kubectl("-n", namespace, "scale", "deployment/web", "--replicas=3")
    cluster.helm(
        *("-n", namespace, "upgrade", "web", chart, *elsewhere),
        *("--set", "image=example.test/none:2"),
    )
    assert _image(cluster, namespace) == "example.test/none:2"
    assert _read(cluster, namespace, ".spec.replicas") == "3"


def test_dropping_the_rendered_replicas_is_one_replica_once(
    cluster: Cluster, namespace: str, chart: str
) -> None:
    cluster.helm("-n", namespace, "install", "web", chart, "--set", "replicas=3")
    eventually(lambda: _read(cluster, namespace, ".status.replicas"), "3")
    cluster.helm("-n", namespace, "upgrade", "web", chart, "--set", "scaledElsewhere=true")
    assert _read(cluster, namespace, ".spec.replicas") == "1"
