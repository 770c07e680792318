"""``laneway render``: what is committed is what the policy says; drift is an error with a cure."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import laneway
from laneway.errors import LanewayError
from laneway.local import KUBERNETES_TOOLS
from laneway.policy import load_policy
from laneway.render import default_root
from support.rendered import ROOT, Checkout, tool


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """The repository's own."""
    return Checkout.copy(tmp_path / "checkout")


def test_what_is_committed_is_what_the_policy_says() -> None:
    """``make verify``."""
    tool(KUBERNETES_TOOLS, "helm")
    done = Checkout(root=ROOT).render("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_changed_queue_is_drift_until_it_is_rendered(checkout: Checkout) -> None:
    tool(KUBERNETES_TOOLS, "helm")
    text = checkout.text("queues/high.toml")
    checkout.add("high", re.sub(r"concurrency = \d+", "concurrency = 7", text))
    done = checkout.render("--check")
    assert done.returncode == 1
    assert "\n+    concurrency: 7\n" in done.stdout
    assert "--- a/helm/laneway/values.yaml\n+++ b/helm/laneway/values.yaml\n" in done.stdout
    assert "--- a/deploy/k8s/base/worker-high.yaml\n" in done.stdout
    assert done.stderr == "expected what the policy says, got 3 other files; run: laneway render\n"
    wrote = checkout.render()
    assert wrote.returncode == 0
    # (The alerts say how many slots the queue's bound of workers allows.)
    assert wrote.stdout.split() == [
        "helm/laneway/values.yaml",
        "deploy/k8s/base/worker-high.yaml",
        "deploy/k8s/components/monitoring/monitoring.yaml",
    ]
    assert checkout.render("--check").returncode == 0


def test_a_file_that_somebody_edited_is_drift(checkout: Checkout) -> None:
    path = checkout.root / "deploy/compose/compose.yaml"
    path.write_text(path.read_text().replace("read_only: true", "read_only: false"))
    done = checkout.render("compose", "--check")
    assert done.returncode == 1
    assert done.stderr == (
        "expected what the policy says, got 1 other file; run: laneway render compose\n"
    )
    assert checkout.render("supervisor", "--check").returncode == 0
    assert checkout.render("compose").stdout == "deploy/compose/compose.yaml\n"
    assert checkout.render("compose").stdout == ""


def test_a_check_writes_nothing(checkout: Checkout) -> None:
    checkout.add("bulk")
    before = checkout.files()
    assert checkout.render("compose", "--check").returncode == 1
    assert checkout.files() == before


def test_the_workers_alone_are_a_values_file(checkout: Checkout) -> None:
    checkout.add("bulk")
    done = checkout.render("helm", "--print")
    assert done.returncode == 0
    assert sorted(yaml.safe_load(done.stdout)) == ["workers"]
    assert "bulk" in yaml.safe_load(done.stdout)["workers"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--check", "compose"), "put the options behind 'compose'"),
        (("helm", "--print", "--check"), "--print writes to stdout"),
        (("swarm",), "No such command 'swarm'"),
    ],
)
def test_a_wrong_command_line(checkout: Checkout, arguments: tuple[str, ...], said: str) -> None:
    done = checkout.render(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_folder_without_a_chart(tmp_path: Path) -> None:
    for name in ("queues", "routing.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = Checkout(root=tmp_path).render("helm")
    assert done.returncode == 5
    assert "expected the chart's values in " in done.stderr
    assert Checkout(root=tmp_path).render("compose").returncode == 0


def test_files_are_rendered_beside_the_queues(checkout: Checkout) -> None:
    policy = load_policy(checkout.root)
    assert default_root(policy) == checkout.root
    bundled = Path(laneway.__file__).parent / "_policy"
    with pytest.raises(LanewayError, match=r"installed engine; name a folder: --to DIRECTORY"):
        default_root(replace(policy, root=bundled))


def test_a_wrong_policy_is_said_before_anything_is_written(checkout: Checkout) -> None:
    checkout.add("bulk", "summary = 1\n")
    before = checkout.files()
    done = checkout.render()
    assert done.returncode == 4
    assert "queues/bulk.toml" in done.stderr
    assert checkout.files() == before
