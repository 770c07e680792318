"""A server that takes what Sentry's clients send and keeps all of it, unlike any real one.

It can also behave as servers do at the wrong time: answer 429 or 500, be slow, hang up.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE = 30.0


@dataclass(frozen=True, kw_only=True)
class Item:
    """One part of an envelope."""

    #: The project that it was sent to: the last part of the DSN.
    project: str
    #: ``event``, ``transaction``, ``check_in``, ``client_report`` …
    type: str
    #: What it says; of an item that is no JSON, its bytes.
    payload: Any


def parse_envelope(project: str, body: bytes) -> list[Item]:
    """The items of an envelope: a line of headers, then for each item one and its payload.

    Raises:
        ValueError: it is no envelope.
    """
    _, _, rest = body.partition(b"\n")
    items = []
    while rest.strip():
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        length = header.get("length")
        if length is None:
            payload, _, rest = rest.partition(b"\n")
        else:
            payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
            if len(payload) != length:
                raise ValueError(f"expected {length} bytes of {header}, got: {len(payload)}")
        try:
            said: Any = json.loads(payload)
        except ValueError:
            said = payload
        items.append(Item(project=project, type=header["type"], payload=said))
    return items


class EnvelopeSink:
    """Use as a context manager. Listens on a random port of 127.0.0.1 until it is left."""

    def __init__(self) -> None:
        #: What is answered from now on.
        self.status = 200
        #: Header lines of the answer.
        self.headers: Mapping[str, str] = {}
        #: Seconds before the answer.
        self.delay = 0.0
        #: Hang up without an answer.
        self.hangs_up = False
        #: Everything that was sent, decompressed, in the order in which it came.
        self.bodies: list[bytes] = []
        #: The same as items, of what was answered with 200 only.
        self.items: list[Item] = []
        #: Requests that came, also those answered with an error.
        self.requests = 0
        #: What came and was no envelope.
        self.broken: list[str] = []
        self._news = threading.Condition()
        self._leaving = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sink._take(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # Whoever still waits for a slow answer is not waited for.
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def dsn(self, project: str = "1") -> str:
        """Where a client sends to."""
        return f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{self.port}/{project}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def of(self, kind: str, project: str | None = None) -> list[Any]:
        """The payloads of all items of a kind that came so far."""
        with self._news:
            return [
                item.payload
                for item in self.items
                if item.type == kind and project in (None, item.project)
            ]

    @property
    def events(self) -> list[dict[str, Any]]:
        """All errors that came so far."""
        return self.of("event")

    def wait_for(
        self, kind: str, count: int = 1, *, project: str | None = None, patience: float = _PATIENCE
    ) -> list[Any]:
        """Wait until so many items of a kind have come; all there are."""
        until = time.monotonic() + patience
        while len(found := self.of(kind, project)) < count:
            with self._news:
                self._news.wait(0.2)
            assert time.monotonic() < until, f"{len(found)} of {count} {kind} in {patience} s"
        return found

    def holds(self, text: str) -> list[bytes]:
        """Around each place where a text stands in anything that was sent, escaped or not."""
        forms = {text.encode(), json.dumps(text)[1:-1].encode()}
        with self._news:
            return [
                body[max(0, at - 200) : at + 200]
                for body in self.bodies
                for form in forms
                if (at := body.find(form)) >= 0
            ]

    def clear(self) -> None:
        """Forget what came, and behave well again."""
        with self._news:
            self.bodies.clear()
            self.items.clear()
            self.broken.clear()
            self.requests = 0
        self.status, self.headers, self.delay, self.hangs_up = 200, {}, 0.0, False

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        encoding = request.headers.get("Content-Encoding") or ""
        project = request.path.split("/")[2] if request.path.count("/") > 2 else request.path
        items: list[Item] = []
        try:
            if encoding == "gzip":
                body = gzip.decompress(body)
            elif encoding:
                raise ValueError(f"expected gzip or nothing, got: {encoding}")
            items = parse_envelope(project, body)
        except (ValueError, KeyError, EOFError, OSError, zlib.error) as error:
            self.broken.append(f"{request.path}: {error}")
        with self._news:
            self.requests += 1
            self.bodies.append(body)
            if self.status == 200 and not self.hangs_up:
                self.items += items
            self._news.notify_all()
        if self.delay:
            self._leaving.wait(self.delay)
        if self.hangs_up:
            return
        answer = b'{"id": "0"}'
        try:
            request.send_response(self.status)
            for name, value in self.headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
        except OSError:
            pass  # the client did not wait for it
