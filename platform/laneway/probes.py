"""``/livez``, ``/readyz``, ``/metrics`` and more on one port, for whoever runs long.

``/livez`` says whether loops turn, and never asks the broker: who waits for the broker is alive,
and starting it again would help nobody. ``/readyz`` says whether it can do its work.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from laneway.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.server import BaseHTTPRequestHandler

    #: The problems, a line each; empty if there are none.
    Check = Callable[[], list[str]]

log = logging.getLogger(__name__)

#: Seconds within which a loop must come round.
TURN: Final = 30.0


def address_of_health(text: str | None = None) -> tuple[str, int] | None:
    """The address to answer on: ``HOST:PORT`` or ``PORT`` (then only this machine may ask).

    Args:
        text: ``$LANEWAY_HEALTH`` if None; nowhere if that is not set.

    Raises:
        SettingsError: it is no address.
    """
    given = os.environ.get("LANEWAY_HEALTH") if text is None else text
    if not given:
        return None
    host, _, port = given.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise SettingsError(
            f"LANEWAY_HEALTH: expected HOST:PORT or PORT, like 0.0.0.0:9100, got: {given!r}"
        )
    return host.strip("[]") or "127.0.0.1", int(port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent for a page."""

    status: int
    #: The content type.
    kind: str
    body: bytes


class Probes:
    """Answers HTTP in threads of its own, from now on.

    Args:
        address: of :func:`address_of_health`.
        alive: what stands still (``/livez``).
        ready: why it cannot do its work (``/readyz``).
        metrics: Prometheus text (``/metrics``).
        pages: more pages by their path. One that ends with a slash answers for all below it, and
            is told what follows; the others are told nothing (``""``).

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        alive: Check,
        ready: Check,
        metrics: Callable[[], bytes],
        pages: Mapping[str, Callable[[str], Answer]] | None = None,
    ) -> None:
        # Only here: a worker without an address, and the processes forked from it, need none of it.
        from http.server import ThreadingHTTPServer  # noqa: PLC0415 (see above)

        self._server = ThreadingHTTPServer(address, _handler(alive, ready, metrics, pages or {}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        host, port = self._server.server_address[:2]
        #: Where it answers; of use where the address said 0, which is any free one.
        self.port = int(port)
        log.info("health and metrics on http://%s:%s", host, port)

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


def _handler(
    alive: Check,
    ready: Check,
    metrics: Callable[[], bytes],
    more: Mapping[str, Callable[[str], Answer]],
) -> type[BaseHTTPRequestHandler]:
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415 (see Probes)

    def checked(check: Check) -> Answer:
        problems = check()
        words = "\n".join(problems) if problems else "ok"
        return _text(503 if problems else 200, words)

    pages: dict[str, Callable[[str], Answer]] = {
        "/livez": lambda _: checked(alive),
        "/readyz": lambda _: checked(ready),
        "/metrics": lambda _: Answer(
            status=200, kind="text/plain; version=0.0.4; charset=utf-8", body=metrics()
        ),
        **more,
    }

    def answer(path: str) -> Answer:
        if (page := pages.get(path)) is not None and not path.endswith("/"):
            return page("")
        place, slash, rest = path.rpartition("/")
        if rest and (page := pages.get(place + slash)) is not None:
            return page(unquote(rest))
        return _text(404, "not found")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(self.path.partition("?")[0])
            self.send_response(found.status)
            self.send_header("Content-Type", found.kind)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, *_: Any) -> None:
            """Probes come every few seconds: nobody wants to read that."""

    return Handler


def _text(status: int, words: str) -> Answer:
    return Answer(status=status, kind="text/plain; charset=utf-8", body=f"{words}\n".encode())
