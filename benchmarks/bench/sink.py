"""A server in the place of Sentry's: takes what comes, answers at once or as told, and counts."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal, Self, get_args

#: What is the matter with the server: it needs ten seconds for each answer, refuses with this
#: status, or hangs up instead of an answer.
Trouble = Literal["slow", "429", "500", "hangs-up"]
TROUBLES: Final[tuple[Trouble, ...]] = get_args(Trouble)

_SLOW: Final = 10.0


class Sink:
    """Listens on a random port of 127.0.0.1 while it is open; use as a context manager.

    Args:
        trouble: what is the matter with it; None if nothing.
    """

    def __init__(self, trouble: Trouble | None = None) -> None:
        #: Envelopes that came so far.
        self.envelopes = 0
        self._seen = 0
        guard, ended = threading.Lock(), threading.Event()
        self._ended = ended
        status = int(trouble) if trouble in {"429", "500"} else 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with guard:
                    sink.envelopes += 1
                if trouble == "hangs-up":
                    self.close_connection = True
                    return
                if trouble == "slow":
                    ended.wait(_SLOW)
                # (Who was told to end does not wait for an answer of ten seconds.)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def taken(self) -> int:
        """Envelopes that came since the last look."""
        before, self._seen = self._seen, self.envelopes
        return self._seen - before

    @property
    def dsn(self) -> str:
        """Where a client sends to."""
        return f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{self._server.server_port}/1"
