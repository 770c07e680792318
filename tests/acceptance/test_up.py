"""``laneway up``: comes up, is watched, and goes without a trace, however it is ended."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from support.up import Up, command_line, eventually, processes_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from laneway.workloads import LocalPlatform
    from support.cli import Cli

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def assert_nothing_is_left(running: Up, run: str) -> None:
    assert processes_of(run) == set()
    assert list((running.home / "runs").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_jobs_and_ends_without_a_trace(
    up: Callable[..., Up], bare: Cli, number: signal.Signals
) -> None:
    running = up()
    run = running.wait_until_ready()
    # From another terminal, which knows nothing of it.
    answer = bare("submit", "plain.add", "--args", "[20, 22]", "--wait", "60")
    assert answer.out == "42\n"
    assert f"using the platform of run {run}" in answer.err
    assert bare("doctor").status == 0

    assert running.end(number) == 0
    assert_nothing_is_left(running, run)
    running.wait_for("stopped: 1 jobs done, 0 failed, 0 interrupted")
    assert bare("queues").status == 3, "nobody finds it any more"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_very_moment_when_it_is_ready(
    up: Callable[..., Up], number: signal.Signals
) -> None:
    """Who sees that it is ready may end it: the view need not have begun."""
    running = up("--queue", "low")
    running.wait_for("workers are ready")
    (run,) = (running.home / "runs").iterdir()
    assert running.end(number) == 0
    assert_nothing_is_left(running, run.name)


@pytest.mark.alone
def test_it_is_up_within_15_seconds(up: Callable[..., Up]) -> None:
    began = time.monotonic()
    up().wait_until_ready()
    assert time.monotonic() - began < 15


def test_a_running_job_finishes_before_the_end(
    up: Callable[..., Up], bare: Cli, tmp_path: Path
) -> None:
    running = up("--queue", "default")
    run = running.wait_until_ready()
    go_on = tmp_path / "go-on"
    assert bare("submit", "plain.hold", "--args", json.dumps([str(go_on)])).status == 0
    running.wait_for("default ready=0 running=1")
    running.process.send_signal(signal.SIGINT)
    running.wait_for("stopping")
    go_on.touch()
    assert running.process.wait(60) == 0
    running.wait_for("stopped: 1 jobs done, 0 failed, 0 interrupted")
    assert_nothing_is_left(running, run)


def test_a_second_ctrl_c_does_not_wait_for_jobs(up: Callable[..., Up], bare: Cli) -> None:
    running = up("--queue", "low")
    run = running.wait_until_ready()
    assert bare("submit", "plain.sleep", "--args", "[60]", "--queue", "low").status == 0
    running.wait_for("low ready=0 running=1")
    running.process.send_signal(signal.SIGINT)
    running.wait_for("stopping")
    assert running.end(signal.SIGINT) == 130
    running.ended()
    assert "did not finish" not in running.said, "nobody waited for it"
    assert_nothing_is_left(running, run)


def test_after_a_kill_the_workers_go_and_the_next_start_clears_up(
    up: Callable[..., Up],
) -> None:
    killed = up()
    run = killed.wait_until_ready()
    verbs = ("laneway worker", "laneway control")
    lines = {pid: command_line(pid) for pid in processes_of(run)}
    workers = {pid for pid, line in lines.items() if any(verb in line for verb in verbs)}
    assert len(workers) >= 5
    assert any("laneway control" in line for line in lines.values())
    killed.end(signal.SIGKILL)
    eventually(lambda: not workers & processes_of(run), "the workers end by themselves")
    assert processes_of(run), "the servers cannot know; the next start ends them"

    following = up("--for", "1", "--queue", "low")
    following.wait_for("clearing away what the killed run")
    assert following.process.wait(60) == 0
    assert_nothing_is_left(following, run)


def test_a_killed_worker_is_reported_and_comes_back(up: Callable[..., Up], bare: Cli) -> None:
    running = up("--queue", "default")
    run = running.wait_until_ready()
    old = running.worker(run, "default")
    os.kill(old, signal.SIGKILL)
    running.wait_for("the worker of default ended by itself (killed by SIGKILL)")
    running.wait_for("the worker of default is back")
    assert running.worker(run, "default") != old
    groups = {os.getpgid(pid) for pid in processes_of(run) if "worker default" in command_line(pid)}
    assert old not in groups, "its pool processes went with it"
    answer = bare("submit", "plain.add", "--args", "[1, 1]", "--wait", "60")
    assert answer.out == "2\n"


def test_an_application_that_cannot_be_imported_ends_it_with_the_reason(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text("raise RuntimeError('no licence')\n")
    running = up("--app", "faulty:app", "--app-dir", str(tmp_path))
    assert running.process.wait(60) == 5
    running.ended()
    assert "RuntimeError: no licence" in running.said
    assert "before it was ready" in running.said
    assert list((running.home / "runs").iterdir()) == []


def test_a_terminal_gets_the_live_view_and_a_picture(
    up: Callable[..., Up], bare: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "pictures" / "up.svg"
    running = up("--picture", str(file), tty=True)
    run = running.wait_until_ready()
    assert bare("submit", "plain.add", "--args", "[1, 1]", "--wait", "60").status == 0
    assert bare("submit", "plain.fail", "--wait", "60").status == 1
    running.wait_for("last failures")
    assert running.end(signal.SIGINT) == 0
    # Colours away; a movement of the cursor begins a line.
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "\n", re.sub(r"\x1b\[[0-9;]*m", "", running.said))
    assert "RabbitMQ" in text
    assert "ValueError: boom" in text
    widths = {len(line.strip("\r")) for line in text.split("\n") if "╭─ laneway" in line}
    assert max(widths) <= 100
    ElementTree.fromstring(file.read_text())
    assert_nothing_is_left(running, run)


def test_a_broker_that_was_given_keeps_what_it_has(
    up: Callable[..., Up], platform: LocalPlatform, cli: Cli
) -> None:
    """Its virtual hosts and the jobs in them stay; nothing private is started for it."""

    def low() -> dict[str, Any]:
        return next(q for q in cli("queues", "--json").json["queues"] if q["name"] == "low")

    assert cli("queues", "pause", "low").status == 0
    try:
        eventually(lambda: low()["consumers"] == 0, "the session's own worker obeys")
        assert cli("submit", "plain.add", "--args", "[1, 1]", "--queue", "low").status == 0
        running = up("--queue", "low", **platform.environment)
        run = running.wait_until_ready()
        assert not [pid for pid in processes_of(run) if "rabbitmq" in command_line(pid)]
        assert running.end(signal.SIGTERM) == 0
        assert_nothing_is_left(running, run)
        assert low()["ready"] == 1, (low(), running.said)
    finally:
        cli("queues", "purge", "low", "--yes")
        cli("queues", "resume", "low")
