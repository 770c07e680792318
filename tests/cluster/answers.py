"""A small HTTP server inside the plane's network: it says what the test told it to say."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.plane import Plane


@dataclass(kw_only=True)
class Answers:
    """What is answered where. A path that is not in `documents` is a 503."""

    url: str
    """Where it is, for everybody in the plane's network."""
    documents: dict[str, object] = field(default_factory=dict)
    """Path to what is answered there, as JSON with status 200."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for, in order."""


@contextmanager
def answers(plane: Plane, name: str, *, port: int = 8000) -> Iterator[Answers]:
    """Serve in a namespace called `name` for the block; `name` is its host name too."""
    address = plane.attach(name)
    plane.name_hosts(name, {name: address})
    said = Answers(url=f"http://{name}:{port}")
    with plane.inside(name):
        server = ThreadingHTTPServer((address, port), _handler(said))
    thread = threading.Thread(target=server.serve_forever, name=name, daemon=True)
    thread.start()
    try:
        yield said
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        plane.name_hosts(name, {})
        plane.detach(name)


def _handler(said: Answers) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked.append(self.path)
            if self.path not in said.documents:
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = json.dumps(said.documents[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing: what was asked is in `asked`."""

    return Handler
