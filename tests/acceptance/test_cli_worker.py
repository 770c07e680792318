"""``laneway worker`` as an operator and as its owner see it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from laneway.facts import Fact
from laneway.workloads.wire import parse_line
from support.cli import LANEWAY, POLICY, Cli

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.workloads import LocalPlatform

pytestmark = pytest.mark.integration

POOLS = ["prefork", "threads", "gevent", "eventlet", "solo"]


def start(cli: Cli, *options: str) -> subprocess.Popen[str]:
    """A worker of ``low`` in a session of its own, at the point where it is ready."""
    command = [str(LANEWAY), "worker", "low", "--app", "support.tasks:app", "--log", "json"]
    process = subprocess.Popen(
        [*command, "--concurrency", "1", *options],
        env=dict(cli.environment),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _wait_until_ready(process)
    except BaseException:
        end(process)
        raise
    return process


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        told = parse_line(line)
        if isinstance(told, Fact) and told.kind == "worker_ready":
            return
    raise AssertionError(f"the worker ended: {''.join(said)}")


def end(process: subprocess.Popen[str]) -> None:
    """Whatever the test did, nothing of it stays."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stderr):
        assert pipe is not None
        pipe.close()


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_whose_owner_is_gone_ends_by_itself(cli: Cli, pool: str) -> None:
    process = start(cli, "--pool", pool, "--owner-pipe")
    try:
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        end(process)


def test_an_ordinary_worker_does_not_look_at_its_stdin(cli: Cli) -> None:
    process = start(cli)
    try:
        assert process.stdin is not None
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        end(process)


def test_facts_for_people_are_one_line_each(cli: Cli, platform: LocalPlatform) -> None:
    process = subprocess.Popen(
        [str(LANEWAY), "worker", "low", "--app", "support.tasks:app", "--hostname", "w@here"],
        env=dict(cli.environment),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if "worker_ready" in line)
        assert "queue=low" in ready
        assert "worker=w@here" in ready
        password = platform.environment["LANEWAY_BROKER_URL"].split(":")[2].partition("@")[0]
        process.terminate()
        assert password not in process.stderr.read()
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        assert process.stderr is not None
        process.stderr.close()


def test_a_worker_without_its_queue_does_not_start(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "policy"
    shutil.copytree(POLICY, root)
    (root / "queues" / "extra.toml").write_text('summary = "new"\nservice_level = "1s"\n')
    newer = cli.having(LANEWAY_POLICY=str(root))
    answer = newer("worker", "extra", "--app", "support.tasks:app")
    assert answer.status == 78
    assert "queue extra" in answer.err
    assert "laneway topology apply" in answer.err
