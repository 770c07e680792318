"""The plane's network: namespaces on one bridge, with addresses that exist nowhere else."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster import reaper
from cluster.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The control plane's address. Attached namespaces are 10.89.1.1 and up.
PLANE_ADDRESS: Final = "10.89.0.1"
_PREFIX_LENGTH: Final = 16
_BRIDGE: Final = "02:00:0a:59:00:01"
_HOSTS_A_BLOCK: Final = 250
_BLOCKS: Final = 250
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,199}")
_CLONE_NEWNET: Final = 0x40000000


class Network:
    """Namespaces of one plane. Root only; nothing is added to the machine's own namespace."""

    def __init__(self, folder: Path) -> None:
        self._mark = reaper.mark_of(folder)
        self._hosts_file = folder / "hosts"
        self._resolver_file = folder / "resolv.conf"
        self._addresses: dict[str, str] = {}
        self._used = 0
        self._hosts: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        # No server is named: a name that is in no hosts file is unknown at once.
        self._resolver_file.write_text("# names come from the hosts file only\n")
        self._write_hosts()
        self.netns = f"{self._mark}plane"
        self._add_namespace(self.netns)
        _ip(
            # An address of its own. Otherwise it is the lowest of its legs, and changes with them:
            # whoever knows the old one then waits for half a minute.
            f"-n {self.netns} link add bridge0 address {_BRIDGE} type bridge",
            f"-n {self.netns} addr add {PLANE_ADDRESS}/{_PREFIX_LENGTH} dev bridge0",
            f"-n {self.netns} link set bridge0 up",
        )

    def attach(self, name: str) -> str:
        """Add the namespace `name` to the bridge; its address. No address is given out twice."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"expected 1 to 200 letters, digits, dots and dashes, got: {name!r}")
        with self._lock:
            if name in self._addresses or name == "plane":
                raise ValueError(f"expected a new name, got: {name!r}, which is attached already")
            number = self._used
            self._used += 1
            if number >= _BLOCKS * _HOSTS_A_BLOCK:
                raise ValueError(f"expected fewer than {number} namespaces in one plane's life")
            block, host = divmod(number, _HOSTS_A_BLOCK)
            address = f"10.89.{block + 1}.{host + 1}"
            self._addresses[name] = address
        netns, leg = self.netns_of(name), f"leg{number}"
        self._add_namespace(netns)
        _ip(
            f"-n {self.netns} link add {leg} type veth peer name eth0 netns {netns}",
            f"-n {self.netns} link set {leg} master bridge0 up",
            f"-n {netns} addr add {address}/{_PREFIX_LENGTH} dev eth0",
            f"-n {netns} link set eth0 up",
        )
        return address

    def detach(self, name: str) -> None:
        """Remove the namespace with all that runs in it."""
        netns = self.netns_of(name)
        reaper.remove_namespace(netns)
        with self._lock:
            del self._addresses[name]

    def netns_of(self, name: str) -> str:
        """The system's name of an attached namespace. Raises ValueError if there is none."""
        with self._lock:
            if name not in self._addresses:
                raise ValueError(
                    f"expected an attached namespace, got: {name!r}; "
                    f"attached are: {', '.join(self._addresses) or 'none'}"
                )
        return f"{self._mark}{name}"

    @property
    def hosts(self) -> Mapping[str, str]:
        """Name to address, as all namespaces see it."""
        with self._lock:
            return {name: where for names in self._hosts.values() for name, where in names.items()}

    def name_hosts(self, owner: str, names: Mapping[str, str]) -> None:
        """Let all namespaces see `names` instead of those that `owner` gave before."""
        with self._lock:
            self._hosts[owner] = dict(names)
            self._write_hosts()

    def _write_hosts(self) -> None:
        kubernetes = "kubernetes kubernetes.default kubernetes.default.svc"
        lines = ["127.0.0.1 localhost", f"{PLANE_ADDRESS} {kubernetes}"]
        for names in self._hosts.values():
            lines += [f"{address} {name}" for name, address in names.items()]
        text = "".join(f"{line}\n" for line in lines).encode()
        # The file is mounted into running processes, so it is changed in place. One write, and
        # the cut after it, leave no moment at which a name that stays is missing.
        with os.fdopen(os.open(self._hosts_file, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            file.write(text)
            file.flush()
            file.truncate(len(text))

    def _add_namespace(self, netns: str) -> None:
        etc = reaper.ETC / netns
        etc.mkdir(parents=True)
        (etc / "hosts").symlink_to(self._hosts_file)
        (etc / "resolv.conf").symlink_to(self._resolver_file)
        _ip(f"netns add {netns}", f"-n {netns} link set lo up")


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """This thread makes its sockets in the namespace; they stay there after the block."""
    with (
        Path(f"/proc/self/task/{threading.get_native_id()}/ns/net").open("rb") as own,
        Path(f"/run/netns/{netns}").open("rb") as there,
    ):
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def check() -> None:
    """Raise ClusterUnavailable unless this machine can make network namespaces."""
    if os.geteuid() != 0:
        raise ClusterUnavailable("network namespaces need root: run the cluster tests as root")
    try:
        subprocess.run(["ip", "netns", "list"], capture_output=True, check=True)
    except FileNotFoundError:
        raise ClusterUnavailable(
            "the program `ip` is missing: install the package iproute2"
        ) from None
    except subprocess.CalledProcessError as problem:
        raise ClusterUnavailable(
            f"`ip netns list` fails here: {problem.stderr.decode(errors='replace').strip()}"
        ) from None


def _ip(*commands: str) -> None:
    for command in commands:
        done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"ip {command}: expected exit code 0, got: {done.stderr.strip()}")
