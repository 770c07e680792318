"""The local web site that the crawler reads: product pages on a free port of 127.0.0.1.

Some pages are gone (404), and some are busy (503) the first time that they are asked for, so that
a crawl has something to fail at and something to retry.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

#: Product numbers are 1 to this.
PRODUCTS: Final = 5_000


def is_gone(product: int) -> bool:
    """Whether the page of ``product`` answers 404."""
    return not 1 <= product <= PRODUCTS or product % 37 == 0


def is_busy_once(product: int) -> bool:
    """Whether the page of ``product`` answers 503 to the first request."""
    return product % 11 == 0


class Website:
    """Serves while its ``with`` block lasts."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Page)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # the base class's own arguments
        self._asked: set[int] = set()
        self._lock = threading.Lock()

    def is_first(self, product: int) -> bool:
        """Whether nobody asked for this product before."""
        with self._lock:
            first = product not in self._asked
            self._asked.add(product)
            return first


class _Page(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        number = self.path.removeprefix("/products/")
        product = int(number) if number.isascii() and number.isdigit() else 0
        if is_gone(product):
            self.send_error(404)
        elif is_busy_once(product) and self.server.is_first(product):
            self.send_error(503)
        else:
            self._answer(_html(product))

    def _answer(self, html: str) -> None:
        body = html.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing: the screen belongs to the run."""


def _html(product: int) -> str:
    others = [product * factor % PRODUCTS + 1 for factor in (3, 5, 7)]
    links = "".join(f'<a href="/products/{other}">CD {other}</a>' for other in others)
    return (
        f"<!doctype html><html><head><title>CD {product}</title>"
        f'<meta name="price" content="{799 + product % 9 * 100}"></head>'
        f"<body><h1>CD {product}</h1>{links}</body></html>"
    )
