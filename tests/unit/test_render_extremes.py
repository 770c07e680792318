"""Whatever a queue's file may say, every renderer writes something that its reader understands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from laneway.local import KUBERNETES_TOOLS
from support.rendered import COMPOSE_ENVIRONMENT, Checkout, compose_config, programs, tool

if TYPE_CHECKING:
    from pathlib import Path

WORDS = """it's: {{ .Values }} # \\" $X %s ${Y} {z} *&! ü"""
QUEUES = {
    "shortest": """
service_level = "1ms"
[worker]
soft_time_limit = "100ms"
time_limit = "150ms"
grace_period = "0s"
[scaling]
autoscaler = "keda"
max = 1
utilisation = 0.1
expected_runtime = "1ms"
scale_in_after = "0s"
""",
    "longest": """
service_level = "7d"
[worker]
pool = "direct"
concurrency = 1000
time_limit = "7d"
grace_period = "1d"
[scaling]
autoscaler = "hpa"
min = 100
max = 1000
utilisation = 1
drain = "7d"
expected_runtime = "7d"
scale_in_after = "1h"
""",
    "fractions": """
service_level = "1500ms"
[worker]
pool = "gevent"
concurrency = 500
grace_period = "90500ms"
[scaling]
drain = "1500ms"
min = 3
""",
    "solo": 'service_level = "1s"\n[worker]\npool = "solo"\n',
    "q" * 63: 'service_level = "1s"\n[scaling]\nautoscaler = "keda"\n',
    "vault": 'service_level = "1s"\n[broker]\nvhost = "secure"\n[scaling]\nautoscaler = "keda"\n',
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The repository's own queues, and these."""
    tool(KUBERNETES_TOOLS, "helm")
    checkout = Checkout.copy(tmp_path_factory.mktemp("checkout"))
    for name, content in QUEUES.items():
        checkout.add(name, f'summary = "{WORDS}"\n{content}')
    done = checkout.render()
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_kustomize_and_the_chart(checkout: Checkout, overlay: str) -> None:
    objects: list[dict[str, Any]] = checkout.kustomize(f"deploy/k8s/overlays/{overlay}")
    served = {
        one["metadata"]["labels"]["laneway.dev/queue"]
        for one in objects
        if one["kind"] == "Deployment" and "laneway.dev/queue" in one["metadata"]["labels"]
    }
    assert set(QUEUES) <= served
    assert all(len(one["metadata"]["name"]) <= 63 for one in objects if one["kind"] != "Job")


def test_compose(checkout: Checkout) -> None:
    done = compose_config(checkout.root / "deploy/compose", **COMPOSE_ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert {f"worker-{name}" for name in QUEUES} <= set(services)
    assert services["worker-vault"]["environment"]["SAYS"] == "only secure"
    assert services["worker-fractions"]["stop_grace_period"] == "1m46s"


def test_supervisor(checkout: Checkout) -> None:
    found = programs(checkout)
    assert {f"laneway-worker-{name}-00" for name in QUEUES} <= set(found)
    assert found["laneway-worker-fractions-00"].stopwaitsecs == 91 + 15


def test_what_was_rendered_stays(checkout: Checkout, tmp_path: Path) -> None:
    """Also where it is rendered by somebody else, in another folder."""
    other = Checkout.copy(tmp_path / "other")
    for name in QUEUES:
        other.add(name, checkout.text(f"queues/{name}.toml"))
    assert other.render().returncode == 0
    for path, text in other.files().items():
        # What the tests of the other formats wrote is not rendered.
        if path.startswith(("deploy/", "helm/")) and not path.startswith("deploy/supervisor/"):
            assert text == checkout.text(path), path
