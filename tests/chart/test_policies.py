"""Policies of pod security that others wrote (checkov's), and what is skipped of them, and why."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.chart import render
from support.chart_cases import CASES

if TYPE_CHECKING:
    from pathlib import Path

    from support.chart_tools import ChartTools

#: As one would run it: an image by its digest, a NetworkPolicy around each worker.
VALUES = {**CASES["fenced"], "image": {"digest": f"sha256:{'a' * 64}"}}

#: Check: what it asks for, of whom it is not asked (an ending of names; all if empty), and why.
SKIPPED = {
    "CKV_K8S_11": (
        "a limit of CPU",
        "",
        "throttles a worker just when it has most to do; requests share the processor fairly",
    ),
    "CKV_K8S_35": (
        "secrets as files",
        "",
        (
            "Celery and Laneway read their addresses from the environment; Secrets are referenced, "
            "never copied"
        ),
    ),
    "CKV_K8S_8": ("a liveness probe", "doctor", "the pod of `helm test` ends by itself"),
    "CKV_K8S_9": ("a readiness probe", "doctor", "the pod of `helm test` ends by itself"),
}


def found_by_checkov(tools: ChartTools, manifests: list[dict[str, Any]], folder: Path) -> Any:
    """What it says of manifests."""
    file = folder / "manifests.yaml"
    file.write_text(yaml.dump_all(manifests))
    command = tools.checkov("-f", file, "--framework", "kubernetes", "-o", "json")
    options = ["--compact", "--quiet", "--skip-download", "--soft-fail"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=True, cwd=folder
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def report(tools: ChartTools, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return found_by_checkov(tools, list(render(VALUES)), tmp_path_factory.mktemp("checkov"))


def failures(report: Any) -> dict[str, set[str]]:
    """Check: the objects that do not pass it."""
    found: dict[str, set[str]] = {}
    for each in report["results"]["failed_checks"]:
        kind, namespace, name = each["resource"].split(".", 2)
        assert namespace == "jobs"
        found.setdefault(each["check_id"], set()).add(f"{kind} {name.partition('.')[0]}")
    return found


def test_what_does_not_pass_is_skipped_for_a_reason(report: Any) -> None:
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 400
    for check, objects in failures(report).items():
        assert check in SKIPPED, f"{check}: {sorted(objects)}"
        _, whose, _ = SKIPPED[check]
        parts = whose.strip("()").split("|")
        left = {each for each in objects if not any(part in each for part in parts)}
        assert not left, f"{check}: {sorted(left)}"


def test_what_is_skipped_would_not_pass(report: Any) -> None:
    """A reason that is needed no longer goes."""
    assert set(failures(report)) == set(SKIPPED)


def test_a_pod_that_may_do_everything_is_found(tools: ChartTools, tmp_path: Path) -> None:
    [careless] = [json.loads(json.dumps(render().worker("high")))]
    pod = careless["spec"]["template"]["spec"]
    pod["containers"][0]["securityContext"] = {"privileged": True}
    pod["hostNetwork"] = True
    checks = set(failures(found_by_checkov(tools, [careless], tmp_path)))
    # Privileged, escalation, a root that can be written, capabilities, the host's network.
    assert {"CKV_K8S_16", "CKV_K8S_20", "CKV_K8S_22", "CKV_K8S_37", "CKV_K8S_19"} <= checks
