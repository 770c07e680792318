"""The agent of one node: ``python -m cluster.node.agent``, the process that a node is.

Its orders are the first line of its standard input. When that ends, so does the node: whoever
started it is gone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from cluster.node.api import STRATEGIC, Api, ApiError, Change
from cluster.node.host import Host
from cluster.node.image import Image
from cluster.node.keeper import NodeKeeper
from cluster.node.maker import Maker
from cluster.node.pod import Pod
from cluster.node.probes import Prober
from cluster.node.server import Server
from cluster.node.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cluster.node.environment import Document
    from cluster.node.process import Command

_AGAIN: Final = 0.5


class Agent:
    """Runs the pods that are bound to one node.

    Args:
        orders: of :class:`cluster.node.node.Node`.
        api: the API server.
        maker: whoever started this, who makes network namespaces.
        prober: for probes.
    """

    def __init__(self, orders: Document, api: Api, maker: Maker, prober: Prober) -> None:
        self._api = api
        self._maker = maker
        self._services = Services()
        self._secrets: dict[tuple[str, str], Document] = {}
        self._config_maps: dict[tuple[str, str], Document] = {}
        self._pods: dict[str, Pod] = {}
        #: Of pods that were taken: what is told late about one that ended does not begin it again.
        self._taken: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._name: str = orders["name"]
        self._keeper = NodeKeeper(api, orders)
        self._server = Server(self, address=orders["address"], **orders["serving"])
        self._host = Host(
            name=self._name,
            address=orders["address"],
            folder=Path(orders["folder"]),
            logs=Path(orders["logs"]),
            images={name: Image.of_json(each) for name, each in orders["images"].items()},
            open_folders=tuple(orders["open_folders"]),
            network=maker,
            objects=self,
            around=self,
            prober=prober,
        )

    async def run(self) -> None:
        """Work, until cancelled."""
        await self._keeper.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keeper.renew())
            group.create_task(self._server.run())
            for path, note in (
                ("/api/v1/secrets", self._note_in(self._secrets)),
                ("/api/v1/configmaps", self._note_in(self._config_maps)),
                ("/api/v1/services", self._services.note_service),
                ("/apis/discovery.k8s.io/v1/endpointslices", self._services.note_slice),
            ):
                group.create_task(self._follow(path, note))
            group.create_task(self._follow_pods())

    # -- what pods look up -------------------------------------------------------------------

    def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Its data; None if there is none."""
        document = self._secrets.get((namespace, name))
        return None if document is None else _decoded(document.get("data"))

    def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Its data; None if there is none."""
        document = self._config_maps.get((namespace, name))
        if document is None:
            return None
        text = {key: value.encode() for key, value in (document.get("data") or {}).items()}
        return text | _decoded(document.get("binaryData"))

    def services(self, namespace: str) -> Iterable[Document]:
        """The Services of a namespace."""
        return self._services.of(namespace)

    def names(self, namespace: str) -> Mapping[str, str]:
        """The names of Services."""
        return self._services.names(namespace)

    async def token(self, namespace: str, account: str, asked: Document) -> bytes:
        """A token of a service account."""
        audience = asked.get("audience")
        spec = {
            "audiences": [audience] if audience else [],
            "expirationSeconds": asked.get("expirationSeconds", 3600),
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = await self._api.ask("POST", path, {"spec": spec})
        return str(answer["status"]["token"]).encode()

    # -- what the API server asks ------------------------------------------------------------

    async def open_command(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool
    ) -> Command:
        """Start a command in a container; raises LookupError if it does not run here."""
        for each in self._pods.values():
            if (each.namespace, each.name) == (namespace, pod):
                return await each.container(container).open_command(command, stdin=stdin)
        raise LookupError(f"pod {namespace}/{pod} does not run on node {self._name}")

    # -- watches -----------------------------------------------------------------------------

    def _note_in(self, known: dict[tuple[str, str], Document]) -> Callable[[Change], None]:
        def note(change: Change) -> None:
            if change.is_gone:
                known.pop(change.key, None)
            else:
                known[change.key] = change.document

        return note

    async def _follow(self, path: str, note: Callable[[Change], None]) -> None:
        async for change in self._api.follow(path):
            note(change)
            for pod in self._pods.values():
                pod.refresh()
            self._maker.tell_names(self._services.names(None))

    async def _follow_pods(self) -> None:
        chosen = f"spec.nodeName={self._name}"
        async for change in self._api.follow("/api/v1/pods", fieldSelector=chosen):
            self._note_pod(change)

    def _note_pod(self, change: Change) -> None:
        meta = change.document["metadata"]
        pod = self._pods.get(meta["uid"])
        deleted = "deletionTimestamp" in meta
        if change.is_gone:
            self._taken.discard(meta["uid"])
            if pod is not None:
                pod.terminate(0)
        elif pod is not None:
            if deleted:
                pod.terminate(meta.get("deletionGracePeriodSeconds") or 0)
        elif deleted:
            self._begin(self._remove(change.document))
        elif meta["uid"] not in self._taken and not _is_over(change.document):
            self._taken.add(meta["uid"])
            self._begin(self._run(change.document))

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- one pod -----------------------------------------------------------------------------

    async def _run(self, document: Document) -> None:
        changed = asyncio.Event()
        changed.set()
        pod = Pod(document, self._host, changed=changed.set)
        self._pods[pod.uid] = pod
        telling = asyncio.create_task(self._tell(pod, changed))
        try:
            await pod.run()
        except Exception as error:
            print(f"{pod.namespace}/{pod.name}: {error!r}", file=sys.stderr, flush=True)
            pod.phase = "Failed"
            raise
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
            del self._pods[pod.uid]
        await self._put_status(pod)
        # One that ended by itself stays until somebody deletes it.
        if pod.was_told:
            await self._remove(document)

    async def _tell(self, pod: Pod, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            await self._put_status(pod)

    async def _put_status(self, pod: Pod) -> None:
        body = {"metadata": {"uid": pod.uid}, "status": pod.status}
        await self._insist("PATCH", f"{_path(pod.document)}/status", body, STRATEGIC)

    async def _remove(self, document: Document) -> None:
        """Nothing of the pod runs any more: its object may go."""
        options = {
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": document["metadata"]["uid"]},
        }
        await self._insist("DELETE", _path(document), options)

    async def _insist(self, method: str, path: str, body: object, kind: str = "") -> None:
        """Ask until there is an answer; a pod that is gone needs none."""
        while True:
            try:
                await self._api.ask(method, path, body, kind=kind or "application/json")
            except ApiError as error:
                if error.code not in {404, 409}:
                    print(f"{method} {path}: {error}", file=sys.stderr, flush=True)
                return
            except httpx.HTTPError as error:
                print(f"{method} {path}: {error!r}", file=sys.stderr, flush=True)
                await asyncio.sleep(_AGAIN)
            else:
                return


def _is_over(document: Document) -> bool:
    return document["status"].get("phase") in {"Succeeded", "Failed"}


def _path(document: Document) -> str:
    meta = document["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


def _decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (data or {}).items()}


async def main() -> None:
    """Be a node until the standard input ends."""
    maker = await Maker.open()
    orders = json.loads(await maker.line())
    async with Api(Path(orders["kubeconfig"])) as api, Prober() as prober:
        agent = asyncio.create_task(Agent(orders, api, maker, prober).run())
        listening = asyncio.create_task(maker.listen())
        await asyncio.wait({agent, listening}, return_when=asyncio.FIRST_COMPLETED)
        # A node does not end in good order: its pods end with it, and what was wrong is said now.
        for task in (agent, listening):
            if task.done() and (error := task.exception()) is not None:
                traceback.print_exception(error)
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    asyncio.run(main())
