"""The server's side of one WebSocket, as far as ``kubectl exec`` needs it (RFC 6455)."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FINAL: Final = 0x80
_MASKED: Final = 0x80
#: Lengths up to here stand in the second byte; two values of it announce longer ones.
_SHORT: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
#: Bytes of a message at most: whoever sends more is no kubectl.
_LONGEST: Final = 1 << 20
_NORMAL: Final = (1000).to_bytes(2, "big")


def accept(key: str) -> str:
    """What answers a client's ``Sec-WebSocket-Key``."""
    digest = hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


class WebSocket:
    """A connection after its handshake.

    Args:
        reader: of the connection.
        writer: of the connection.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def messages(self) -> AsyncIterator[bytes]:
        """What the client sends, until it closes or is gone. Pings are answered meanwhile.

        Raises:
            ValueError: a message is longer than any that a client of this node sends.
        """
        message = b""
        while True:
            try:
                final, kind, content = await self._frame()
            except (EOFError, ConnectionError):
                return
            if kind == _CLOSE:
                return
            if kind == _PING:
                await self._write(_PONG, content)
            elif kind in {_TEXT, _BINARY, _CONTINUATION}:
                message += content
                if len(message) > _LONGEST:
                    raise ValueError(f"expected a message of at most {_LONGEST} bytes")
                if final:
                    yield message
                    message = b""

    async def send(self, message: bytes) -> None:
        """Send one message. A client that is gone is no error: its reader says so."""
        await self._write(_BINARY, message)

    async def close(self) -> None:
        """Say that it is over."""
        await self._write(_CLOSE, _NORMAL)

    async def _frame(self) -> tuple[bool, int, bytes]:
        first, second = await self._reader.readexactly(2)
        length = second & ~_MASKED
        if length == _TWO_BYTES:
            length = int.from_bytes(await self._reader.readexactly(2), "big")
        elif length == _EIGHT_BYTES:
            length = int.from_bytes(await self._reader.readexactly(8), "big")
        if length > _LONGEST:
            raise ValueError(f"expected a message of at most {_LONGEST} bytes, got: {length}")
        mask = await self._reader.readexactly(4) if second & _MASKED else bytes(4)
        content = await self._reader.readexactly(length)
        plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(content))
        return bool(first & _FINAL), first & 0x0F, plain

    async def _write(self, kind: int, content: bytes) -> None:
        head = bytearray([_FINAL | kind])
        if len(content) <= _SHORT:
            head.append(len(content))
        elif len(content) < 1 << 16:
            head += bytes([_TWO_BYTES]) + len(content).to_bytes(2, "big")
        else:
            head += bytes([_EIGHT_BYTES]) + len(content).to_bytes(8, "big")
        try:
            self._writer.write(bytes(head) + content)
            await self._writer.drain()
        except ConnectionError:
            return
