"""The control plane: etcd, API server, controller manager and scheduler in a network of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path


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
    logs: Path
    """The folder with one log per part: etcd.log, kube-apiserver.log, ..."""
    certificates: Path
    """The folder with ca.crt, which every client of the API server trusts."""

    def attach(self, name: str) -> str:
        """Make the namespace `name` in the plane's network and return its address in it.

        All attached namespaces reach each other and the control plane; nothing else.
        `name`: 1 to 40 letters, digits, dots and dashes. Raises ValueError if it is taken.
        """
        raise NotImplementedError

    def detach(self, name: str) -> None:
        """Remove the namespace `name`. What still runs in it is killed."""
        raise NotImplementedError

    def netns_of(self, name: str) -> str:
        """What ``ip netns exec`` calls the attached namespace `name`.

        Processes started by ``ip netns exec`` see the plane's /etc/hosts and no name server.
        """
        raise NotImplementedError

    @property
    def hosts(self) -> Mapping[str, str]:
        """Name to address, as every process of every attached namespace sees it.

        Setting it rewrites the file that all of them share, so running processes see it too.
        """
        raise NotImplementedError

    @hosts.setter
    def hosts(self, names: Mapping[str, str]) -> None:
        raise NotImplementedError

    def inside(self, name: str | None = None) -> AbstractContextManager[None]:
        """This thread makes its sockets in the namespace `name` (None: the plane's) in the block.

        A socket stays where it was made, so a server bound inside can be served from outside.
        """
        raise NotImplementedError

    def kubeconfig_for(self, user: str, *groups: str) -> Path:
        """A KUBECONFIG with a client certificate of `user` in `groups`.

        A node's is ``kubeconfig_for("system:node:NAME", "system:nodes")``.
        """
        raise NotImplementedError

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """What ``kubectl ARGUMENTS`` prints, as the administrator.

        Raises CommandFailed if it ends with another code than 0 or takes longer than `seconds`.
        """
        raise NotImplementedError

    def helm(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """What ``helm ARGUMENTS`` prints, as the administrator; raises like `kubectl`."""
        raise NotImplementedError


def plane(logs: Path | None = None) -> AbstractContextManager[Plane]:
    """Start a control plane for the block.

    Raises ClusterUnavailable if this machine cannot, StartFailed if a part does not start.
    """
    raise NotImplementedError


