"""``laneway up``: comes up, is watched, and goes without a trace, however it is ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from xml.etree import ElementTree

import pytest

from laneway.local import reap_abandoned_runs
from laneway.local.process import RUN_VARIABLE
from support.cli import LANEWAY, Cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from laneway.local import Series
    from laneway.workloads import LocalPlatform

pytestmark = [pytest.mark.integration, pytest.mark.slow]

APP = "support.tasks:app"
#: Seconds within which everything has to be gone.
GONE = 60.0


def eventually(holds: Callable[[], Any], what: str, seconds: float = GONE) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def processes_of(run: str) -> set[int]:
    """Every process that was started for a run, however far from its owner."""
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{RUN_VARIABLE}={run}".encode() in environ.read_bytes().split(b"\0"):
                found.add(int(environ.parent.name))
    return found


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
    return ""


class Up:
    """A running ``laneway up``, its output read all the while."""

    def __init__(self, cli: Cli, *options: str, environment: Mapping[str, str], tty: bool = False):
        self.home = Path(cli.environment["LANEWAY_HOME"])
        self.said = ""
        self._news = threading.Condition()
        command = [str(LANEWAY), "up", "--app", APP, *options]
        env = {**cli.environment, **environment}
        if tty:
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
            env |= {"TERM": "xterm-256color", "COLUMNS": "100"}
            self.process = subprocess.Popen(
                command, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
            os.close(theirs)
            self._output = ours
        else:
            self.process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assert self.process.stdout is not None
            self._output = os.dup(self.process.stdout.fileno())
            self.process.stdout.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # A terminal whose other side is closed answers with an error instead of an end.
        with contextlib.suppress(OSError):
            while chunk := os.read(self._output, 4096):
                with self._news:
                    self.said += chunk.decode(errors="replace")
                    self._news.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        os.close(self._output)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Until it has said ``text``."""
        until = time.monotonic() + seconds
        with self._news:
            while text not in self.said:
                assert time.monotonic() < until, f"never said {text!r}: {self.said}"
                ended = self.process.poll() is not None and not self._reader.is_alive()
                assert not ended, f"ended without saying {text!r}: {self.said}"
                self._news.wait(0.2)

    def wait_until_ready(self) -> str:
        """Until every queue has its worker; returns the name of the run."""
        self.wait_for("workers are ready")
        (run,) = (self.home / "runs").iterdir()
        eventually((run / "environment.json").exists, "the platform can be found")
        return run.name

    def worker(self, run: str, queue: str) -> int:
        """The parent process of the worker of a queue: the leader of its session."""
        mine = f"laneway worker {queue} "
        (pid,) = [
            pid for pid in processes_of(run) if mine in command_line(pid) and os.getpgid(pid) == pid
        ]
        return pid

    def ended(self) -> None:
        """Until all that it said is read."""
        self._reader.join(60)

    def end(self, number: signal.Signals, seconds: float = 90) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@pytest.fixture
def up(bare: Cli, series: Series, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Up]]:
    """Starts ``laneway up`` in a home of its own; what a failing test leaves running is ended."""
    monkeypatch.setenv("LANEWAY_HOME", bare.environment["LANEWAY_HOME"])
    with contextlib.ExitStack() as stack:
        stack.callback(reap_abandoned_runs)

        def start(*options: str, tty: bool = False, **environment: str) -> Up:
            made = Up(bare, "--rabbitmq", series, *options, environment=environment, tty=tty)
            return stack.enter_context(made)

        yield start


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
