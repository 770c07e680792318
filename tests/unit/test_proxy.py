"""The proxy of the tests does to a connection what it says."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(one: socket.socket) -> None:
        with closing(one):
            while data := one.recv(4096):
                one.sendall(data)

    def accept() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(one,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield int(listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def answer(client: socket.socket) -> bytes:
    """What comes back of a word; nothing if the connection has ended."""
    try:
        client.sendall(b"word")
        return client.recv(100)
    except ConnectionError:
        return b""


def test_bytes_pass(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert answer(client) == b"word"


def test_a_cut_ends_what_there_is_and_nothing_later(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert answer(client) == b"word"
        proxy.cut()
        assert answer(client) == b""
    with connect(proxy) as client:
        assert answer(client) == b"word"


def test_a_server_that_is_away_lets_nobody_in_until_it_is_back(proxy: Proxy) -> None:
    proxy.refuse()
    with connect(proxy) as client:
        assert answer(client) == b""
    proxy.accept()
    with connect(proxy) as client:
        assert answer(client) == b"word"


def test_a_silent_server_hears_and_says_nothing(proxy: Proxy) -> None:
    proxy.silent.set()
    with connect(proxy) as client:
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            answer(client)
        proxy.silent.clear()
        client.settimeout(5)
        assert answer(client) == b"word"


def test_a_slow_network_delays_both_ways(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert answer(client) == b"word"
        proxy.delay = 0.1
        began = time.monotonic()
        assert answer(client) == b"word"
        assert time.monotonic() - began >= 0.2


def test_where_no_server_is_the_connection_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    with Proxy("127.0.0.1", port) as proxy:
        with connect(proxy) as client:
            assert answer(client) == b""
        # And the proxy lives.
        with connect(proxy) as client:
            assert answer(client) == b""
