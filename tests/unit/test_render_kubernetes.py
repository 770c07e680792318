"""Plain manifests are the chart's own, a file a queue; a new queue needs no line in an overlay."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from laneway.local import KUBERNETES_TOOLS
from support.rendered import ROOT, Checkout, tool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BASE = "deploy/k8s/base"
DEV = "deploy/k8s/overlays/dev"
PRODUCTION = "deploy/k8s/overlays/production"
MONITORING = "deploy/k8s/components/monitoring"
OF_HELM = {"helm.sh/chart", "app.kubernetes.io/managed-by"}

Object = dict[str, Any]


@pytest.fixture(autouse=True)
def _helm() -> None:
    tool(KUBERNETES_TOOLS, "helm")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """The repository's own."""
    return Checkout.copy(tmp_path / "checkout")


@pytest.fixture(scope="module")
def with_bulk(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout to which ``queues/bulk.toml`` was added, and that was rendered."""
    checkout = Checkout.copy(tmp_path_factory.mktemp("with-bulk"))
    checkout.add("bulk")
    done = checkout.render()
    assert done.returncode == 0, done.stderr
    return checkout


def named(objects: Iterable[Object]) -> dict[tuple[str, str], Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def of_queue(objects: Iterable[Object], queue: str) -> set[str]:
    """The kinds of objects that one queue has."""
    return {
        one["kind"]
        for one in objects
        if one["metadata"].get("labels", {}).get("laneway.dev/queue") == queue
    }


def deployments(objects: Iterable[Object], component: str) -> list[Object]:
    found = [
        one
        for one in objects
        if one["kind"] == "Deployment"
        and one["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    assert found
    return found


def containers(one: Object) -> list[Object]:
    pod = one["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


# --- The base --------------------------------------------------------------------------------


def test_the_base_is_the_chart_with_its_own_values(checkout: Checkout) -> None:
    helm = tool(KUBERNETES_TOOLS, "helm")
    command = [helm, "template", "laneway", str(ROOT / "helm/laneway"), "--namespace", "laneway"]
    cluster = ["--kube-version", "1.37.0", "--api-versions", "keda.sh/v1alpha1"]
    done = subprocess.run(
        [*command, "--skip-tests", *cluster],
        env={**os.environ, "HELM_CACHE_HOME": str(checkout.root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    chart = named(one for one in yaml.safe_load_all(done.stdout) if one)
    for one in chart.values():
        for label in OF_HELM:
            one["metadata"]["labels"].pop(label, None)
    assert named(checkout.kustomize(BASE)) == chart


def test_nothing_of_helm_is_left(checkout: Checkout) -> None:
    for path in (checkout.root / BASE).glob("*.yaml"):
        text = path.read_text()
        assert "helm.sh/" not in text, path
        assert "managed-by" not in text, path


def test_a_file_holds_the_objects_of_one_queue(checkout: Checkout) -> None:
    for name in ("default", "high", "low", "secure"):
        objects = yaml.safe_load_all(checkout.text(f"{BASE}/worker-{name}.yaml"))
        assert {one["metadata"]["labels"]["laneway.dev/queue"] for one in objects} == {name}


# --- A queue more, a queue less --------------------------------------------------------------


def test_a_queue_more_is_all_of_its_objects(with_bulk: Checkout) -> None:
    kinds = {"Deployment", "ScaledObject", "ServiceAccount", "PodDisruptionBudget"}
    assert of_queue(with_bulk.kustomize(BASE), "bulk") == kinds
    production = with_bulk.kustomize(PRODUCTION)
    assert of_queue(production, "bulk") == {*kinds, "NetworkPolicy", "PodMonitor"}
    [rules] = [one for one in production if one["kind"] == "PrometheusRule"]
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"]]
    mine = {rule["alert"] for rule in alerts if 'queue="bulk"' in rule["expr"]}
    assert mine == {rule["alert"] for rule in alerts if 'queue="low"' in rule["expr"]} != set()
    [bulk] = [
        one
        for one in with_bulk.kustomize(BASE)
        if (one["kind"], one["metadata"]["name"]) == ("ScaledObject", "laneway-worker-bulk")
    ]
    assert (bulk["spec"]["minReplicaCount"], bulk["spec"]["maxReplicaCount"]) == (1, 6)


def test_a_queue_more_touches_what_is_rendered_and_nothing_else(with_bulk: Checkout) -> None:
    before, after = Checkout(root=ROOT), with_bulk.files()
    changed = {
        path
        for path, text in after.items()
        if not (before.root / path).exists() or before.text(path) != text
    }
    assert changed - {path for path in changed if path.startswith("deploy/k8s/components/")} == {
        "queues/bulk.toml",
        "helm/laneway/values.yaml",
        f"{BASE}/worker-bulk.yaml",
        f"{BASE}/kustomization.yaml",
        "deploy/compose/compose.yaml",
        "deploy/supervisor/jobs.conf",
        # The ports of the queues behind it in the alphabet move.
        "deploy/supervisor/secure.conf",
    }


def test_the_file_of_a_queue_less_goes(with_bulk: Checkout, tmp_path: Path) -> None:
    checkout = Checkout.copy(tmp_path / "checkout")
    for path, text in with_bulk.files().items():
        (checkout.root / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / path).write_text(text)
    (checkout.root / "queues/bulk.toml").unlink()
    done = checkout.render("--check")
    assert done.returncode == 1
    assert f"--- a/{BASE}/worker-bulk.yaml\n+++ /dev/null\n" in done.stdout
    assert checkout.render().returncode == 0
    assert not (checkout.root / BASE / "worker-bulk.yaml").exists()
    assert checkout.files() == Checkout.copy(tmp_path / "again").files()


# --- The overlays ----------------------------------------------------------------------------


def test_dev_is_one_small_pod_of_everything(with_bulk: Checkout) -> None:
    objects = with_bulk.kustomize(DEV)
    kinds = {one["kind"] for one in objects}
    assert kinds.isdisjoint({"ScaledObject", "TriggerAuthentication", "PodDisruptionBudget"})
    workers = deployments(objects, "worker")
    assert len(workers) == 5
    for one in [*workers, *deployments(objects, "control")]:
        assert one["spec"]["replicas"] == 1
    for one in workers:
        [worker] = one["spec"]["template"]["spec"]["containers"]
        assert worker["resources"]["requests"]["cpu"] == "50m"
        assert worker["image"] == "laneway:dev"


def test_production_runs_one_image_by_its_digest(with_bulk: Checkout) -> None:
    objects = with_bulk.kustomize(PRODUCTION)
    with_pods = [one for one in objects if one["kind"] in {"Deployment", "Job"}]
    assert len(with_pods) == 7
    images = {each["image"] for one in with_pods for each in containers(one)}
    assert len(images) == 1
    assert "@sha256:" in min(images)
    told = {
        variable["value"]
        for one in with_pods
        for each in containers(one)
        for variable in each["env"]
        if variable["name"] == "LANEWAY_IMAGE"
    }
    assert told == images


@pytest.mark.parametrize("component", ["monitoring", "network-policies"])
def test_a_component_is_one_line_of_production(checkout: Checkout, component: str) -> None:
    """Without it, nothing of it is left, and everything else is as before."""
    file = checkout.root / PRODUCTION / "kustomization.yaml"
    said, line = file.read_text(), f"  - ../../components/{component}\n"
    assert said.count(line) == 1
    before = named(checkout.kustomize(PRODUCTION))
    file.write_text(said.replace(line, ""))
    after = named(checkout.kustomize(PRODUCTION))
    taken = before.keys() - after.keys()
    added = checkout.kustomize(f"deploy/k8s/components/{component}")
    assert taken == named(added).keys() != set()
    assert after == {name: each for name, each in before.items() if name not in taken}


def test_only_the_component_needs_the_prometheus_operator(checkout: Checkout) -> None:
    groups = {one["apiVersion"] for one in checkout.kustomize(BASE)}
    assert not [group for group in groups if group.startswith("monitoring.coreos.com")]
    of_component = {one["apiVersion"] for one in checkout.kustomize(MONITORING)}
    assert of_component == {"monitoring.coreos.com/v1"}


def test_production_scales_and_its_job_is_in_no_releases_way(with_bulk: Checkout) -> None:
    objects = with_bulk.kustomize(PRODUCTION)
    assert len([one for one in objects if one["kind"] == "ScaledObject"]) == 5
    for one in deployments(objects, "worker"):
        assert "replicas" not in one["spec"], "the scaler's"
    [job] = [one for one in objects if one["kind"] == "Job"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600


@pytest.mark.parametrize("overlay", [DEV, PRODUCTION])
def test_every_object_of_an_overlay_is_in_its_namespace(checkout: Checkout, overlay: str) -> None:
    objects = checkout.kustomize(overlay)
    [namespace] = [one for one in objects if one["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    places = {one["metadata"]["namespace"] for one in objects if one["kind"] != "Namespace"}
    assert places == {namespace["metadata"]["name"]} == {"laneway"}


# --- What goes wrong -------------------------------------------------------------------------


def test_what_the_chart_refuses_is_said(checkout: Checkout) -> None:
    template = checkout.root / "helm/laneway/templates/refuses.yaml"
    template.write_text('{{ fail "queue high asks for too much" }}\n')
    done = checkout.render("k8s")
    assert done.returncode == 5
    assert "helm template refuses it: " in done.stderr
    assert "queue high asks for too much" in done.stderr


def test_an_object_without_a_name_is_refused(checkout: Checkout) -> None:
    (checkout.root / "helm/laneway/templates/odd.yaml").write_text("kind: Odd\nspec: {}\n")
    done = checkout.render("k8s")
    assert done.returncode == 5
    assert "expected an object with a kind and a name, got:\nkind: Odd" in done.stderr


def test_without_helm_the_command_that_brings_it_is_said(checkout: Checkout) -> None:
    nowhere = str(checkout.root / "nowhere")
    done = checkout.render("k8s", "--check", LANEWAY_KUBERNETES_TOOLS=nowhere)
    assert done.returncode == 5
    assert "make kubernetes-tools" in done.stderr
