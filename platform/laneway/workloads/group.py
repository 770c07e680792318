"""A worker or the control process on this machine: started, heard, restarted, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Final, Literal

from laneway.local.signals import signals_deferred
from laneway.workloads.wire import LogFile, parse_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from laneway.facts import Fact, FactKind
    from laneway.local import RunDirectory

State = Literal["starting", "ready", "restarting", "stopping", "stopped"]

#: Seconds before a worker that died is started again: the first delay and the longest.
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
#: Seconds a worker has to live for its next death to count as the first again.
STABLE_SECONDS: Final = 60.0
#: Seconds the reader of a dead worker may need for what is still in the pipe.
_DRAIN_SECONDS: Final = 2.0


class ProcessGroup:
    """A verb of ``laneway`` that runs until it is stopped, in a session of its own.

    It ends by itself when its owner is gone, however that ended: its stdin is a pipe that only the
    owner holds open (``--owner-pipe``).

    Args:
        name: what its log is called.
        what: how people call it.
        verb: the verb and its arguments.
        ready: the fact that says that it is at work.
        run: the run that owns it.
        environment: all that it sees.
        tell: called with every fact, in the reader's thread.
        report: called with a line for people when something is not as it should be.
    """

    def __init__(
        self,
        *,
        name: str,
        what: str,
        verb: Sequence[str],
        ready: FactKind,
        run: RunDirectory,
        environment: Mapping[str, str],
        tell: Callable[[Fact], None],
        report: Callable[[str], None],
    ) -> None:
        self.name: Final = name
        self.what: Final = what
        self.state: State = "stopped"
        #: How often it was started again.
        self.restarts = 0
        logs = run.path / "logs"
        logs.mkdir(exist_ok=True)
        self.log: Final = LogFile(logs / f"{name}.log")
        # -P: a celery.py in the current directory must not be taken for the real one.
        self._command = [sys.executable, "-P", "-m", "laneway", *verb]
        self._command += ["--log", "json", "--owner-pipe"]
        self._ready = ready
        self._run = run
        self._environment = dict(environment)
        self._tell = tell
        self._report = report
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0
        self._delay = FIRST_DELAY
        self._again = 0.0
        # Of the thread that looks after it and the one that ends it.
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The id of the (parent) process; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status of the process (minus the signal that killed it); None while it runs."""
        return None if self._process is None else _status(self._process.pid)

    def start(self) -> None:
        """Start the process. It is ready when its fact comes."""
        self.state = "starting"
        self._started = time.monotonic()
        with signals_deferred():
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=self.log.fileno(),
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                bufsize=1,
                start_new_session=True,
            )
            # Should the owner be killed before the next line, LANEWAY_RUN in the process's
            # environment still tells whose it is.
            self._run.track(self._process.pid, self.what)
        assert self._process.stderr is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stderr,), name=f"reads-{self.name}", daemon=True
        )
        self._reader.start()

    def check(self, now: float) -> bool:
        """Look after it: called every now and then while the platform runs.

        Args:
            now: of the monotonic clock, in seconds.

        Returns:
            True if it has just been found dead.
        """
        with self._lock:
            return self._check(now)

    def _check(self, now: float) -> bool:
        if self.state == "restarting" and now >= self._again:
            self.restarts += 1
            self.start()
            return False
        if self.state not in ("starting", "ready") or self.status is None:
            return False
        ended = f"{self.what} ended by itself ({self.how_it_ended()})"
        if now - self._started >= STABLE_SECONDS:
            self._delay = FIRST_DELAY
        self._bury()
        self._report(f"{ended}; it starts again in {self._delay:g} s")
        self.state = "restarting"
        self._again = now + self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY)
        return True

    def ask_to_stop(self) -> None:
        """Ask it to finish what it runs and to leave (SIGTERM to its parent process)."""
        with self._lock:
            self.state = "stopped" if self._process is None else "stopping"
            if self._process is not None:
                os.kill(self._process.pid, signal.SIGTERM)  # its pid is ours until it is buried

    def kill(self) -> None:
        """Kill what is left of it, with everything that it started; forget it."""
        with self._lock:
            self.state = "stopped"
            self._bury()
            self.log.close()

    def finish_reading(self) -> None:
        """Read what an ended process left in the pipe; takes two seconds at most."""
        if self._reader is not None:
            self._reader.join(_DRAIN_SECONDS)

    def how_it_ended(self) -> str:
        """In words."""
        status = self.status
        if status is None:
            return "it has not ended"
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"exit status {status}"

    def _bury(self) -> None:
        """What it has started must not live on beside the next one."""
        process = self._process
        if process is None:
            return
        self._run.kill(process.pid)
        process.wait()
        self._process = None
        self.finish_reading()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _read(self, stderr: IO[str]) -> None:
        with stderr:
            for line in stderr:
                said = parse_line(line)
                if isinstance(said, str):
                    with contextlib.suppress(ValueError):  # the log was closed: we are stopping
                        self.log.write(said)
                    continue
                if said.kind == self._ready and self.state == "starting":
                    self.state = "ready"
                    if self.restarts:
                        self._report(f"{self.what} is back")
                self._tell(said)


class WorkerGroup(ProcessGroup):
    """The worker of one queue: ``laneway worker QUEUE``.

    Args:
        queue: the queue it serves.
        app: where its application is, ``module:attribute``.
        run, environment, tell, report: as of :class:`ProcessGroup`.
    """

    def __init__(
        self,
        *,
        queue: str,
        app: str,
        run: RunDirectory,
        environment: Mapping[str, str],
        tell: Callable[[Fact], None],
        report: Callable[[str], None],
    ) -> None:
        self.queue: Final = queue
        super().__init__(
            name=queue,
            what=f"the worker of {queue}",
            verb=["worker", queue, "--app", app],
            ready="worker_ready",
            run=run,
            environment=environment,
            tell=tell,
            report=report,
        )


class ControlGroup(ProcessGroup):
    """The control process: ``laneway control``.

    Args:
        run, environment, tell, report: as of :class:`ProcessGroup`.
    """

    def __init__(
        self,
        *,
        run: RunDirectory,
        environment: Mapping[str, str],
        tell: Callable[[Fact], None],
        report: Callable[[str], None],
    ) -> None:
        super().__init__(
            # (No queue can be called this.)
            name="_control",
            what="the control process",
            verb=["control"],
            ready="control_ready",
            run=run,
            environment=environment,
            tell=tell,
            report=report,
        )


def _status(pid: int) -> int | None:
    """How a child ended, None if it has not; it stays a zombie.

    As long as it is one, its pid is nobody else's, and by it the rest of its session is found.
    """
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
