"""Every `sh` block of docs/how-to/render.md runs, and leaves what the text says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from laneway.local import CONTAINER_TOOLS, KUBERNETES_TOOLS
from laneway.policy import load_policy
from support.rendered import ROOT, Checkout, tool

if TYPE_CHECKING:
    from subprocess import CompletedProcess

DOCUMENT = (ROOT / "docs/how-to/render.md").read_text()
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def run(checkout: Checkout, script: str) -> CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=checkout.root,
        env={
            **os.environ,
            "LANEWAY_POLICY": str(checkout.root),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the reader has typed everything."""
    tool(KUBERNETES_TOOLS, "helm")
    checkout = Checkout.copy(tmp_path_factory.mktemp("checkout"))
    for block in blocks("sh"):
        done = run(checkout, block)
        assert done.returncode == 0, done.stderr + done.stdout
    return checkout


def test_a_queue_is_one_file(checkout: Checkout) -> None:
    assert "bulk" in load_policy(checkout.root).queues
    assert (checkout.root / "deploy/k8s/base/worker-bulk.yaml").exists()
    kinds = {
        one["kind"]
        for one in checkout.kustomize("deploy/k8s/overlays/production")
        if one["metadata"].get("labels", {}).get("laneway.dev/queue") == "bulk"
    }
    assert kinds >= {"Deployment", "ScaledObject", "PodDisruptionBudget", "NetworkPolicy"}


def test_the_secrets_are_those_that_compose_reads(checkout: Checkout) -> None:
    done = subprocess.run(
        [tool(CONTAINER_TOOLS, "docker-compose"), "config", "--format", "json"],
        cwd=checkout.root / "deploy/compose",
        env={"PATH": os.environ["PATH"], "LANEWAY_IMAGE": "shop", "LANEWAY_APP": "shop.app:app"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    says = {name: service["environment"] for name, service in services.items()}
    password = says["broker"]["RABBITMQ_DEFAULT_PASS"]
    assert len(password) >= 32
    assert says["control"]["LANEWAY_BROKER_URL"] == f"amqp://laneway:{password}@broker:5672"
    assert says["worker-bulk"]["LANEWAY_RESULT_BACKEND"] == (
        f"redis://:{says['redis']['REDIS_PASSWORD']}@redis:6379/0"
    )
    for name in ("worker-bulk", "worker-secure"):
        assert "LANEWAY_MANAGEMENT_URL" not in says[name]
        assert says[name]["LANEWAY_KEY_SECRET"]
    for file in (checkout.root / "deploy/compose/secrets").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_the_table_of_secrets_is_what_the_file_names() -> None:
    named = set(
        re.findall(r"secrets/(\w+\.env)", Checkout(root=ROOT).text("deploy/compose/compose.yaml"))
    )
    assert set(re.findall(r"^\| `(\w+\.env)`", DOCUMENT, re.MULTILINE)) == named


def test_the_secrets_for_kubernetes_are_those_that_the_manifests_name() -> None:
    """With their keys."""
    [script] = blocks("bash cluster")
    script = script.replace("$vhost", "jobs") + script.replace("$vhost", "secure")
    made = {
        (name, key)
        for name, keys in re.findall(r'create secret generic "?([\w-]+)"? (.*)', script)
        for key in re.findall(r"--from-literal=([\w-]+)=", keys)
    }
    named = set()
    for one in Checkout(root=ROOT).kustomize("deploy/k8s/overlays/production"):
        text = json.dumps(one)
        for reference in re.findall(r'"secretKeyRef": ({[^}]*})', text):
            said = json.loads(reference)
            named.add((said["name"], said["key"]))
        for said in one.get("spec", {}).get("secretTargetRef", []):
            named.add((said["name"], said["key"]))
    assert named
    assert named <= made
