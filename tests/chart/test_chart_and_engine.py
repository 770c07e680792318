"""What the chart writes into a pod, the engine reads: each command line and each variable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from laneway.cli.root import laneway
from support.chart import CHART, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")

#: Every switch that adds a variable or an option.
EVERYTHING: Mapping[str, Any] = {
    "appDir": "/srv/app",
    "policy": {"existingConfigMap": "policy"},
    "broker": {"vhostPrefix": "staging-"},
    "results": {"marksUrlKey": "marks"},
    "keySecret": {"existingSecret": "keys"},
    "sentry": {"existingSecret": "sentry", "secure": {"existingSecret": "sentry-secure"}},
    "control": {"app": "shop.app:app"},
}
BY_PASSWORD: Mapping[str, Any] = {
    "broker": {
        "host": "rabbitmq",
        **{part: {"urlKey": ""} for part in ("jobs", "secure", "control", "topology")},
    }
}


def containers(values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that the chart starts: where it stands, and what it is."""
    for manifest in render(values):
        pod = manifest["spec"] if manifest["kind"] == "Pod" else {}
        if manifest["kind"] in {"Deployment", "Job"}:
            pod = manifest["spec"]["template"]["spec"]
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            yield f"{manifest['metadata']['name']}/{container['name']}", container


@pytest.mark.parametrize(
    "values", [{}, EVERYTHING, BY_PASSWORD], ids=["own", "everything", "login"]
)
def test_the_engine_understands_each_command_line_and_variable(values: Mapping[str, Any]) -> None:
    known = set(re.findall(r"^\| `(LANEWAY_[A-Z_]+)`", REFERENCE, re.MULTILINE))
    seen = set()
    for where, container in containers(values):
        program, *arguments = container["command"]
        assert program == "laneway", where
        names = [variable["name"] for variable in container.get("env", [])]
        assert len(names) == len(set(names)), f"{where}: a variable twice"
        assert {name for name in names if name.startswith("LANEWAY_")} <= known, where
        # What an option takes from the environment, it has from the pod's.
        given = {name: "shop.app:app" for name in names if name == "LANEWAY_APP"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            parsed(arguments)
        seen.add(where.partition("/")[2])
    assert seen == {"topology", "worker", "control", "doctor"}


def parsed(arguments: list[str]) -> None:
    """Read a command line as ``laneway`` does, and run nothing.

    Raises:
        click.UsageError: it is wrong.
    """
    command: click.Command = laneway
    context = click.Context(laneway)
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
    command.make_context("laneway", arguments)


def test_a_worker_gets_the_secrets_of_its_own_virtual_host_and_no_rights_to_manage() -> None:
    rendered = dict(containers(EVERYTHING))
    for queue in ("default", "high", "low", "secure"):
        theirs = {"jobs", "sentry"} if queue != "secure" else {"secure", "sentry-secure"}
        for container in ("topology", "worker"):
            env = rendered[f"laneway-worker-{queue}/{container}"]["env"]
            secrets = {
                each["valueFrom"]["secretKeyRef"]["name"] for each in env if "valueFrom" in each
            }
            shared = {"laneway-results-secure" if queue == "secure" else "laneway-results", "keys"}
            own = {name.removeprefix("laneway-broker-") for name in secrets - shared}
            assert own <= theirs, f"{queue}/{container}"
            assert "LANEWAY_MANAGEMENT_URL" not in {each["name"] for each in env}


@pytest.mark.parametrize("file", ["values-development.yaml", "values-rabbitmq.yaml"])
def test_the_values_that_come_with_the_chart_are_sound(file: str) -> None:
    assert render(files=[CHART / file]).workers().keys() == {"default", "high", "low", "secure"}


def test_a_change_of_one_queue_restarts_that_one_only() -> None:
    def templates(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: worker["spec"]["template"] for name, worker in render(values).workers().items()
        }

    before = templates({})
    for change in ({"concurrency": 8}, {"env": {"A": "b"}}, {"image": {"tag": "2"}}):
        after = templates({"workers": {"high": change}})
        assert {queue for queue in before if before[queue] != after[queue]} == {"high"}, change
    scaled = templates({"workers": {"high": {"autoscaling": {"max": 30}}}})
    assert scaled == before, "other bounds restart nobody"
    policy = {"existingConfigMap": "p", "revision": "1"}
    with_policy = templates({"policy": policy})
    assert templates({"policy": {**policy, "revision": "2"}}) != with_policy


def test_two_long_names_of_workers_are_two_names() -> None:
    workers = {
        f"a{'b' * 59}{end}": {
            "vhost": "jobs",
            "pool": "prefork",
            "concurrency": 1,
            "serviceLevelSeconds": 60,
            "gracePeriodSeconds": 60,
            "timeLimitSeconds": 30,
        }
        for end in ("c", "d")
    }
    names = [
        each["metadata"]["name"]
        for each in render({"workers": workers}).of("Deployment", component="worker")
    ]
    assert len(set(names)) == 6
    assert max(map(len, names)) == 63


def test_a_worker_can_take_away_what_all_workers_have() -> None:
    workers = render(
        {
            "workers": {
                "high": {
                    "resources": {"limits": None},
                    "podSecurityContext": {"runAsUser": None},
                    "pdb": {"enabled": False},
                },
                "low": None,
            }
        }
    )
    pods = {name: each["spec"]["template"]["spec"] for name, each in workers.workers().items()}
    assert pods.keys() == {"default", "high", "secure"}
    assert pods["high"]["containers"][0]["resources"].keys() == {"requests"}
    assert "runAsUser" not in pods["high"]["securityContext"]
    assert pods["high"]["securityContext"]["runAsNonRoot"] is True
    assert workers.of("PodDisruptionBudget", queue="high") == []
    assert pods["default"]["containers"][0]["resources"].keys() == {"requests", "limits"}


def test_a_worker_with_a_tag_of_its_own_does_not_get_the_digest_of_all() -> None:
    digest = f"sha256:{'a' * 64}"
    images = {
        queue: each["spec"]["template"]["spec"]["containers"][0]["image"]
        for queue, each in render(
            {
                "image": {"repository": "team/shop", "digest": digest},
                "workers": {
                    "high": {"image": {"tag": "2"}},
                    "low": {"image": {"registry": "mirror.example"}},
                    # `--set workers.secure.image.digest=`: no more a digest of its own.
                    "secure": {"image": {"digest": ""}},
                },
            }
        )
        .workers()
        .items()
    }
    assert images["default"] == f"team/shop@{digest}"
    assert images["high"] == "team/shop:2"
    assert images["low"] == f"mirror.example/team/shop@{digest}"
    assert images["secure"] == f"team/shop@{digest}"
