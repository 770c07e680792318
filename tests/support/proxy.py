"""A TCP proxy on loopback that can fall silent, be slow, refuse, or cut its connections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes between clients and one server; use as a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        #: While set, what the server answers is swallowed: a half-open connection.
        self.silent = threading.Event()
        #: Seconds by which whatever is read at once is passed on later.
        self.delay = 0.0
        self._away = threading.Event()
        self._stop = threading.Event()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @classmethod
    def before(cls, url: str) -> Self:
        """One that passes on to the server of a URL."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port)

    def through(self, url: str) -> str:
        """The URL of the server by way of this proxy."""
        parts = urlsplit(url)
        return parts._replace(
            netloc=parts.netloc.replace(f":{parts.port}", f":{self.port}")
        ).geturl()

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._acceptor.join(5)
        self.cut()
        self._listener.close()

    def refuse(self) -> None:
        """End every connection, and each new one at once: the server is away."""
        self._away.set()
        self.cut()

    def accept(self) -> None:
        """The server is back."""
        self._away.clear()

    def cut(self) -> None:
        """End every connection that there is now."""
        with self._guard:
            pairs = tuple(self._pairs)
        for one in (one for pair in pairs for one in pair):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._away.is_set():
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                # The server is down: so is the way to it.
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Pair(self, client, server).start()


class Pair:
    """One connection and its other half; closed when both directions have ended."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._ends = (client, server)
        self._left = 2

    def start(self) -> None:
        """Pass bytes on in both directions."""
        client, server = self._ends
        with self._proxy._guard:
            self._proxy._pairs.add(self._ends)
        for arguments in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        proxy = self._proxy
        try:
            while data := source.recv(65536):
                if proxy.delay:
                    time.sleep(proxy.delay)
                if not (answers and proxy.silent.is_set()):
                    sink.sendall(data)
        except OSError:
            return
        finally:
            self._end()

    def _end(self) -> None:
        for one in self._ends:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._proxy._guard:
            self._left -= 1
            if self._left:
                return
            self._proxy._pairs.discard(self._ends)
        for one in self._ends:
            one.close()
