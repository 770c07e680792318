"""The API server as a node needs it: plain HTTPS, a client certificate, lists and watches."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cluster.node.environment import Document

_AGAIN: Final = 0.5
_SECONDS: Final = 10.0
#: Seconds after which a watch is ended by the server, and begun again where it was.
_WATCH: Final = 300
STRATEGIC: Final = "application/strategic-merge-patch+json"
MERGE: Final = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused.

    Args:
        code: the status of its answer.
        message: its own words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Change:
    """An object is there, or is no more."""

    document: Document
    is_gone: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Its namespace and name."""
        meta = self.document["metadata"]
        return meta.get("namespace", ""), meta["name"]


class Api:
    """A client; use as an asynchronous context manager.

    Args:
        kubeconfig: as :mod:`cluster.kubeconfig` writes it: JSON, with paths of files.
    """

    def __init__(self, kubeconfig: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
        trust.load_cert_chain(user["client-certificate"], user["client-key"])
        self._http = httpx.AsyncClient(
            base_url=cluster["server"],
            verify=trust,
            trust_env=False,
            timeout=httpx.Timeout(_SECONDS),
            headers={"User-Agent": "laneway-tests-node"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json"
    ) -> Document:
        """One request.

        Raises:
            ApiError: it was refused.
            httpx.HTTPError: no answer came.
        """
        content = None if body is None else json.dumps(body)
        answer = await self._http.request(
            method, path, content=content, headers={"Content-Type": kind}
        )
        document: Document = answer.json()
        if answer.is_error:
            raise ApiError(answer.status_code, document.get("message", answer.text))
        return document

    async def follow(self, path: str, **chosen: str) -> AsyncIterator[Change]:
        """Every object that there is, then every change, for ever.

        After a gap everything is told again, and first what went meanwhile.

        Args:
            path: of a list.
            chosen: ``fieldSelector`` and its kin.
        """
        known: dict[str, Document] = {}
        version = ""
        while True:
            try:
                if not version:
                    listed = await self.ask("GET", str(httpx.URL(path, params=chosen)))
                    version = listed["metadata"]["resourceVersion"]
                    now = {each["metadata"]["uid"]: each for each in listed.get("items") or ()}
                    for uid in known.keys() - now.keys():
                        yield Change(known.pop(uid), is_gone=True)
                    for uid, each in now.items():
                        known[uid] = each
                        yield Change(each)
                async for event in self._watch(path, version, chosen):
                    document = event["object"]
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = document["metadata"]["resourceVersion"]
                    if event["type"] == "BOOKMARK":
                        continue
                    is_gone = event["type"] == "DELETED"
                    if is_gone:
                        known.pop(document["metadata"]["uid"], None)
                    else:
                        known[document["metadata"]["uid"]] = document
                    yield Change(document, is_gone=is_gone)
            except (httpx.HTTPError, ApiError, ValueError) as error:
                print(f"watch of {path}: {error!r}", file=sys.stderr, flush=True)
                version = ""
                await asyncio.sleep(_AGAIN)

    async def _watch(
        self, path: str, version: str, chosen: dict[str, str]
    ) -> AsyncIterator[Document]:
        asked = {
            **chosen, "watch": "1", "resourceVersion": version, "timeoutSeconds": str(_WATCH),
            "allowWatchBookmarks": "true",
        }  # fmt: skip
        quiet = httpx.Timeout(_SECONDS, read=_WATCH + _SECONDS)
        async with self._http.stream("GET", path, params=asked, timeout=quiet) as answer:
            if answer.is_error:
                await answer.aread()
                raise ApiError(answer.status_code, answer.text)
            async for line in answer.aiter_lines():
                yield json.loads(line)
