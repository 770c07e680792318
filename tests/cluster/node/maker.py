"""The agent's side of the pipe to the test: it asks for network namespaces there."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any, Self

from cluster.node.host import Place

if TYPE_CHECKING:
    from collections.abc import Mapping


class Maker:
    """Whoever started the agent; made by :meth:`open`.

    One JSON document a line: ``{"id": 1, "ask": "attach", "name": …}`` and its answer with the same
    ``id``, and ``{"names": {…}}`` for what nobody answers.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._names: Mapping[str, str] = {}

    @classmethod
    async def open(cls) -> Self:
        """Of this process's standard input and output."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        return cls(reader)

    async def line(self) -> bytes:
        """The next line; empty at the end."""
        return await self._reader.readline()

    async def listen(self) -> None:
        """Take answers, until the other side is gone."""
        while line := await self.line():
            answer = json.loads(line)
            self._asked.pop(answer["id"]).set_result(answer)

    async def attach(self, name: str) -> Place:
        """Make a network namespace."""
        answer = await self._ask("attach", name)
        return Place(answer["address"], answer["netns"])

    async def detach(self, name: str) -> None:
        """Remove a network namespace."""
        await self._ask("detach", name)

    def tell_names(self, names: Mapping[str, str]) -> None:
        """The names of Services, where they changed."""
        if names != self._names:
            self._names = names
            self._write({"names": names})

    async def _ask(self, what: str, name: str) -> dict[str, Any]:
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._write({"id": number, "ask": what, "name": name})
        answer = await future
        if "error" in answer:
            raise OSError(f"{what} {name}: {answer['error']}")
        return answer

    def _write(self, document: object) -> None:
        # A pipe takes a line of this length at once.
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
