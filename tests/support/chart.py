"""The chart as the tests see it: rendered by the real Helm, read as data."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from laneway.local import KUBERNETES_TOOLS, need_tools

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "helm" / "laneway"

#: What a cluster with everything offers beyond Kubernetes' own interfaces.
KEDA: Final = "keda.sh/v1alpha1"
MONITORS: Final = "monitoring.coreos.com/v1"
RABBITMQ: Final = "rabbitmq.com/v1beta1"
EVERYTHING: Final = (KEDA, MONITORS, RABBITMQ)

#: The oldest and the newest Kubernetes that the chart is rendered and judged for.
VERSIONS: Final = tuple(f"1.{minor}" for minor in range(29, 38))
NEWEST: Final = f"{VERSIONS[-1]}.0"

RELEASE: Final = "laneway"
NAMESPACE: Final = "jobs"

Values = Mapping[str, Any]
Manifest = dict[str, Any]


class ChartRefused(Exception):
    """Helm rendered nothing; the text is what it said."""


@dataclass(frozen=True)
class Manifests(Sequence[Manifest]):
    """What Helm rendered."""

    documents: tuple[Manifest, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.documents[index]

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self.documents)

    def of(self, kind: str, **labels: str) -> list[Manifest]:
        """All of a kind with these labels (``component`` is ``app.kubernetes.io/component``)."""
        wanted = {_label(name): value for name, value in labels.items()}
        return [
            each
            for each in self.documents
            if each["kind"] == kind
            and wanted.items() <= (each["metadata"].get("labels") or {}).items()
        ]

    def one(self, kind: str, name: str) -> Manifest:
        """The one of a kind with this name."""
        found = {each["metadata"]["name"]: each for each in self.of(kind)}
        assert name in found, f"no {kind} {name}; there are: {', '.join(sorted(found)) or 'none'}"
        return found[name]

    def worker(self, queue: str, kind: str = "Deployment") -> Manifest:
        """The one of a kind that belongs to the worker of a queue."""
        found = self.of(kind, component="worker", queue=queue)
        assert len(found) == 1, f"{len(found)} of {kind} for the worker of {queue}"
        return found[0]

    def workers(self) -> dict[str, Manifest]:
        """Queue: the Deployment of its worker."""
        found = self.of("Deployment", component="worker")
        return {each["metadata"]["labels"]["laneway.dev/queue"]: each for each in found}


def _label(name: str) -> str:
    return "laneway.dev/queue" if name == "queue" else f"app.kubernetes.io/{name}"


def render(
    values: Values | None = None,
    *,
    kube: str = NEWEST,
    capabilities: Sequence[str] = EVERYTHING,
    release: str = RELEASE,
    files: Sequence[Path] = (),
) -> Manifests:
    """What ``helm template`` makes of the chart with these values over its own.

    ``files``: values that stand between the two.

    Rendered once for each set of arguments, so the manifests must not be changed.

    Raises:
        ChartRefused: with what Helm said.
    """
    said = json.dumps(values or {}, sort_keys=True)
    return _parsed(said, kube, tuple(capabilities), release, tuple(files))


@cache
def _parsed(
    values: str, kube: str, capabilities: tuple[str, ...], release: str, files: tuple[Path, ...]
) -> Manifests:
    text = rendered_text(values, kube, capabilities, release, files)
    documents = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return Manifests(tuple(each for each in documents if each))


def rendered_text(
    values: str,
    kube: str,
    capabilities: Sequence[str],
    release: str,
    files: Sequence[Path] = (),
) -> str:
    """The text for values in JSON. See :func:`render`."""
    given = [f"--values={file}" for file in files]
    offers = [f"--api-versions={each}" for each in capabilities]
    where = ["--namespace", NAMESPACE, "--kube-version", kube]
    command = ["template", release, CHART, *where, *offers, *given, "--values", "-"]
    done = helm(*command, stdin=values)
    if done.returncode:
        raise ChartRefused(done.stderr)
    return done.stdout


def helm(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run Helm, with folders of its own."""
    return subprocess.run(
        [tool("helm"), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_folders()},
    )


@cache
def _folders() -> dict[str, str]:
    home = Path(tempfile.gettempdir()) / f"laneway-helm-{os.getuid()}"
    return {f"HELM_{each}_HOME": str(home / each.lower()) for each in ("CACHE", "CONFIG", "DATA")}


def tool(name: str) -> Path:
    """``helm`` or ``kubectl``, as ``make test`` installs them."""
    return need_tools(KUBERNETES_TOOLS) / name


@cache
def _own_values() -> dict[str, Any]:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=yaml.CSafeLoader))


def merged(values: Values) -> dict[str, Any]:
    """The chart's own values with these over them, as Helm merges (null takes a key away)."""
    return _merge(_own_values(), values)


def workers_of(values: Values) -> dict[str, dict[str, Any]]:
    """Queue: everything that its worker is told; those that are enabled."""
    all_values = merged(values)
    found = {
        queue: _merge(all_values["workerDefaults"], own)
        for queue, own in all_values["workers"].items()
    }
    return {queue: worker for queue, worker in found.items() if worker["enabled"]}


def _merge(under: Values, over: Values) -> dict[str, Any]:
    made = dict(under)
    for key, value in over.items():
        there = made.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            made[key] = _merge(there, value)
        else:
            made[key] = value
    return made
