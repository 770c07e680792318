"""The control plane: etcd, API server, controller manager and scheduler in a network of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster import certificates, network, programs, reaper
from cluster.certificates import Authority, service_account_key
from cluster.clients import Clients
from cluster.kubeconfig import write_kubeconfig
from cluster.parts import Parts
from laneway.local.signals import termination_raises

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

API_PORT: Final = 6443


class Plane:
    """A running control plane. Made by `plane()`, gone at the end of its block.

    Everything lives in network namespaces made for it, on 10.89.0.0/16, which exists nowhere else.
    No address of the machine is used and nothing outside can reach it.
    """

    kubeconfig: Path
    """The administrator's KUBECONFIG. It works inside the plane's namespaces only."""
    netns: str
    """The network namespace of the control plane, as ``ip netns exec`` takes it."""
    address: str
    """The address of the control plane, in every attached namespace: 10.89.0.1."""
    server: str
    """The API server's URL: https://10.89.0.1:6443."""
    folder: Path
    """The plane's own folder, which goes with it."""
    logs: Path
    """The folder with one log per part: etcd.log, kube-apiserver.log, ..."""
    authority: Authority
    """Signs certificates that the API server trusts, and that all clients trust."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder
        self.logs = logs
        self._network = network.Network(folder)
        self.netns = self._network.netns
        self.address = network.PLANE_ADDRESS
        self.server = f"https://{self.address}:{API_PORT}"
        self.certificates = folder / "certificates"
        self.authority = Authority(self.certificates, "ca")
        self.service_accounts = service_account_key(self.certificates)
        self._clients_made = 0
        self.kubeconfig = self.kubeconfig_for("administrator", "system:masters")
        self._clients = Clients(self.kubeconfig, folder, prefix=self.command())

    def attach(self, name: str) -> str:
        """Make the namespace `name` in the plane's network and return its address in it.

        All attached namespaces reach each other and the control plane; nothing else.
        `name`: 1 to 200 letters, digits, dots and dashes. Raises ValueError if it is taken.
        """
        return self._network.attach(name)

    def detach(self, name: str) -> None:
        """Remove the namespace `name`. What still runs in it is killed."""
        self._network.detach(name)

    def netns_of(self, name: str) -> str:
        """What ``ip netns exec`` calls the attached namespace `name`.

        Processes started by ``ip netns exec`` see the plane's /etc/hosts and no name server.
        """
        return self._network.netns_of(name)

    def command(self, name: str | None = None) -> tuple[str, ...]:
        """What goes before a command to run it in the namespace `name` (None: the plane's)."""
        return ("ip", "netns", "exec", self.netns if name is None else self.netns_of(name))

    def inside(self, name: str | None = None) -> AbstractContextManager[None]:
        """This thread makes its sockets in the namespace `name` (None: the plane's) in the block.

        A socket stays where it was made, so a server bound inside can be served from outside.
        """
        return network.inside(self.netns if name is None else self.netns_of(name))

    @property
    def hosts(self) -> Mapping[str, str]:
        """Name to address, as every process of every attached namespace sees it.

        Setting it replaces what was set before, not what others gave by `name_hosts`.
        """
        return self._network.hosts

    @hosts.setter
    def hosts(self, names: Mapping[str, str]) -> None:
        self._network.name_hosts("", names)

    def name_hosts(self, owner: str, names: Mapping[str, str]) -> None:
        """Let everybody see `names` instead of those that the same `owner` gave before.

        The file that all attached namespaces share is rewritten, so running processes see it too.
        """
        self._network.name_hosts(owner, names)

    def kubeconfig_for(self, user: str, *groups: str) -> Path:
        """A KUBECONFIG with a client certificate of `user` in `groups`.

        A node's is ``kubeconfig_for("system:node:NAME", "system:nodes")``.
        """
        self._clients_made += 1
        pair = self.authority.client(f"client-{self._clients_made}", user, groups)
        return write_kubeconfig(
            pair.certificate.with_suffix(".kubeconfig"),
            server=self.server,
            authority=self.authority.certificate,
            pair=pair,
        )

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """What ``kubectl ARGUMENTS`` prints, as the administrator.

        Raises CommandFailed if it ends with another code than 0 or takes longer than `seconds`.
        """
        return self._clients.kubectl(*arguments, stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """What ``helm ARGUMENTS`` prints, as the administrator; raises like `kubectl`."""
        return self._clients.helm(*arguments, stdin=stdin, seconds=seconds)


def check() -> None:
    """Raise ClusterUnavailable, with the cure, unless this machine can run a plane."""
    for program in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        programs.kubernetes(program)
    programs.client("kubectl")
    programs.client("helm")
    network.check()
    certificates.check()


@contextmanager
def plane(logs: Path | None = None) -> Iterator[Plane]:
    """Start a control plane for the block. About ten seconds, and 500 MB of memory.

    `logs`: an existing folder for the logs; None is a new one, which stays only if the block
    raises. Raises ClusterUnavailable if this machine cannot, StartFailed if a part does not start.
    """
    check()
    reaper.remove_abandoned()
    with termination_raises(), ExitStack() as ending:
        folder = reaper.make_folder()
        ending.enter_context(_removed_in_the_end(folder))
        made = Plane(folder, logs.absolute() if logs else ending.enter_context(_own_logs()))
        parts = Parts(made)
        ending.callback(parts.stop)
        parts.start()
        yield made


@contextmanager
def _own_logs() -> Iterator[Path]:
    """A folder for logs that stays if the block fails: the error names what is in it."""
    folder = Path(tempfile.mkdtemp(prefix="laneway-logs-"))
    failed = False
    try:
        yield folder
    except Exception:
        failed = True
        raise
    finally:
        if not failed:
            shutil.rmtree(folder)


@contextmanager
def _removed_in_the_end(folder: Path) -> Iterator[None]:
    """Remove the plane's network and folder after the block, or by another process after ours."""
    with subprocess.Popen(
        [sys.executable, "-P", reaper.__file__, str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
