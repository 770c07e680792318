"""A running ``laneway up``, watched from outside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from laneway.local.process import RUN_VARIABLE
from support.cli import LANEWAY, Cli

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping

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
        app = () if "--app" in options else ("--app", APP)
        command = [str(LANEWAY), "up", *app, *options]
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
