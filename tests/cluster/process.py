"""One server in a network namespace: started, waited for, asked how it is, ended by its own pid."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Final

from cluster.errors import StartFailed
from cluster.network import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_POLL_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 10.0


class Server:
    """A running server."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        netns: str,
        logs: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command` in the namespace; what it says goes to `logs`/`name`.log.

        Its environment is `environment` and a PATH: nothing of the tests' own reaches it.
        """
        self.name = name
        self.netns = netns
        self.log = logs / f"{name}.log"
        with self.log.open("ab") as output:
            # `ip netns exec` becomes the command, so the pid is the server's own. A session of
            # its own keeps the terminal's Ctrl-C from it: it is stopped in its turn.
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", netns, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(logs)}
                | dict(environment or {}),
            )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `is_ready` is true. Raises StartFailed after `seconds`, or if it ended."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if (code := self._process.poll()) is not None:
                raise StartFailed(
                    self.name, f"ended with code {code} before it was ready", self.log
                )
            if time.monotonic() > deadline:
                raise StartFailed(self.name, f"not ready after {seconds:g} seconds", self.log)
            time.sleep(_POLL_SECONDS)

    def answers(self, path: str, *, address: str, port: int, trusted: Path | None = None) -> bool:
        """Whether GET `path` says 200: over TLS if `trusted` says whose certificate is expected."""
        connection: http.client.HTTPConnection
        if trusted is None:
            connection = http.client.HTTPConnection(address, port, timeout=2)
        else:
            context = ssl.create_default_context(cafile=str(trusted))
            connection = http.client.HTTPSConnection(address, port, timeout=2, context=context)
        try:
            with inside(self.netns):
                connection.connect()
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
