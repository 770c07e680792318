"""``/livez``, ``/readyz`` and ``/metrics`` on one port, for whoever runs long.

``/livez`` says whether loops turn, and never asks the broker: who waits for the broker is alive,
and starting it again would help nobody. ``/readyz`` says whether it can do its work.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from laneway.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
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


class Probes:
    """Answers HTTP in threads of its own, from now on.

    Args:
        address: of :func:`address_of_health`.
        alive: what stands still (``/livez``).
        ready: why it cannot do its work (``/readyz``).
        metrics: Prometheus text (``/metrics``).

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
    ) -> None:
        # Only here: a worker without an address, and the processes forked from it, need none of it.
        from http.server import ThreadingHTTPServer  # noqa: PLC0415 (see above)

        self._server = ThreadingHTTPServer(address, _handler(alive, ready, metrics))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        host, port = self._server.server_address[:2]
        log.info("health and metrics on http://%s:%s", host, port)

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


def _handler(
    alive: Check, ready: Check, metrics: Callable[[], bytes]
) -> type[BaseHTTPRequestHandler]:
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415 (see Probes)

    def checked(check: Check) -> tuple[int, str, bytes]:
        problems = check()
        words = "\n".join(problems) if problems else "ok"
        return (503 if problems else 200), "text/plain; charset=utf-8", f"{words}\n".encode()

    pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/livez": lambda: checked(alive),
        "/readyz": lambda: checked(ready),
        "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", metrics()),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = page() if page else (404, "text/plain", b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Probes come every few seconds: nobody wants to read that."""

    return Handler
