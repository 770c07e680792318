"""A platform started from Python, on a broker that somebody else runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from laneway.broker.management import Management
from laneway.policy import load_policy
from laneway.workloads import LocalPlatform, local_platform
from support.cli import POLICY, TESTS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from laneway.facts import Fact
    from support.cli import Cli

pytestmark = pytest.mark.integration


@pytest.fixture
def given(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AbstractContextManager[LocalPlatform]:
    """A second platform, not yet entered, on the broker of the first."""
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LANEWAY_HOME", str(tmp_path / "home"))
    return local_platform(
        app="support.tasks:app",
        policy=load_policy(POLICY),
        report=lambda _line: None,
        python_path=[TESTS],
        queues=["high"],
    )


def vhosts(platform: LocalPlatform) -> set[str]:
    with Management(platform.address) as management:
        return set(management.vhosts())


def test_it_works_in_virtual_hosts_of_its_own_and_deletes_them(
    platform: LocalPlatform, given: AbstractContextManager[LocalPlatform], cli: Cli, tmp_path: Path
) -> None:
    before = vhosts(platform)
    facts: list[Fact] = []
    with given as second:
        second.listen(facts.append)
        created = vhosts(platform) - before
        assert created == {second.address.vhost("jobs"), second.address.vhost("secure")}
        assert second.address.vhost_prefix != platform.address.vhost_prefix
        submit = cli.having(**second.environment)
        answer = submit(
            "submit", "plain.add", "--args", "[1, 1]", "--queue", "high", "--wait", "60"
        )
        assert answer.out == "2\n"
        assert [queue.queue for queue in second.board.view(0).queues] == ["high"]
        assert [worker.queue for worker in second.workers] == ["high"]
    kinds = [fact.kind for fact in facts if fact.task == "plain.add"]
    assert kinds == ["received", "started", "succeeded"]
    assert vhosts(platform) == before
    assert list((tmp_path / "home" / "runs").iterdir()) == []


def test_an_error_inside_ends_it_as_well(
    platform: LocalPlatform, given: AbstractContextManager[LocalPlatform], tmp_path: Path
) -> None:
    before = vhosts(platform)
    with pytest.raises(RuntimeError, match="no licence"), given:
        raise RuntimeError("no licence")
    assert vhosts(platform) == before
    assert list((tmp_path / "home" / "runs").iterdir()) == []


def test_the_passwords_are_not_in_its_repr(platform: LocalPlatform) -> None:
    text = repr(platform)
    assert platform.result_backend not in text
    assert platform.environment["LANEWAY_BROKER_URL"] not in text


def test_no_worker_carries_a_secret_in_its_command_line(platform: LocalPlatform) -> None:
    from pathlib import Path as Folder

    secrets = [value for name, value in platform.environment.items() if "PREFIX" not in name]
    for worker in platform.workers:
        command = (Folder("/proc") / str(worker.pid) / "cmdline").read_text()
        assert "laneway" in command
        assert not [secret for secret in secrets if secret in command]
