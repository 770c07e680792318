"""``/livez``, ``/readyz`` and ``/metrics`` of a whole worker on one port.

``/livez`` says whether the loops of the worker turn, and never asks the broker: a worker that waits
for its broker is alive, and starting it again would help nobody. ``/readyz`` says whether it is
connected, and takes jobs or was told to pause.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from celery import bootsteps
from celery.utils.log import get_logger

from laneway.errors import SettingsError
from laneway.worker.direct import DirectPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from laneway.worker.consumer import JobConsumer
    from laneway.worker.job_worker import JobWorker

log = get_logger(__name__)

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


class Health(bootsteps.StartStopStep):
    """A step of the worker that answers HTTP, where an address was given.

    It starts after the pool, because the pool's processes must be forked from a process without
    threads.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, w: JobWorker, **kwargs: Any) -> None:
        self._server: ThreadingHTTPServer | None = None
        super().__init__(w, **kwargs)

    def include_if(self, w: JobWorker) -> bool:
        """Only where it is wanted."""
        return w.health_address is not None

    def create(self, w: JobWorker) -> Health:
        """Nothing yet."""
        del w
        return self

    def start(self, w: JobWorker) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        # Only here: the processes are forked, and a worker without an address needs none of it.
        from http.server import ThreadingHTTPServer  # noqa: PLC0415 (see above)

        assert w.health_address is not None
        self._server = ThreadingHTTPServer(w.health_address, _handler(w))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        host, port = self._server.server_address[:2]
        log.info("health and metrics on http://%s:%s", host, port)

    def stop(self, w: JobWorker) -> None:
        """Close the port."""
        del w
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    terminate = stop


def _handler(worker: JobWorker) -> type[BaseHTTPRequestHandler]:
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415 (see Health.start)

    from laneway.worker.exposition import exposition  # noqa: PLC0415 (see Health.start)

    def checked(check: Callable[[JobWorker], list[str]]) -> tuple[int, str, bytes]:
        problems = check(worker)
        words = "\n".join(problems) if problems else "ok"
        return (503 if problems else 200), "text/plain; charset=utf-8", f"{words}\n".encode()

    pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/livez": lambda: checked(not_alive),
        "/readyz": lambda: checked(not_ready),
        "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", exposition(worker)),
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


def not_alive(worker: JobWorker) -> list[str]:
    """What stands still, a line each; empty if everything turns."""
    now = time.monotonic()
    found = []
    consumer: JobConsumer | None = worker.consumer
    # A pool that runs jobs in the parent's loop (solo) holds it up; the job has its own limits.
    busy = bool(worker.state.active_requests)
    if consumer is not None and consumer.turned_at and not busy:
        still = now - consumer.turned_at
        if still > TURN:
            found.append(f"the parent's loop has not turned for {still:.0f} s")
    if isinstance(worker.pool, DirectPool):
        found += worker.pool.standing_still(now, TURN)
    return found


def not_ready(worker: JobWorker) -> list[str]:
    """Why the worker takes no jobs, a line each; empty if it does, or was told to pause."""
    consumer: JobConsumer | None = worker.consumer
    connection = consumer.connection if consumer is not None else None
    if consumer is None or connection is None or not connection.connected:
        return ["not connected to the broker"]
    if isinstance(worker.pool, DirectPool) and not worker.pool.ready:
        return ["no process is connected to the broker yet"]
    return []
