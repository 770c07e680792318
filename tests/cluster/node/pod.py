"""A pod: its containers one after the other and side by side, from its first to its last moment."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cluster.node.container import Container
from cluster.node.errors import CannotStart
from cluster.node.status import Phase, now, pod_status
from cluster.node.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster.node.environment import Document
    from cluster.node.host import Host

_DEFAULT_GRACE: Final = 30.0


class Pod:
    """One pod on this node.

    Args:
        document: as the API has it; only its name, uid and spec are looked at.
        host: the node.
        changed: called when :attr:`status` is another one.
    """

    def __init__(
        self, document: Document, host: Host, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.document = {**document, "status": {"hostIP": host.address}}
        self.phase: Phase = "Pending"
        self._host = host
        self._changed = changed
        meta, spec = document["metadata"], document["spec"]
        self.uid: str = meta["uid"]
        self.namespace: str = meta["namespace"]
        self.name: str = meta["name"]
        self.network = f"pod-{self.uid[:13]}"
        self._netns = ""
        self._folder = host.folder / self.uid
        self._hosts = self._folder / "hosts"
        self.volumes = Volumes(self._folder / "volumes", document, host.objects, self._token)
        self._init = [self._container(each) for each in spec.get("initContainers") or ()]
        self._main = [self._container(each) for each in spec["containers"]]
        self._initialized = not self._init
        self._why_not: CannotStart | None = None
        self._begun = now()
        self._told = asyncio.Event()
        self._grace: float = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
        self._conditions: dict[str, Document] = {}
        self._tasks: list[asyncio.Task[int]] = []

    # -- what it is told ---------------------------------------------------------------------

    async def run(self) -> Phase:
        """Its whole life; returns its last phase, when nothing of it is left but logs."""
        try:
            if await self._prepare() and await self._initialize():
                await self._serve()
            if self._told.is_set():
                await self._stop([*self._init, *self._main])
            self._settle()
        finally:
            for container in (*self._init, *self._main):
                container.kill()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.volumes.remove()
            if self._address:
                await self._host.network.detach(self.network)
            shutil.rmtree(self._folder, ignore_errors=True)
        self._changed()
        return self.phase

    def terminate(self, grace: float) -> None:
        """End it within so many seconds; 0 kills. A later call may only shorten."""
        self._grace = grace
        self._told.set()
        if grace == 0:
            for container in (*self._init, *self._main):
                container.kill()

    def refresh(self) -> None:
        """Bring Secrets, ConfigMaps and the names of Services up to date."""
        if not self._address or self._told.is_set():
            return
        with suppress(CannotStart):
            self.volumes.refresh()
        self._write_hosts()

    @property
    def was_told(self) -> bool:
        """Whether it was told to end."""
        return self._told.is_set()

    @property
    def status(self) -> Document:
        """As the API is told."""
        status = pod_status(
            phase=self.phase,
            address=self._address,
            host_address=self._host.address,
            start_time=self._begun,
            initialized=self._initialized,
            init_containers=self._init,
            containers=self._main,
            before=self._conditions,
            generation=self.document["metadata"].get("generation"),
        )
        self._conditions = {each["type"]: each for each in status["conditions"]}
        if self._why_not is not None:
            status["message"] = self._why_not.message
        return status

    def container(self, name: str) -> Container:
        """One of its containers. Raises LookupError if it has none of this name."""
        for each in (*self._init, *self._main):
            if each.name == name:
                return each
        raise LookupError(f"pod {self.namespace}/{self.name} has no container {name}")

    def logs(self) -> dict[str, Path]:
        """Where the output of each container's last run is."""
        return {each.name: each.log() for each in (*self._init, *self._main)}

    # -- its life, in order ------------------------------------------------------------------

    async def _prepare(self) -> bool:
        """Network and volumes; False if it is told to end before they are there."""
        self._folder.mkdir(parents=True)
        address, self._netns = await self._host.network.attach(self.network)
        self.document["status"] |= {"podIP": address}
        self._write_hosts()
        while not self._told.is_set():
            try:
                await self.volumes.prepare()
            except CannotStart as why:
                self._why_not = why
                self._changed()
                await self._pause(self._host.again)
            else:
                self._why_not = None
                return True
        return False

    async def _initialize(self) -> bool:
        """Init containers, each after the one before it; False if no other may follow."""
        for container in self._init:
            if self._told.is_set():
                return False
            task = self._start(container)
            if _is_sidecar(container.spec):
                up = asyncio.create_task(container.is_up.wait())
                if await self._first(up, task) is not up:
                    up.cancel()
                    return False
            elif await self._first(task) is not task:
                return False
            elif task.result() != 0:
                self.phase = "Failed"
                return False
            else:
                container.ready = True
        self._initialized = True
        return not self._told.is_set()

    async def _serve(self) -> None:
        """The containers, until all ended or the pod is told to end."""
        self.phase = "Running"
        ended = asyncio.gather(*(self._start(container) for container in self._main))
        if await self._first(ended) is not ended:
            await self._stop(self._main)
        codes = await ended
        self.phase = "Failed" if any(codes) else "Succeeded"
        for container in reversed(self._init):
            await container.stop(self._grace)

    async def _first(self, *tasks: asyncio.Future[Any]) -> asyncio.Future[Any] | None:
        """The first of these that ends; None if the pod is told to end before."""
        told = asyncio.create_task(self._told.wait())
        await asyncio.wait({*tasks, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        return next((task for task in tasks if task.done()), None)

    async def _stop(self, containers: list[Container]) -> None:
        """End these at the same time; a grace period that is shortened meanwhile counts."""
        await asyncio.gather(*(container.stop(self._grace) for container in containers))

    def _settle(self) -> None:
        """What is neither running nor failed ended, one way or the other."""
        if self.phase in {"Pending", "Running"} and self._told.is_set():
            self.phase = "Failed"

    # -- parts -------------------------------------------------------------------------------

    @property
    def _address(self) -> str:
        return str(self.document["status"].get("podIP", ""))

    def _container(self, spec: Document) -> Container:
        return Container(
            spec,
            pod=self.document,
            host=self._host,
            volumes=self.volumes,
            hosts=self._hosts,
            network=lambda: self._netns,
            again=self._again(spec),
            changed=self._changed,
        )

    def _again(self, spec: Document) -> Callable[[int], bool]:
        policy = self.document["spec"].get("restartPolicy", "Always")
        if _is_sidecar(spec):
            return lambda _: True
        is_init = spec in (self.document["spec"].get("initContainers") or ())
        if policy == "Always" and not is_init:
            return lambda _: True
        return (lambda _: False) if policy == "Never" else (lambda code: code != 0)

    def _start(self, container: Container) -> asyncio.Task[int]:
        task = asyncio.create_task(container.keep())
        self._tasks.append(task)
        return task

    def _write_hosts(self) -> None:
        """Names of the pod itself, of ``hostAliases`` and of Services.

        The file is mounted, so it is written over and not replaced: readers may for a moment see
        the end of what was there before, but never nothing.
        """
        spec = self.document["spec"]
        lines = ["127.0.0.1 localhost", f"{self._address} {spec.get('hostname') or self.name}"]
        lines += [
            f"{alias['ip']} {' '.join(alias.get('hostnames', ()))}"
            for alias in spec.get("hostAliases") or ()
        ]
        names = self._host.around.names(self.namespace)
        lines += [f"{address} {name}" for name, address in sorted(names.items())]
        content = ("\n".join(lines) + "\n").encode()
        if self._hosts.exists():
            with self._hosts.open("r+b") as file:
                if file.read() != content:
                    file.seek(0)
                    file.write(content)
                    file.truncate()
        else:
            self._hosts.write_bytes(content)
            self._hosts.chmod(0o644)

    async def _token(self, asked: Document) -> bytes:
        account = self.document["spec"].get("serviceAccountName", "default")
        return await self._host.around.token(self.namespace, account, asked)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)


def _is_sidecar(spec: Document) -> bool:
    return bool(spec.get("restartPolicy") == "Always")
