"""A private RabbitMQ: own ports, user, data, Erlang cookie and port mapper."""

# ruff: noqa: S603 -- programs of the system, found in PATH; no argument comes from outside

from __future__ import annotations

import base64
import http.client
import json
import signal
import subprocess
from contextlib import suppress
from typing import Final

from laneway.local.broker43 import RUN_MOUNT
from laneway.local.errors import ServerCommandFailed, ServerNotInstalled
from laneway.local.install import RabbitMQPrograms, Series, install_rabbitmq
from laneway.local.packages import Report, silent
from laneway.local.ports import LOOPBACK
from laneway.local.rabbitmq_config import (
    ADVANCED_CONFIG,
    ENABLED_PLUGINS,
    NodeIdentity,
    node_environment,
    server_config,
)
from laneway.local.rundir import RunDirectory, write_private
from laneway.local.server import PrivateServer, accepts, start_with_retry
from laneway.local.signals import termination_raises

_CTL_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
# $1 the root folder, $2 the node's folder, $3 where it appears, then the command. The mounts
# live in a namespace that ends with the command; the root folder itself is read-only in it.
_ENTER_ROOT: Final = """
set -eu
root=$1 home=$2 seen=$3
shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$home" "$root$seen"
exec chroot "$root" "$@"
"""


class PrivateRabbitMQ(PrivateServer):
    """A running RabbitMQ of this run. Made by `start_rabbitmq`."""

    kind = "RabbitMQ"

    def __init__(
        self,
        run: RunDirectory,
        programs: RabbitMQPrograms,
        node: NodeIdentity | None = None,
        *,
        port_mapper: bool = True,
    ) -> None:
        """For `start_rabbitmq`, and for the nodes of a cluster: only one starts a port mapper."""
        super().__init__(run, run.folder("rabbitmq"))
        self._programs = programs
        self._port_mapper = port_mapper
        self._node = node or NodeIdentity.random()
        self._home = RUN_MOUNT if programs.root else self._folder
        self._environment = node_environment(self._node, home=self._home, programs=programs.folder)
        self._server: subprocess.Popen[bytes] | None = None
        self.version = ""
        """What the broker says it is, for example "4.3.6"."""

    @property
    def url(self) -> str:
        """`amqp://USER:PASSWORD@127.0.0.1:PORT`, without a vhost; the user may do everything."""
        return f"amqp://{self._node.user}:{self._node.password}@{LOOPBACK}:{self._node.amqp_port}"

    @property
    def port(self) -> int:
        """Where AMQP clients connect on 127.0.0.1."""
        return self._node.amqp_port

    @property
    def management_url(self) -> str:
        """`http://USER:PASSWORD@127.0.0.1:PORT`, the root of the management API."""
        node = self._node
        return f"http://{node.user}:{node.password}@{LOOPBACK}:{node.management_port}"

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl --quiet ARGUMENTS…` on this node and return what it prints.

        Takes about a second of CPU. Raises ServerCommandFailed.
        """
        shown = f"rabbitmqctl {arguments[0]}"
        try:
            result = subprocess.run(
                self._command("rabbitmqctl", "--quiet", *arguments),
                env={**self._environment, **self._run.environment},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_CTL_SECONDS,
            )
        except subprocess.TimeoutExpired as late:
            raise ServerCommandFailed(shown, f"no answer within {_CTL_SECONDS} s") from late
        if result.returncode != 0:
            raise ServerCommandFailed(shown, result.stdout + result.stderr)
        return result.stdout

    @property
    def node(self) -> NodeIdentity:
        """Its name, ports and secrets."""
        return self._node

    def restart(self, *, crash: bool = False) -> None:
        """Start the server again on the same ports and data, and wait until it answers.

        It is asked to end, or with `crash` killed on the spot. Raises ServerStartFailed.
        """
        self.end(crash=crash)
        self.begin()

    def end(self, *, crash: bool = False) -> None:
        """End the server, by asking it or with `crash` on the spot; what it stored stays.

        The port mapper goes on. `begin` starts it again. Calling it again does nothing.
        """
        server, self._server = self._server, None
        if server is None or server not in self._processes:
            return
        if not crash:
            server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(_STOP_SECONDS)
        self._processes.remove(server)
        self._run.kill(server.pid)

    def begin(self) -> None:
        """Start the server on what it stored, and wait until it answers.

        Raises ServerStartFailed.
        """
        self._start_server()

    def start(self) -> None:
        """Start the port mapper (if it has one), then the broker; see `PrivateServer.start`."""
        self._write_configuration()
        if self._port_mapper:
            self._spawn(
                self._command("epmd", "-port", str(self._node.epmd_port), "-address", LOOPBACK),
                name="epmd",
                environment=self._environment,
            )
            self._wait_until(lambda: accepts(self._node.epmd_port))
        self._start_server()

    def _start_server(self) -> None:
        self._spawn(
            self._command("rabbitmq-server"), name="rabbitmq", environment=self._environment
        )
        self._server = self._processes[-1]
        self._wait_until(self._answers)

    def _write_configuration(self) -> None:
        config = server_config(self._node, deny_transient_queues=self._programs.root is not None)
        write_private(self._folder / "rabbitmq.conf", config)
        write_private(self._folder / "advanced.config", ADVANCED_CONFIG)
        write_private(self._folder / "enabled_plugins", ENABLED_PLUGINS)
        write_private(self._folder / "rabbitmq-env.conf", "")
        write_private(self._folder / ".erlang.cookie", self._node.cookie)
        (self._folder / ".erlang.cookie").chmod(0o400)
        (self._folder / "conf.d").mkdir(mode=0o700)

    def _command(self, program: str, *arguments: str) -> list[str]:
        # epmd belongs to Erlang, not to RabbitMQ, and is in PATH.
        path = program if program == "epmd" else str(self._programs.folder / program)
        command = [path, *arguments]
        if self._programs.root is None:
            return command
        places = [str(self._programs.root), str(self._folder), str(self._home)]
        return ["unshare", "--mount", "sh", "-c", _ENTER_ROOT, "sh", *places, *command]

    def _answers(self) -> bool:
        """Whether both doors are open; notes the version that the broker reports."""
        # The AMQP door opens last; asking the API earlier puts errors into the log.
        if not accepts(self._node.amqp_port):
            return False
        login = base64.b64encode(f"{self._node.user}:{self._node.password}".encode()).decode()
        connection = http.client.HTTPConnection(LOOPBACK, self._node.management_port, timeout=5)
        try:
            connection.request("GET", "/api/overview", headers={"Authorization": f"Basic {login}"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if response.status != http.client.OK:
            return False
        self.version = str(json.loads(body)["rabbitmq_version"])
        return True


def start_rabbitmq(
    run: RunDirectory, *, series: Series = "auto", report: Report = silent
) -> PrivateRabbitMQ:
    """Start a private RabbitMQ and wait until it answers, AMQP and management API.

    `series` says which; what is not installed is installed first where that is possible.
    Raises ServerNotInstalled, InstallFailed or ServerStartFailed; then nothing is left of it.
    """
    with termination_raises():
        programs = install_rabbitmq(series, report)
        server = start_with_retry(lambda: PrivateRabbitMQ(run, programs))
    if series != "auto" and not server.version.startswith(f"{series}."):
        server.stop()
        raise ServerNotInstalled(
            f"expected RabbitMQ {series}, but {programs.folder} holds {server.version}; "
            'ask for series "auto" to use it'
        )
    report(f"RabbitMQ {server.version} listens on {LOOPBACK}:{server.port}")
    return server
