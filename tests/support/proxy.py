"""A TCP proxy on loopback that can fall silent or cut its connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Passes bytes between clients and one server; use as a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        #: While set, what the server answers is swallowed: a half-open connection.
        self.silent = threading.Event()
        self._away = threading.Event()
        self._stop = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for one in (*self._sockets, self._listener):
            one.close()

    def refuse(self) -> None:
        """End every connection, and each new one at once: the server is away."""
        self._away.set()
        self.cut()

    def accept(self) -> None:
        """The server is back."""
        self._away.clear()

    def cut(self) -> None:
        """End every connection that there is now."""
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._away.is_set():
                client.close()
                continue
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            self._start(self._pump, client, server, False)
            self._start(self._pump, server, client, True)

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        source.settimeout(None)
        try:
            while data := source.recv(65536):
                if not (answers and self.silent.is_set()):
                    sink.sendall(data)
        except OSError:
            return
        finally:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)
