"""Finding the platform that runs on this machine."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from laneway.local import RunDirectory
from laneway.workloads.presence import announce, running_platforms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunDirectory]:
    monkeypatch.setenv("LANEWAY_HOME", str(tmp_path))
    with RunDirectory.create() as made:
        yield made


def test_a_platform_is_found_while_it_runs(run: RunDirectory) -> None:
    assert running_platforms() == ()
    with announce(run, {"LANEWAY_BROKER_URL": "amqp://u:secret@h"}):
        (found,) = running_platforms()
        assert found.run == run.id
        assert found.environment == {"LANEWAY_BROKER_URL": "amqp://u:secret@h"}
        assert "secret" not in repr(found)
    assert running_platforms() == ()


def test_only_its_user_may_read_it(run: RunDirectory) -> None:
    with announce(run, {"A": "b"}):
        file = run.path / "environment.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_a_killed_owner_left_does_not_count(run: RunDirectory) -> None:
    pid = os.fork()
    if pid == 0:
        with announce(run, {"A": "b"}):
            os._exit(0)
    os.waitpid(pid, 0)
    assert (run.path / "environment.json").exists()
    assert running_platforms() == ()
