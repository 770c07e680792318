"""The Compose file, as Docker Compose itself reads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from laneway.policy import load_policy
from laneway.render import render_compose
from support.rendered import BULK, COMPOSE_ENVIRONMENT, ROOT, Checkout, compose_config

if TYPE_CHECKING:
    from pathlib import Path

POLICY = load_policy(ROOT)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The services of the file for the repository's own policy and one queue more."""
    checkout = Checkout.copy(tmp_path_factory.mktemp("checkout"))
    checkout.add("bulk", BULK)
    render_compose(load_policy(checkout.root), checkout.root).write(checkout.root)
    done = compose_config(checkout.root / "deploy/compose", **COMPOSE_ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return dict(json.loads(done.stdout)["services"])


def test_a_service_for_each_queue(services: dict[str, Any]) -> None:
    assert sorted(services) == [
        "broker",
        "control",
        "redis",
        "topology",
        *(f"worker-{name}" for name in ("bulk", "default", "high", "low", "secure")),
    ]
    for name in ("bulk", "default", "high", "low", "secure"):
        assert services[f"worker-{name}"]["command"] == ["laneway", "worker", name]


def test_a_worker_is_what_its_queue_says(services: dict[str, Any]) -> None:
    bulk, high = services["worker-bulk"], services["worker-high"]
    assert bulk["stop_grace_period"] == "3m15s"
    assert bulk["deploy"]["replicas"] == 1
    assert high["deploy"]["replicas"] == POLICY.queue("high").scaling.min
    assert high["environment"]["LANEWAY_APP"] == "shop.app:app"
    assert (
        high["environment"]["LANEWAY_IMAGE"]
        == high["image"]
        == COMPOSE_ENVIRONMENT["LANEWAY_IMAGE"]
    )


def test_what_is_ours_has_no_rights(services: dict[str, Any]) -> None:
    for name in set(services) - {"broker", "redis"}:
        service = services[name]
        assert service["user"] == "10001:10001", name
        assert service["read_only"] is True, name
        assert service["tmpfs"] == ["/tmp"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "ports" not in service, name
        assert "volumes" not in service, name
        assert service["command"][0] == "laneway", name


def test_the_secure_queue_is_apart(services: dict[str, Any]) -> None:
    secure = services["worker-secure"]
    assert secure["environment"]["SAYS"] == "only secure"
    assert list(secure["networks"]) == ["secure"]
    for name in set(services) - {"worker-secure", "broker", "redis"}:
        assert list(services[name]["networks"]) == ["jobs"], name
        assert services[name]["environment"]["SAYS"] != "only secure", name
    assert {services[name]["environment"]["SAYS"] for name in ("control", "topology")} == {
        "only control"
    }


def test_workers_wait_for_the_topology(services: dict[str, Any]) -> None:
    assert services["topology"]["depends_on"]["broker"]["condition"] == "service_healthy"
    for name in {"control", *(f"worker-{queue}" for queue in POLICY.queues)}:
        waits = services[name]["depends_on"]
        assert waits["topology"]["condition"] == "service_completed_successfully", name
        assert services[name]["healthcheck"]["test"][:2] == ["CMD", "python"], name


def test_no_secret_is_in_the_file() -> None:
    text = (ROOT / "deploy/compose/compose.yaml").read_text()
    assert not re.search(r"amqps?://|redis://|PASS\w*: *\S", text)
    assert "deploy/compose/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("missing", COMPOSE_ENVIRONMENT)
def test_what_is_not_said_is_asked_for(tmp_path: Path, missing: str) -> None:
    checkout = Checkout.copy(tmp_path)
    said = {name: value for name, value in COMPOSE_ENVIRONMENT.items() if name != missing}
    done = compose_config(checkout.root / "deploy/compose", **said)
    assert done.returncode != 0
    assert f"required variable {missing} is missing a value: set it to " in done.stderr


def test_the_password_of_redis_is_in_no_command_line(services: dict[str, Any]) -> None:
    """The script that starts it, with a program in the place of Redis."""
    shell, option, script = services["redis"]["command"]
    script = script.replace("$$", "$")
    assert (shell, option) == ("sh", "-c")
    assert script.startswith("exec redis-server -")
    fake = script.replace("redis-server -", "cat")
    said = subprocess.run(
        [shell, option, fake],
        env={"PATH": os.environ["PATH"], "REDIS_PASSWORD": "p w"},
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert said.stdout.splitlines()[0] == "requirepass p w"
