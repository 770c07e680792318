"""What holds of whatever the chart renders, whatever the values are."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from support.chart import merged, workers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.chart import Manifest, Manifests, Values

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LABEL = re.compile(r"(([A-Za-z0-9][A-Za-z0-9_.-]*)?[A-Za-z0-9])?")
_WITH_PODS = {"Deployment", "Job"}
_OWN_CONTAINERS = {"worker", "control", "topology"}


def problems(manifests: Manifests, values: Values) -> list[str]:
    """Whatever does not hold, a line each."""
    return [
        *_of_names(manifests),
        *_of_selectors(manifests),
        *_of_scaling(manifests, values),
        *_of_grace(manifests, values),
        *_of_secrets(manifests, values),
        *_of_pods(manifests),
    ]


def pod(one: Manifest) -> dict[str, Any]:
    """The pod's spec of a Deployment or a Job."""
    return dict(one["spec"]["template"]["spec"])


def containers(one: Manifest) -> list[dict[str, Any]]:
    """Those of the chart itself, init containers first."""
    spec = pod(one)
    found = [*spec.get("initContainers", ()), *spec["containers"]]
    return [each for each in found if each["name"] in _OWN_CONTAINERS]


def main_container(one: Manifest) -> dict[str, Any]:
    """The one that runs jobs."""
    [found] = [each for each in containers(one) if each["name"] == "worker"]
    return found


def with_pods(manifests: Manifests) -> list[Manifest]:
    """Whatever makes pods."""
    return [each for each in manifests if each["kind"] in _WITH_PODS]


def secrets(one: Manifest) -> set[str]:
    """The Secrets that the pods of one read, for whatever reason but pulling images."""
    spec = pod(one)
    found = set()
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        for variable in container.get("env", ()):
            if reference := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                found.add(reference["name"])
        for source in container.get("envFrom", ()):
            if reference := source.get("secretRef"):
                found.add(reference["name"])
    for volume in spec.get("volumes", ()):
        if reference := volume.get("secret"):
            found.add(reference["secretName"])
    return found


def _of_names(manifests: Manifests) -> Iterator[str]:
    names = Counter((each["kind"], each["metadata"]["name"]) for each in manifests)
    for (kind, name), number in names.items():
        if number > 1:
            yield f"{number} of {kind} are named {name}"
        if len(name) > 63 or not _NAME.fullmatch(name):
            yield f"{kind} {name}: expected a name of at most 63 characters"
    for each in manifests:
        labels = each["metadata"].get("labels", {})
        if each["kind"] in _WITH_PODS:
            labels = labels | each["spec"]["template"]["metadata"]["labels"]
        for label, value in labels.items():
            if len(value) > 63 or not _LABEL.fullmatch(value):
                yield f"{each['kind']} {each['metadata']['name']}: {label} is {value!r}"


def _selector(one: Manifest) -> dict[str, Any] | None:
    spec = one.get("spec", {})
    match one["kind"]:
        case "Deployment" | "PodDisruptionBudget" | "PodMonitor" | "ServiceMonitor":
            return dict(spec["selector"])
        case "NetworkPolicy":
            return dict(spec["podSelector"])
        case "Service":
            return {"matchLabels": spec["selector"]}
    return None


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector, of labels and of expressions with In, chooses these labels."""
    expressions = selector.get("matchExpressions", ())
    assert all(each["operator"] == "In" for each in expressions)
    return selector["matchLabels"].items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def _of_selectors(manifests: Manifests) -> Iterator[str]:
    pods = {
        (each["kind"], each["metadata"]["name"]): each["spec"]["template"]["metadata"]["labels"]
        for each in with_pods(manifests)
    }
    for each in manifests:
        selector = _selector(each)
        if selector is None:
            continue
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "ServiceMonitor":
            services = manifests.of("Service")
            if not [s for s in services if selects(selector, s["metadata"]["labels"])]:
                yield f"{name} selects no Service"
            continue
        chosen = [key for key, labels in pods.items() if selects(selector, labels)]
        if len(chosen) != 1:
            yield f"{name} selects the pods of {chosen or 'nobody'}"
        elif each["kind"] == "Deployment" and chosen[0][1] != each["metadata"]["name"]:
            yield f"{name} selects the pods of {chosen[0][1]}"


def _of_scaling(manifests: Manifests, values: Values) -> Iterator[str]:
    scaled = Counter[str]()
    for each in manifests:
        if each["kind"] in {"ScaledObject", "HorizontalPodAutoscaler"}:
            spec = each["spec"]
            scaled[spec["scaleTargetRef"]["name"]] += 1
            least = spec.get("minReplicaCount", spec.get("minReplicas"))
            most = spec.get("maxReplicaCount", spec.get("maxReplicas"))
            if least > most:
                yield f"{each['metadata']['name']}: {least} at least and {most} at most"
    for queue, worker in workers_of(values).items():
        deployment = manifests.workers().get(queue)
        if deployment is None:
            yield f"{queue} has no Deployment"
            continue
        name = deployment["metadata"]["name"]
        wanted = 0 if worker["autoscaling"]["type"] == "none" else 1
        if scaled.pop(name, 0) != wanted:
            yield f"{queue} is scaled by type {worker['autoscaling']['type']} and not by {wanted}"
        alone = wanted == 0 and not worker["externallyScaled"]
        if ("replicas" in deployment["spec"]) is not alone:
            yield f"{queue}: replicas are {deployment['spec'].get('replicas', 'not said')}"
    for name in scaled:
        yield f"{name} is scaled and is not there"


def _of_grace(manifests: Manifests, values: Values) -> Iterator[str]:
    for queue, worker in workers_of(values).items():
        spec = pod(manifests.workers()[queue])
        least = worker["gracePeriodSeconds"] + worker["preStopSeconds"] + 15
        if spec["terminationGracePeriodSeconds"] < least:
            yield f"{queue}: {spec['terminationGracePeriodSeconds']} s of grace, expected {least}"


def _of_secrets(manifests: Manifests, values: Values) -> Iterator[str]:
    """A secure worker and another one share no Secret of broker or results, and no account."""
    workers = workers_of(values)
    of = {
        secure: [m for q, m in manifests.workers().items() if is_secure(workers[q]) is secure]
        for secure in (True, False)
    }
    # Any worker may publish a job with `unique=` that leads into a secure queue.
    shared_on_purpose = {merged(values)["keySecret"]["existingSecret"]}
    both = set.intersection(*({s for m in group for s in secrets(m)} for group in of.values()))
    for name in both - shared_on_purpose:
        yield f"secure workers and others read the Secret {name}"
    accounts = Counter(pod(m)["serviceAccountName"] for m in with_pods(manifests))
    for secure in of[True]:
        account = pod(secure)["serviceAccountName"]
        if accounts[account] > 1:
            yield f"{secure['metadata']['name']} is not alone with the account {account}"
    for one in with_pods(manifests):
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        for container in containers(one):
            names = {variable["name"] for variable in container.get("env", ())}
            if "LANEWAY_MANAGEMENT_URL" in names and component not in {"control", "topology"}:
                yield f"{one['metadata']['name']} may ask the management interface"
            for variable in container.get("env", ()):
                if re.search(r"://[^$/]*:[^$/]+@", variable.get("value") or ""):
                    yield f"{one['metadata']['name']}: a password in {variable['name']}"


def is_secure(worker: dict[str, Any]) -> bool:
    """Whether its queue is."""
    return bool(worker["vhost"] == "secure")


def _of_pods(manifests: Manifests) -> Iterator[str]:
    """What the Pod Security Standard `restricted` asks, and a read-only root."""
    for one in with_pods(manifests):
        spec, name = pod(one), one["metadata"]["name"]
        if not spec["securityContext"].get("runAsNonRoot"):
            yield f"{name} may run as root"
        if spec["securityContext"].get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name} has no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name} mounts a token"
        for container in containers(one):
            context = container["securityContext"]
            if context.get("allowPrivilegeEscalation") is not False:
                yield f"{name}/{container['name']} may escalate"
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{name}/{container['name']} may write its root"
            if context.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{name}/{container['name']} keeps capabilities"
            if container["command"][0] != "laneway" or container.get("args"):
                yield f"{name}/{container['name']} runs {container['command'][0]}"
            if "memory" not in container["resources"].get("limits", {}):
                yield f"{name}/{container['name']} has no bound of memory"
