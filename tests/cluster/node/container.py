"""A container: started again as its pod says, asked by its probes, and ended in good order."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster.node.environment import command_line, expand, variables
from cluster.node.errors import CannotStart
from cluster.node.image import find_image
from cluster.node.probes import Probe
from cluster.node.process import Process
from cluster.node.root import Mount, enter
from cluster.node.security import Rights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.node.environment import Document
    from cluster.node.host import Host
    from cluster.node.process import Command
    from cluster.node.volumes import Volumes

#: Seconds that a container has after its hook, however long that took.
_LEAST_GRACE: Final = 2.0
_MESSAGE: Final = 4096


class Container:
    """One container of a pod.

    Args:
        spec: its part of the pod's spec.
        pod: the pod's document, with the address in its status.
        host: the node.
        volumes: the pod's.
        hosts: the pod's /etc/hosts.
        network: the name of the pod's network namespace, once it has one.
        again: whether it is started again after an exit code.
        changed: called when its status is another one.
    """

    def __init__(
        self,
        spec: Document,
        *,
        pod: Document,
        host: Host,
        volumes: Volumes,
        hosts: Path,
        network: Callable[[], str],
        again: Callable[[int], bool],
        changed: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.restarts = 0
        self.ready = False
        self.started = False
        self.state: Document = {"waiting": {"reason": "PodInitializing"}}
        self.last_state: Document = {}
        #: Set once it started so far that the next one may start.
        self.is_up = asyncio.Event()
        self._pod = pod
        self._host = host
        self._volumes = volumes
        self._hosts = hosts
        self._network = network
        self._again = again
        self._changed = changed
        self._process: Process | None = None
        self._told = asyncio.Event()
        self._over = asyncio.Event()
        self._grace: float = pod["spec"].get("terminationGracePeriodSeconds", 30)
        meta = pod["metadata"]
        self._stem = f"{meta['namespace']}_{meta['name']}_{self.name}"

    # -- what it is told ---------------------------------------------------------------------

    async def keep(self) -> int:
        """Run it, again and again as its pod says; returns its last exit code."""
        wait = 0.0
        code = 0
        try:
            while not self._told.is_set():
                try:
                    code = await self._once()
                except CannotStart as why:
                    self._set({"waiting": {"reason": why.reason, "message": why.message}})
                    code = 128
                    await self._pause(self._host.again)
                    continue
                if self._told.is_set() or not self._again(code):
                    break
                if wait:
                    message = f"back-off {wait:g}s restarting failed container={self.name}"
                    self.last_state = self.state
                    self._set({"waiting": {"reason": "CrashLoopBackOff", "message": message}})
                    await self._pause(wait)
                else:
                    self.last_state = self.state
                wait = min(2 * wait or self._host.backoff, self._host.longest_backoff)
                self.restarts += 1
        finally:
            self._over.set()
        return code

    async def stop(self, grace: float) -> None:
        """End it: its hook, SIGTERM, and SIGKILL when the grace period is over."""
        self._told.set()
        self._mark(ready=False)
        await self._end(grace)

    def kill(self) -> None:
        """End it now."""
        self._told.set()
        if self._process is not None:
            self._process.send(signal.SIGKILL)

    @property
    def status(self) -> Document:
        """Its entry in the pod's status."""
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": f"tests://{self.spec['image']}",
            "containerID": f"tests://{self._pod['metadata']['uid']}/{self.name}/{self.restarts}",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }

    async def open_command(self, command: Sequence[str], *, stdin: bool) -> Command:
        """Start a command beside what runs.

        Raises:
            LookupError: nothing does.
        """
        if self._process is None:
            raise LookupError(f"container {self.name} does not run: {self.state}")
        return await self._process.open(command, stdin=stdin)

    def log(self, run: int | None = None) -> Path:
        """The output of one run, the last one if none is named."""
        return self._host.logs / f"{self._stem}_{self.restarts if run is None else run}.log"

    # -- one run -----------------------------------------------------------------------------

    async def _once(self) -> int:
        began = _now()
        message = self._message_file()
        self._process = process = await self._start(message)
        if self._told.is_set():
            process.send(signal.SIGKILL)
        self._set({"running": {"startedAt": began}})
        beside = asyncio.create_task(self._beside_or_kill(process))
        code = await process.wait()
        beside.cancel()
        with suppress(asyncio.CancelledError):
            await beside
        self._process = None
        self.ready = self.started = False
        self._set({
            "terminated": {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                "message": message.read_text(errors="replace")[:_MESSAGE],
                "startedAt": began,
                "finishedAt": _now(),
            }
        })  # fmt: skip
        return code

    async def _start(self, message: Path) -> Process:
        host, namespace = self._host, self._pod["metadata"]["namespace"]
        image = find_image(self.spec["image"], host.images)
        rights = Rights.of(self._pod, self.spec, image)
        found = variables(
            self.spec,
            self._pod,
            host.objects,
            first={"HOME": "/", **image.environment, "HOSTNAME": self._pod["metadata"]["name"]},
            services=host.around.services(namespace),
        )
        line = command_line(self.spec, image.entrypoint, image.command, found)
        base = message.parent / "root"
        base.mkdir(exist_ok=True)
        resolver = message.parent / "resolv.conf"
        resolver.write_text("options timeout:1 attempts:1\n")
        mounts = [
            *(
                Mount(source=Path(source), target=target, read_only=True)
                for target, source in image.files.items()
            ),
            Mount(source=self._hosts, target="/etc/hosts"),
            Mount(source=resolver, target="/etc/resolv.conf"),
            Mount(
                source=message,
                target=self.spec.get("terminationMessagePath") or "/dev/termination-log",
            ),
            *self._volumes.mounts(self.spec, found),
        ]
        script = enter(
            base,
            mounts=mounts,
            open_folders=host.open_folders,
            hostname=self._pod["spec"].get("hostname") or self._pod["metadata"]["name"],
            work_folder=expand(self.spec.get("workingDir") or image.work_folder, found),
            read_only=rights.read_only_root,
            command=[*rights.command(), *line],
        )
        return await Process.start(
            script,
            network=self._network(),
            log=self.log(),
            environment=found,
            rights=rights.command(),
        )

    def _message_file(self) -> Path:
        folder: Path = self._host.folder / self._pod["metadata"]["uid"] / "containers" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "message"
        file.write_bytes(b"")
        file.chmod(0o666)
        return file

    # -- beside it ---------------------------------------------------------------------------

    async def _beside_or_kill(self, process: Process) -> None:
        try:
            await self._beside(process)
        except CannotStart as why:
            self._say(why.message)
            process.send(signal.SIGKILL)

    async def _beside(self, process: Process) -> None:
        """The hook after the start, then the probes, as long as it runs."""
        began = asyncio.get_running_loop().time()
        if hook := (self.spec.get("lifecycle") or {}).get("postStart"):
            wrong = await self._ask(hook, process, self._grace)
            if wrong is not None:
                self._say(f"postStart hook failed: {wrong}")
                await self._end(self._grace)
                return
        if startup := self.spec.get("startupProbe"):
            probe = Probe.of(startup)
            async for well, wrong in self._verdicts(probe, process, began):
                if well:
                    break
                self._say(f"startup probe failed: {wrong}")
                await self._end(probe.grace or self._grace)
                return
        self._mark(started=True, ready="readinessProbe" not in self.spec)
        self.is_up.set()
        await asyncio.gather(self._liveness(process, began), self._readiness(process, began))

    async def _liveness(self, process: Process, began: float) -> None:
        if spec := self.spec.get("livenessProbe"):
            probe = Probe.of(spec)
            async for well, wrong in self._verdicts(probe, process, began):
                if not well:
                    self._say(f"liveness probe failed: {wrong}")
                    await self._end(probe.grace or self._grace)
                    return

    async def _readiness(self, process: Process, began: float) -> None:
        if spec := self.spec.get("readinessProbe"):
            async for well, wrong in self._verdicts(Probe.of(spec), process, began):
                if self.ready and not well:
                    self._say(f"readiness probe failed: {wrong}")
                self._mark(ready=well and not self._told.is_set())

    def _verdicts(self, probe: Probe, process: Process, began: float) -> Any:
        return probe.verdicts(lambda: self._ask(probe.action, process, probe.timeout), began)

    async def _ask(self, action: Document, process: Process, seconds: float) -> str | None:
        return await self._host.prober.ask(
            action,
            container=self.spec,
            address=self._pod["status"]["podIP"],
            process=process,
            seconds=seconds,
        )

    async def _end(self, grace: float) -> None:
        """End this run; whether another one follows is not decided here."""
        process, loop = self._process, asyncio.get_running_loop()
        if process is None:
            return
        until = loop.time() + grace
        if grace and (hook := (self.spec.get("lifecycle") or {}).get("preStop")):
            try:
                async with asyncio.timeout(grace):
                    wrong = await self._ask(hook, process, grace)
            except TimeoutError:
                wrong = f"took longer than {grace:g} s"
            if wrong is not None:
                self._say(f"preStop hook failed: {wrong}")
            until = max(until, loop.time() + _LEAST_GRACE)
        if grace:
            process.send(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await process.wait()
                    return
            self._say(f"still running after {grace:g} s: killed")
        process.send(signal.SIGKILL)
        await process.wait()

    # -- small things ------------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)

    def _set(self, state: Document) -> None:
        self.state = state
        self._changed()

    def _mark(self, *, ready: bool, started: bool | None = None) -> None:
        before = (self.ready, self.started)
        self.ready = ready
        if started is not None:
            self.started = started
        if before != (self.ready, self.started):
            self._changed()

    def _say(self, text: str) -> None:
        print(f"{self._stem}: {text}", file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
