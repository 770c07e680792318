"""Plain manifests for ``kubectl apply -k``: what the chart gives with its own values.

There is one source of manifests, the chart. This runs it through Helm, drops what only Helm needs,
and splits it: a file for each queue and each other component, so that a change of one queue is a
change of one file. What the chart makes only when asked to is a component of kustomize, which an
overlay may take in.
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

COMPONENTS: Final = "deploy/k8s/components"
"""Where what an overlay may take in is, below the checkout."""

NAME: Final = "laneway"
"""The release, and the namespace: some addresses hold it, so it is the same everywhere."""

#: What the cluster is taken to have: the newest Kubernetes, KEDA, and the Prometheus operator.
_CLUSTER: Final = (
    *("--kube-version", "1.37.0"),
    *("--api-versions", "keda.sh/v1alpha1"),
    *("--api-versions", "monitoring.coreos.com/v1"),
)

#: What an overlay may take in: its name, and the values that make the chart write it.
_OPTIONAL: Final = {
    "monitoring": (
        "monitoring.podMonitor.enabled=true",
        "monitoring.serviceMonitor.enabled=true",
        "monitoring.prometheusRule.enabled=true",
    ),
    "network-policies": ("workerDefaults.networkPolicy.enabled=always",),
}

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
    base = list(_manifests(_template(root / CHART, values)))
    files = _folder(BASE, "Kustomization", base)
    there = {_identity(manifest) for manifest in base}
    for name, flags in _OPTIONAL.items():
        more = _manifests(_template(root / CHART, values, *flags))
        added = [manifest for manifest in more if _identity(manifest) not in there]
        files |= _folder(f"{COMPONENTS}/{name}", "Component", added)
    return Rendering(files=files, owned=(f"{BASE}/*", *(f"{COMPONENTS}/{n}/*" for n in _OPTIONAL)))


def _folder(folder: str, kind: str, manifests: list[str]) -> dict[str, str]:
    """The files of one folder of kustomize."""
    components: defaultdict[str, list[str]] = defaultdict(list)
    for manifest in manifests:
        components[_component(manifest)].append(manifest)
    files = {
        f"{folder}/{name}.yaml": _HEAD + "".join(f"---\n{manifest}" for manifest in of_one)
        for name, of_one in components.items()
    }
    return {**files, f"{folder}/kustomization.yaml": _kustomization(kind, sorted(components))}


def _template(chart: Path, values: str, *flags: str) -> str:
    """What Helm makes of the chart with these default values, and ``--set`` of each flag."""
    helm = need_tools(KUBERNETES_TOOLS) / "helm"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "chart"
        shutil.copytree(chart, copy)
        (copy / "values.yaml").write_text(values, encoding="utf-8")
        homes = {f"HELM_{kind}_HOME": folder for kind in ("CACHE", "CONFIG", "DATA")}
        command = [str(helm), "template", NAME, str(copy), "--namespace", NAME, "--skip-tests"]
        command += [*_CLUSTER, *(f"--set={flag}" for flag in flags)]
        done = subprocess.run(command, env=homes, capture_output=True, text=True, check=False)
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


def _identity(manifest: str) -> tuple[str, str]:
    """Kind and name of an object."""
    kind = re.search(r"^kind: (\S+)$", manifest, re.MULTILINE)
    name = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)$", manifest, re.MULTILINE)
    if kind is None or name is None:
        raise LanewayError(f"{CHART}: expected an object with a kind and a name, got:\n{manifest}")
    return kind[1], name[1]


def _kustomization(kind: str, names: list[str]) -> str:
    version = "v1beta1" if kind == "Kustomization" else "v1alpha1"
    head = f"apiVersion: kustomize.config.k8s.io/{version}\nkind: {kind}\n"
    # Without the namespace, a component that the chart leaves empty would be an error of kustomize.
    head += f"namespace: {NAME}\n"
    resources = "".join(f"  - {name}.yaml\n" for name in names)
    return f"{_HEAD}{head}" + (f"resources:\n{resources}" if names else "")
