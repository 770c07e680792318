"""Plain manifests for ``kubectl apply -k``: what the chart gives with its own values.

There is one source of manifests, the chart. This runs it through Helm, drops what only Helm needs,
and splits it: a file for each queue and each other component, so that a change of one queue is a
change of one file.
"""

# ruff: noqa: S603 -- helm, pinned by its hash; no argument comes from outside

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from laneway.errors import LanewayError
from laneway.local.tools import KUBERNETES_TOOLS, need_tools
from laneway.render.helm import CHART, VALUES, render_helm
from laneway.render.rendering import Rendering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.policy import Policy

BASE: Final = "deploy/k8s/base"
"""Where the manifests are, below the checkout."""

NAME: Final = "laneway"
"""The release, and the namespace: some addresses hold it, so it is the same everywhere."""

#: What the cluster is taken to have: the newest Kubernetes, KEDA, and the Prometheus operator.
_CLUSTER: Final = (
    *("--kube-version", "1.37.0"),
    *("--api-versions", "keda.sh/v1alpha1"),
    *("--api-versions", "monitoring.coreos.com/v1"),
)

_HEAD: Final = """\
# Rendered from queues/ and helm/laneway by `laneway render k8s`: do not edit it.
# What differs between environments is a patch in ../overlays.
"""

#: Lines of labels and annotations that only Helm itself reads.
_OF_HELM: Final = re.compile(
    r'^ +"?(?:helm\.sh/[a-z-]+|app\.kubernetes\.io/managed-by)"?: .*\n',
    re.MULTILINE,
)
_QUEUE: Final = re.compile(r'^    laneway\.dev/queue: "?([a-z0-9-]+)"?$', re.MULTILINE)
_COMPONENT: Final = re.compile(
    r'^    app\.kubernetes\.io/component: "?([a-z0-9-]+)"?$', re.MULTILINE
)
_SOURCE: Final = re.compile(r"^# Source: .*\n", re.MULTILINE)


def render_kubernetes(policy: Policy, root: Path) -> Rendering:
    """The base of ``deploy/k8s``: manifests of ``policy`` and a ``kustomization.yaml``.

    Raises:
        ToolNotInstalled: there is no helm; says how it gets here.
        LanewayError: there is no chart below ``root``, or it refuses the policy.
    """
    values = render_helm(policy, root).files[VALUES]
    components: defaultdict[str, list[str]] = defaultdict(list)
    for manifest in _manifests(_template(root / CHART, values)):
        components[_component(manifest)].append(manifest)
    files = {
        f"{BASE}/{name}.yaml": _HEAD + "".join(f"---\n{manifest}" for manifest in manifests)
        for name, manifests in components.items()
    }
    files[f"{BASE}/kustomization.yaml"] = _kustomization(sorted(components))
    return Rendering(files=files, owned=(f"{BASE}/*",))


def _template(chart: Path, values: str) -> str:
    """What Helm makes of the chart with these default values."""
    helm = need_tools(KUBERNETES_TOOLS) / "helm"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "chart"
        shutil.copytree(chart, copy)
        (copy / "values.yaml").write_text(values, encoding="utf-8")
        homes = {f"HELM_{kind}_HOME": folder for kind in ("CACHE", "CONFIG", "DATA")}
        command = [str(helm), "template", NAME, str(copy), "--namespace", NAME, "--skip-tests"]
        done = subprocess.run(
            [*command, *_CLUSTER], env=homes, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise LanewayError(f"{chart}: helm template refuses it: {done.stderr.strip()}")
    return done.stdout


def _manifests(text: str) -> Iterator[str]:
    """One object after the other, as the chart writes it, without what is Helm's."""
    for document in re.split(r"^---\n", text, flags=re.MULTILINE):
        manifest = _OF_HELM.sub("", _SOURCE.sub("", document)).strip("\n")
        if re.search(r"^kind: ", manifest, re.MULTILINE):
            yield manifest + "\n"


def _component(manifest: str) -> str:
    """The file that an object belongs to, without its ending."""
    if queue := _QUEUE.search(manifest):
        return f"worker-{queue[1]}"
    component = _COMPONENT.search(manifest)
    return component[1] if component else "common"


def _kustomization(names: list[str]) -> str:
    resources = "".join(f"  - {name}.yaml\n" for name in names)
    head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    return f"{_HEAD}{head}namespace: {NAME}\nresources:\n{resources}"
