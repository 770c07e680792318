"""A node as a test has it: it is started, it may die, and nothing is left of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from cluster.node.image import closed_folders
from cluster.node.process import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.certificates import Authority
    from cluster.node.image import Image

_TESTS: Final = Path(__file__).parents[2]
_PATIENCE: Final = 10.0
_CAPACITY: Final = {"cpu": "64", "memory": "128Gi", "pods": "110", "ephemeral-storage": "64Gi"}


class Cluster(Protocol):
    """What a node needs of :class:`cluster.plane.Plane`."""

    kubeconfig: Path
    #: It goes with the cluster, whatever happens to the tests.
    folder: Path
    #: Signs what the API server trusts.
    authority: Authority

    def attach(self, name: str) -> str:
        """Make a network namespace; its address."""

    def detach(self, name: str) -> None:
        """Remove it, and what runs in it."""

    def netns_of(self, name: str) -> str:
        """What ``ip netns`` calls it."""


class Node:
    """A node; use as a context manager.

    It speaks to the API server as the administrator, and watches all Secrets: the rights of a real
    node are not what is tested here.

    Args:
        cluster: where it joins.
        name: its name.
        images: what its pods may ask for.
        logs: a folder for the output of containers, and of the node itself.
        labels: besides those of every node, for example ``topology.kubernetes.io/zone``.
        capacity: ``cpu``, ``memory`` and ``pods``, where they differ from plenty.
        lease_period: seconds between two signs of life.
        on_names: called with the names of Services whenever they changed, in a thread.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        images: Mapping[str, Image],
        logs: Path,
        labels: Mapping[str, str] | None = None,
        capacity: Mapping[str, str] | None = None,
        lease_period: float = 4.0,
        on_names: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.logs = logs
        self._cluster = cluster
        self._images = images
        self._labels = dict(labels or {})
        self._capacity = {**_CAPACITY, **(capacity or {})}
        self._lease_period = lease_period
        self._on_names = on_names
        self._attached: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread()
        self._folder = Path()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; it registers itself soon after."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self._cluster.folder))
        address = self._cluster.attach(self.name)
        self._attached.add(self.name)
        authority = self._cluster.authority
        serving = authority.server(self.name, addresses=[address])
        orders = {
            "name": self.name,
            "address": address,
            "kubeconfig": str(self._cluster.kubeconfig),
            "folder": str(self._folder),
            "logs": str(self.logs),
            "images": {name: image.as_json() for name, image in self._images.items()},
            "open_folders": closed_folders(),
            "labels": self._labels,
            "capacity": self._capacity,
            "lease_period": self._lease_period,
            "serving": {
                "certificate": str(serving.certificate),
                "key": str(serving.key),
                "authority": str(authority.certificate),
            },
        }
        netns = NETWORKS / self._cluster.netns_of(self.name)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
                    # New network namespaces are to be seen inside, and mounts not outside.
                    *("--propagation", "slave", "nsenter", f"--net={netns}"),
                    *(sys.executable, "-P", "-m", "cluster.node.agent"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "PYTHONPATH": str(_TESTS),
                },
            )
        self._send(orders)
        self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Pull the plug: the agent and all pods are gone, and nobody is told.

        First no packet leaves any more, so that whoever is at the other end of a connection has to
        find out too. The Node object and its pods stay as they are, for the control plane.
        """
        for name in sorted(self._attached):
            # A pod may be over just now.
            with suppress(ValueError):
                netns = self._cluster.netns_of(name)
                subprocess.run(["ip", "-n", netns, "link", "set", "eth0", "down"], check=False)
        self.stop()

    def stop(self) -> None:
        """End it and all its pods at once; connections of theirs are closed by the system."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        self._thread.join(_PATIENCE)
        assert process.stdout is not None
        process.stdout.close()
        for name in sorted(self._attached):
            self._cluster.detach(name)
        self._attached.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """What the agent said."""
        return self.logs / f"{self.name}.log"

    # -- the pipe ----------------------------------------------------------------------------

    def _serve(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        for line in process.stdout:
            document = json.loads(line)
            if "names" in document:
                self._on_names(document["names"])
            else:
                self._send(self._answer(document))

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        number, name = asked["id"], asked["name"]
        try:
            if asked["ask"] == "attach":
                address = self._cluster.attach(name)
                self._attached.add(name)
                netns = self._cluster.netns_of(name)
                return {"id": number, "address": address, "netns": netns}
            self._cluster.detach(name)
            self._attached.discard(name)
        except (OSError, ValueError, KeyError) as error:
            return {"id": number, "error": str(error)}
        return {"id": number}

    def _send(self, document: object) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(document).encode() + b"\n")
            process.stdin.flush()
