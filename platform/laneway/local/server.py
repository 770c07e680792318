"""What the private servers have in common."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Self, TypeVar

from laneway.local.errors import ServerStartFailed
from laneway.local.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from subprocess import Popen
    from types import TracebackType

    from laneway.local.rundir import RunDirectory

START_SECONDS: Final = 60.0
"""How long a server may take to come up before it is given up. Usual is 3 to 6 seconds."""

_POLL_SECONDS: Final = 0.05
_TAIL_LINES: Final = 20
_ATTEMPTS: Final = 3
_PORT_TAKEN: Final = re.compile("eaddrinuse|Address already in use", re.IGNORECASE)

Server = TypeVar("Server", bound="PrivateServer")


class PrivateServer(ABC):
    """A server that belongs to one run and is reachable from this machine only.

    A context manager: leaving it stops the server.
    """

    kind: str
    """What it is, for people: "RabbitMQ", "Redis"."""

    def __init__(self, run: RunDirectory, folder: Path) -> None:
        """For the start functions only."""
        self._run = run
        self._folder = folder
        self._processes: list[Popen[bytes]] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with the password."""

    @property
    def log(self) -> Path:
        """The server's log file. It goes with the run."""
        return self._folder / "server.log"

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._processes[-1].pid

    def stop(self) -> None:
        """End the server and its helpers at once; what it stored is thrown away with the run.

        Calling it again does nothing.
        """
        processes, self._processes = self._processes, []
        self._run.kill(*(process.pid for process in reversed(processes)))

    def pause(self) -> None:
        """Freeze the server: connections stay open and get no answer, as from a hung machine."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """End a `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start the processes and wait until they answer. Raises ServerStartFailed.

        For `start_with_retry`: a server that the start functions return has been started.
        """

    def _spawn(self, command: Sequence[str], *, name: str, environment: Mapping[str, str]) -> None:
        child = self._run.spawn(command, name=name, log=self.log, environment=environment)
        self._processes.append(child)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Poll `ready` until it holds. Raises ServerStartFailed if a process ends or time is up."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            for process in self._processes:
                if process.poll() is not None:
                    raise self._failed(f"it ended with status {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failed(f"no answer within {START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _failed(self, reason: str) -> ServerStartFailed:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        tail = "\n".join(lines[-_TAIL_LINES:])
        return ServerStartFailed(self.kind, reason, log=self.log, tail=tail)


def start_with_retry(make: Callable[[], Server]) -> Server:
    """Make and start a server; again with other ports if one was taken in the meantime.

    Whatever else goes wrong or interrupts, the server is stopped before it is raised.
    """
    for attempts_left in reversed(range(_ATTEMPTS)):
        server = make()
        try:
            server.start()
        except BaseException as error:
            server.stop()
            taken = isinstance(error, ServerStartFailed) and _PORT_TAKEN.search(error.tail)
            if taken and attempts_left:
                continue
            raise
        return server
    raise AssertionError("the last attempt returns or raises")


def accepts(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback interface."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
