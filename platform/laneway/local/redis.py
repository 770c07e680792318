"""A private Redis: in memory only, own port and password."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING, Final

from laneway.local.install import install_redis
from laneway.local.packages import Report, silent
from laneway.local.ports import LOOPBACK, free_ports
from laneway.local.rundir import RunDirectory, write_private
from laneway.local.server import PrivateServer, start_with_retry
from laneway.local.signals import termination_raises

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER: Final = b"+OK\r\n+PONG\r\n"


class PrivateRedis(PrivateServer):
    """A running Redis of this run. Made by `start_redis`."""

    kind = "Redis"

    def __init__(self, run: RunDirectory, program: Path) -> None:
        """For `start_redis` only."""
        super().__init__(run, run.folder("redis"))
        self._program = program
        self._password = secrets.token_urlsafe(24)
        (self.port,) = free_ports(1)
        """Where clients connect on 127.0.0.1."""

    @property
    def url(self) -> str:
        """`redis://:PASSWORD@127.0.0.1:PORT/0`."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start the server; see `PrivateServer.start`."""
        config = redis_config(port=self.port, password=self._password)
        write_private(self._folder / "redis.conf", config)
        self.begin()

    def begin(self) -> None:
        """Start the server again after `stop`, on the same port and with nothing in it.

        Raises ServerStartFailed.
        """
        self._spawn(
            [str(self._program), str(self._folder / "redis.conf")],
            name="redis",
            environment={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        )
        self._wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return connection.makefile("rb").read(len(_ANSWER)) == _ANSWER
        except OSError:
            return False


def start_redis(run: RunDirectory, *, report: Report = silent) -> PrivateRedis:
    """Start a private Redis and wait until it answers.

    Raises ServerNotInstalled, InstallFailed or ServerStartFailed; then nothing is left of it.
    """
    with termination_raises():
        program = install_redis(report)
        server = start_with_retry(lambda: PrivateRedis(run, program))
    report(f"Redis listens on {LOOPBACK}:{server.port}")
    return server


def redis_config(*, port: int, password: str) -> str:
    """The server's configuration: loopback only, nothing written to disk."""
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f"requirepass {password}",
        "daemonize no",
        'logfile ""',
        'save ""',
        "appendonly no",
    ]
    return "\n".join(lines) + "\n"
